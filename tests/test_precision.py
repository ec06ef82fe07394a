"""The precision follows from what the machine multiplies fast in."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from pengi_plugin import precision
from pengi_plugin.precision import choose_precision, fastest_precision

#: What makes an x86 machine with AVX-512 compute as one that has AVX2 only.
AVX2_ONLY = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}


@pytest.fixture
def speedup(monkeypatch):
    """Return a function that sets how much faster bfloat16 products are."""

    def set_to(value):
        monkeypatch.setattr(precision, "bf16_speedup", lambda: value)

    return set_to


@pytest.mark.parametrize(
    ("ratio", "chosen"), [(4.8, "bf16"), (1.3, "bf16"), (1.1, "fp32"), (0.005, "fp32")]
)
def test_a_cpu_computes_in_bf16_only_where_that_is_clearly_faster(
    ratio, chosen, speedup, caplog
):
    speedup(ratio)
    with caplog.at_level(logging.INFO):
        assert choose_precision("auto", "cpu") == chosen
    assert f"precision: {chosen}" in caplog.text
    assert f"{1 / ratio:.2f} times as long" in caplog.text


def test_what_is_asked_for_is_taken_and_a_slow_choice_warned_about(speedup, caplog):
    speedup(0.01)
    assert choose_precision("bf16", "cpu") == "bf16"
    assert "100.00 times as long" in caplog.text
    caplog.clear()
    assert choose_precision("fp32", "cpu") == "fp32"
    speedup(4.0)
    assert choose_precision("bf16", "cpu") == "bf16"
    assert not caplog.text


@pytest.mark.parametrize(("capability", "chosen"), [((7, 5), "fp32"), ((9, 0), "bf16")])
def test_a_gpu_computes_in_bf16_from_capability_8_on(capability, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fastest_precision("cuda:1")[0] == chosen


def test_another_word_for_a_precision_is_refused():
    with pytest.raises(ValueError, match="got 'half'"):
        choose_precision("half")


def test_a_machine_without_bf16_instructions_computes_in_fp32():
    code = "from pengi_plugin.precision import choose_precision as c; print(c('auto'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **AVX2_ONLY, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "fp32"
