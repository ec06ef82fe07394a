"""Steps of a run that need no training."""

import logging
import os
import subprocess
import sys

import pytest
from speechbrain.utils.run_opts import RunOptions

from pengi_plugin import precision
from pengi_plugin.training.run import (
    claim,
    settings_of,
    settle_precision,
    warn_of_shared_store,
)


@pytest.fixture
def measured(monkeypatch):
    """Return a function that sets how fast bfloat16 is on this CPU."""
    return lambda ratio: monkeypatch.setattr(precision, "bf16_speedup", lambda: ratio)


@pytest.mark.parametrize(("ratio", "chosen"), [(4.0, "bf16"), (0.01, "fp32")])
def test_auto_is_what_is_fast_on_the_device_of_the_run(ratio, chosen, measured):
    measured(ratio)
    hparams = {"precision": "auto", "eval_precision": "auto", "lr": 1}
    settle_precision(hparams, RunOptions.from_dictionary({"device": "cpu"}))
    assert hparams == {"precision": chosen, "eval_precision": chosen, "lr": 1}


def test_auto_asks_for_the_device_that_the_run_will_use(monkeypatch):
    asked = []
    monkeypatch.setattr(
        precision, "fastest_precision", lambda device: asked.append(device) or ("", "")
    )
    hparams = {"precision": "auto"}
    settle_precision(hparams, RunOptions.from_dictionary({"device": "cuda:3"}))
    assert asked == ["cuda:3"]


def test_the_command_line_wins_and_a_slow_choice_is_warned_about(measured, caplog):
    measured(0.01)
    run_opts = {"device": "cpu", "precision": "bf16"}
    for asked in ("auto", "fp32"):
        caplog.clear()
        hparams = {"precision": asked}
        with caplog.at_level(logging.WARNING):
            settle_precision(hparams, RunOptions.from_dictionary(run_opts))
        assert hparams == {"precision": "bf16"}
        assert "100.00 times as long" in caplog.text


def test_a_yaml_without_a_precision_is_left_to_speechbrain():
    hparams = {}
    settle_precision(hparams, RunOptions.from_dictionary({"device": "cpu"}))
    assert hparams == {}


TWO_MACHINES = """
import os, sys
from speechbrain.utils.run_opts import RunOptions
from pengi_plugin import precision
from pengi_plugin.training.run import join_processes, settle_precision
run_opts = {"device": "cpu", "distributed_backend": "gloo"}
run_opts = RunOptions.from_dictionary(run_opts)
join_processes(run_opts)
rank = int(os.environ["RANK"])
precision.bf16_speedup = lambda: 4.0 if rank == 0 else 0.01
hparams = {"precision": "auto"}
settle_precision(hparams, run_opts)
open(sys.argv[1] + str(rank), "w").write(hparams["precision"])
"""


@pytest.mark.slow
def test_all_processes_take_the_choice_of_the_first(root, tmp_path):
    script = tmp_path / "two_machines.py"
    script.write_text(TWO_MACHINES)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run(
        [sys.executable, *launch, str(script), str(tmp_path / "rank_")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        check=True,
        timeout=300,
    )
    found = [(tmp_path / f"rank_{rank}").read_text() for rank in (0, 1)]
    assert found == ["bf16", "bf16"]


@pytest.mark.parametrize(
    ("other", "is_told"),
    [
        ({}, True),
        ({"TORCHELASTIC_MAX_RESTARTS": "0"}, False),
        ({"GROUP_WORLD_SIZE": "1"}, False),
        ({"TORCHELASTIC_USE_AGENT_STORE": "False"}, False),
    ],
    ids=str,
)
def test_restarts_over_nodes_that_share_a_store_are_warned_about(
    other, is_told, caplog
):
    environment = {
        "TORCHELASTIC_MAX_RESTARTS": "3",
        "GROUP_WORLD_SIZE": "2",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    warn_of_shared_store(environment | other)
    assert ("TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in caplog.text) == is_told


def test_only_a_run_of_its_own_removes_checkpoints_that_were_cut_off(tmp_path):
    hparams = {"output_folder": tmp_path, "save_folder": tmp_path / "save"}
    cut_off = tmp_path / "save" / "CKPT+cut_off"
    cut_off.mkdir(parents=True)
    claim(hparams, {"lr": 1})
    assert cut_off.exists()
    claim(hparams, {"lr": 1})
    assert not cut_off.exists()


def test_an_option_of_speechbrain_on_the_command_line_is_a_setting_of_the_run():
    yaml = "grad_accumulation_factor: 8\nprecision: auto\n"
    run_opts = {"grad_accumulation_factor": 1, "precision": "fp32", "device": "cpu"}
    assert settings_of(yaml, RunOptions.from_dictionary(run_opts)) == {
        "grad_accumulation_factor": 1,
        "processes": 1,
    }
