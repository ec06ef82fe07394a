"""Layers with int8 weights compute what their rounded weights and inputs say."""

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from pengi_plugin.lobes.int8 import (
    MAX_INPUT,
    Int8Conv,
    Int8Embedding,
    Int8Linear,
    has_kernels,
    is_int8,
    rounded,
    to_int8,
)
from pengi_plugin.lobes.packed import PackedLinear
from pengi_plugin.lobes.prefix_lm import PrefixLM


def expected(x, weight, bias):
    """Compute in float64 what whole numbers of 7 and 8 bits give."""
    x, weight = x.double(), weight.double()
    weight_scale = (weight.abs().amax(1, keepdim=True) / 127).half().double()
    whole_weight = (weight / weight_scale).round().clamp(-127, 127)
    scale = x.abs().amax(-1, keepdim=True) / MAX_INPUT
    whole = torch.where(scale > 0, (x / scale).round(), 0.0)
    return (whole @ whole_weight.t()) * scale * weight_scale[:, 0] + bias.double()


@pytest.mark.parametrize("kind", [nn.Linear, Conv1D, PackedLinear])
def test_a_linear_layer_multiplies_whole_numbers(kind):
    if not has_kernels():
        pytest.skip("this PyTorch has no int8 kernels for this CPU")
    torch.manual_seed(0)
    layer = Conv1D(7, 33) if kind is Conv1D else nn.Linear(33, 7)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    weight = layer.weight.t() if kind is Conv1D else layer.weight
    x = torch.randn(4, 5, 33) * torch.logspace(-3, 3, 5)[:, None]
    x[0, 0] = 0.0
    model = nn.Sequential(PackedLinear(layer) if kind is PackedLinear else layer)
    ours = to_int8(model)(x)
    assert type(model[0]) is Int8Linear
    reference = expected(x, weight, layer.bias)
    # One input in thousands lies between two whole numbers, as float32 divides.
    assert ((ours - reference).abs() <= 1e-5 * reference.abs().amax(-1, True)).all()
    assert torch.equal(ours[0, 0], layer.bias)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_weights_of_any_size_and_of_none_are_kept(size):
    torch.manual_seed(0)
    layer = nn.Linear(64, 5)
    nn.init.normal_(layer.weight, std=size)
    nn.init.normal_(layer.bias, std=size)
    with torch.no_grad():
        layer.weight[3] = 0.0
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    (small,) = to_int8(nn.Sequential(layer))
    error = (small.real_weight() - weight).abs().amax(1)
    assert (error <= 0.004 * weight.abs().amax(1)).all()
    assert torch.equal(small.weight[3], torch.zeros(64, dtype=torch.int8))
    torch.testing.assert_close(small.bias, bias, rtol=0, atol=2**-11 * bias.abs().max())
    x = torch.randn(2, 64)
    close = {"rtol": 0.0, "atol": 0.05 * 8 * size}
    torch.testing.assert_close(small(x), x @ weight.t() + bias, **close)


@pytest.mark.parametrize("kind", [nn.Linear(40, 9), nn.Embedding(40, 9)])
def test_a_model_with_damaged_weights_does_not_become_one_that_answers(kind):
    kind = copy.deepcopy(kind)
    with torch.no_grad():
        kind.weight[3, 5] = float("nan")
    (small,) = to_int8(nn.Sequential(kind))
    x = torch.ones(1, 40) if isinstance(kind, nn.Linear) else torch.tensor([3])
    assert small(x).isnan().any()


def test_a_row_does_not_depend_on_the_rest_of_the_batch():
    torch.manual_seed(0)
    layer = to_int8(nn.Sequential(nn.Linear(40, 9)))
    x = torch.randn(6, 40)
    x[3:] *= 1000
    assert torch.equal(layer(x)[:2], layer(x[:2]))
    assert torch.equal(layer(x)[5], layer(x[5]))


def test_nan_and_infinity_are_not_hidden():
    layer = to_int8(nn.Sequential(nn.Linear(8, 3)))
    for value in (float("nan"), float("inf")):
        x = torch.ones(2, 8)
        x[1, 4] = value
        assert layer(x)[0].isfinite().all()
        assert not layer(x)[1].isfinite().any()


def test_without_kernels_the_same_weights_are_used(monkeypatch):
    torch.manual_seed(0)
    linear = nn.Linear(16, 5)
    layer = Int8Linear(*rounded(linear.weight), linear.bias)
    x = torch.randn(3, 16)
    monkeypatch.setattr("pengi_plugin.lobes.int8.has_kernels", lambda: False)
    torch.testing.assert_close(layer(x), x @ layer.real_weight().t() + linear.bias)
    assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_embeddings_and_convolutions_use_the_rounded_weights():
    torch.manual_seed(0)
    table, conv = nn.Embedding(11, 6), nn.Conv2d(3, 4, 3, stride=2, padding=1)
    plain = copy.deepcopy(conv)
    model = to_int8(nn.ModuleList([table, conv]))
    assert [type(part) for part in model] == [Int8Embedding, Int8Conv]
    for part, weight in zip(model, (table.weight, plain.weight)):
        step = weight.detach().abs().flatten(1).amax(1) / 127
        error = (part.real_weight() - weight).abs().flatten(1).amax(1)
        assert (error <= step * 0.501).all()
        assert (error > 0).all()
    ids = torch.tensor([[0, 10], [3, 3]])
    assert torch.equal(model[0](ids), model[0].real_weight()[ids])
    x = torch.randn(2, 3, 8, 8)
    plain.weight = nn.Parameter(model[1].real_weight())
    plain.bias = nn.Parameter(plain.bias.half().float())
    torch.testing.assert_close(model[1](x), plain(x))


def test_a_language_model_keeps_tied_weights_and_says_nearly_the_same():
    torch.manual_seed(0)
    lm = PrefixLM(
        config={
            **{"model_type": "gpt2", "n_layer": 2, "n_head": 4, "n_embd": 64},
            **{"vocab_size": 97, "initializer_range": 0.2},
        }
    ).eval()
    prefix, answer = torch.randn(3, 5, 64), torch.randint(97, (3, 4))
    before = lm.answer_log_probs(prefix, answer)
    n_byte = sum(p.numel() for p in lm.parameters()) * 4
    to_int8(lm)
    after = lm.answer_log_probs(prefix, answer)
    model = lm.model
    assert is_int8(lm)
    assert model.transformer.wte.weight is model.lm_head.weight
    assert 0 < (after - before).abs().max() < 0.1 * before.abs().max()
    kept = {value.data_ptr(): value for value in lm.state_dict().values()}
    assert sum(v.numel() * v.element_size() for v in kept.values()) < 0.3 * n_byte


def test_changed_weights_are_packed_anew_and_copies_have_their_own():
    torch.manual_seed(0)
    layer = to_int8(nn.Sequential(nn.Linear(16, 5)))
    x = torch.randn(2, 16)
    first = layer(x)
    other = pickle.loads(pickle.dumps(layer))
    assert torch.equal(other(x), first)  # and is packed
    other.load_state_dict(to_int8(nn.Sequential(nn.Linear(16, 5))).state_dict())
    assert not torch.equal(other(x), first)
    assert torch.equal(layer(x), first)


def test_layers_that_do_more_stay_as_they_are():
    attention = nn.MultiheadAttention(8, 2)
    assert not is_int8(to_int8(attention))
    x = torch.randn(3, 1, 8)
    assert attention(x, x, x)[0].shape == x.shape
