"""Operations are those that a person counts, shares of peak those of the clock."""

import pytest
import speechbrain  # noqa: F401 (its import changes PyTorch's settings)
import torch
from torch import nn
from torch.nn import functional as F

from pengi_plugin.training import cost
from pengi_plugin.training.cost import N_TIMED, N_WARM, Cost


def test_a_frozen_layer_costs_no_gradient_of_its_weights():
    model = nn.ModuleDict({"first": nn.Linear(4, 6), "lm": nn.Linear(6, 5)})
    model["lm"].requires_grad_(False)
    found = Cost(model, n_accumulated=3, n_process=2, device="cpu", precision="fp32")
    with found.counting():
        model["lm"](model["first"](torch.randn(7, 4))).sum().backward()
    first, second = 2 * 7 * 4 * 6, 2 * 7 * 6 * 5
    # first: forward and its weights' gradient; lm: forward and its input's gradient.
    assert found.batch_operations == 2 * first + 2 * second
    assert found.operations == 3 * 2 * found.batch_operations
    table = found.table()
    assert "| lm | 0 | 35 |" in table
    assert "| all | 30 | 35 |" in table
    assert "3 x 2 batches" in table


def test_attention_on_a_cpu_is_counted():
    query = torch.randn(2, 3, 5, 8, requires_grad=True)
    found = Cost(nn.Module(), 1, 1, "cpu", "fp32")
    with found.counting():
        F.scaled_dot_product_attention(query, query, query)
    product = 2 * (2 * 3) * 5 * 5 * 8
    assert found.batch_operations == 2 * product
    with found.counting():
        F.scaled_dot_product_attention(query, query, query).sum().backward()
    # The scores are computed again, and each product has two gradients.
    assert found.batch_operations == 2 * product + 5 * product


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose only entry is the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    return now


def run(found, clock, n_update):
    """Make updates of a second, the first ones of ten; return what was told."""
    found.batch_operations = 4e12
    found.start_stage()
    told = []
    for number in range(n_update):
        clock[0] += 10.0 if number < N_WARM else 1.0
        told.append(found.end_update())
    return [*told, found.end_epoch()]


def test_the_share_of_a_known_peak_is_told_once_after_some_updates(clock):
    found = Cost(nn.Module(), 8, 2, "NVIDIA H100 80GB HBM3", "bf16")
    told = run(found, clock, N_TIMED + 50)
    assert [bool(message) for message in told].index(True) == N_TIMED - 1
    (message,) = filter(None, told)
    # 8 batches of 4 TFLOP in a second, of 989 TFLOP/s.
    assert message == (
        "An update takes 1.000 s: 32,000.0 GFLOP/s per process, 3.2 % of the 989 "
        "TFLOP/s of a NVIDIA H100 80GB HBM3 in bf16."
    )


def test_a_short_epoch_tells_the_speed_at_its_end_without_an_unknown_share(clock):
    told = run(Cost(nn.Module(), 1, 1, "cpu", "fp32"), clock, N_WARM + 3)
    assert told[:-1] == [None] * (N_WARM + 3)
    assert "1.000 s: 4,000.0 GFLOP/s" in told[-1]
    assert "peak that is not known (cpu)" in told[-1]
    assert "%" not in told[-1]


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA L40", None),
        ("NVIDIA A10G", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_a_peak_is_that_of_the_whole_name(name, peak):
    assert cost.peak_of(name, "bf16") == (peak and peak * 1e12)


def test_float32_on_a_gpu_is_multiplied_in_tf32_as_its_peak_is_reckoned():
    assert torch.backends.cuda.matmul.allow_tf32  # by SpeechBrain, when imported
    assert torch.backends.cudnn.allow_tf32


def test_a_gpu_of_less_power_is_not_taken_for_its_namesake():
    assert cost.peak_of("NVIDIA H200", "bf16") == 989e12
    assert cost.peak_of("NVIDIA H200 NVL", "bf16") == 835e12
    assert cost.peak_of("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16") is None
