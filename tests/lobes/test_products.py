"""Products with packed weights are those of float32, whichever is chosen."""

import pytest
import torch
from torch import nn

from pengi_plugin.lobes import products
from pengi_plugin.lobes.packed import PackedLinear, pack_linears
from pengi_plugin.lobes.products import (
    HalfProduct,
    OneDNNProduct,
    SplitProduct,
    fits_half,
    fits_split,
)

pytestmark = [
    pytest.mark.skipif(not products.has_onednn(), reason="PyTorch without oneDNN"),
    pytest.mark.skipif(not products.has_half(), reason="no kernels for float16"),
]

#: A layer of LEAST_SPLIT weights.
N_IN, N_OUT = 512, 512


@pytest.fixture
def layer():
    """Return a layer with weights of many sizes."""
    torch.manual_seed(0)
    layer = nn.Linear(N_IN, N_OUT)
    with torch.no_grad():
        layer.weight.mul_(10.0 ** torch.randint(-2, 2, (N_OUT, 1)))
    return layer


def kinds(packed):
    """Return the products that a layer has used."""
    return set(packed._copies.products)


def error(product, layer, n_row):
    """Return the largest error of a product, as a part of each output's size.

    The layer has no bias, beside which errors of small outputs could not be seen.
    """
    torch.manual_seed(1)
    x = torch.randn(n_row, N_IN)
    with torch.no_grad():
        exact = nn.functional.linear(x.double(), layer.weight.double())
        size = x.double().norm(dim=1)[:, None] * layer.weight.double().norm(dim=1)
        return ((product(x).double() - exact).abs() / size).amax().item()


@pytest.mark.parametrize("n_row", [1, 2, 3, 8, 9, 40])
def test_a_split_product_is_as_exact_as_a_float32_product(layer, n_row):
    layer.bias = None
    weight, plain = layer.weight.detach(), error(layer, layer, n_row)
    assert fits_split(weight)
    assert error(OneDNNProduct(weight, None), layer, n_row) < 8 * plain
    assert error(SplitProduct(weight, None), layer, n_row) < 8 * plain
    assert error(HalfProduct(weight, None), layer, n_row) > 100 * plain


@pytest.mark.parametrize("size", [1e-5, 1e-8, 1e-20, 1e-30])
@pytest.mark.parametrize("half", [False, True])
def test_weights_too_small_for_float16_stay_float32(half, size, monkeypatch):
    monkeypatch.setattr(products, "few_rows", lambda: 3)
    monkeypatch.setattr(products, "PATIENCE", 0)
    torch.manual_seed(0)
    layer = nn.Linear(N_IN, N_OUT, bias=False)
    with torch.no_grad():
        if not half:  # one output is enough
            layer.weight[7] *= size
        else:
            layer.weight *= size
        packed = PackedLinear(layer, half)
        assert error(packed, layer, 2) < 1e-6
    assert kinds(packed) == {OneDNNProduct}


def test_outputs_without_weights_do_not_keep_a_layer_from_16_bits(layer):
    with torch.no_grad():
        layer.weight[3] = 0
        layer.weight[4] = 1e-9
        packed = PackedLinear(layer, half=True)
        packed(torch.randn(2, N_IN))
    assert kinds(packed) == {HalfProduct}
    assert fits_half(torch.zeros(2, 3))


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_few_rows_take_the_split_product_and_many_onednn(
    layer, capability, monkeypatch
):
    monkeypatch.setattr(products, "few_rows", lambda: products.FEW_ROWS[capability])
    monkeypatch.setattr(products, "PATIENCE", 0)
    packed, few = PackedLinear(layer), products.FEW_ROWS[capability]
    with torch.inference_mode():
        for n_row, expected in ((few, {SplitProduct}), (few + 1, {OneDNNProduct})):
            packed._copies = None
            x = torch.randn(n_row, 1, N_IN)
            torch.testing.assert_close(packed(x), layer(x), rtol=1e-5, atol=1e-5)
            assert kinds(packed) == expected


def test_weights_are_split_when_few_rows_have_come_often(layer, monkeypatch):
    monkeypatch.setattr(products, "few_rows", lambda: 3)
    monkeypatch.setattr(products, "PATIENCE", 2)
    packed, x = PackedLinear(layer), torch.randn(3, N_IN)
    with torch.inference_mode():
        packed(torch.randn(40, N_IN))
        first, second = packed(x), packed(x)
        assert kinds(packed) == {OneDNNProduct}
        third = packed(x)
        assert torch.equal(first, second)
        torch.testing.assert_close(third, second, rtol=1e-5, atol=1e-5)
    assert kinds(packed) == {OneDNNProduct, SplitProduct}


def test_small_layers_and_cpus_without_kernels_take_onednn(layer, monkeypatch):
    monkeypatch.setattr(products, "PATIENCE", 0)
    small = PackedLinear(nn.Linear(8, 8))
    packed = PackedLinear(layer)
    with torch.inference_mode():
        small(torch.randn(1, 8))
        monkeypatch.setattr(products, "has_half", lambda: False)
        packed(torch.randn(1, N_IN))
    assert kinds(small) == kinds(packed) == {OneDNNProduct}


@pytest.mark.parametrize("kind", [OneDNNProduct, HalfProduct, SplitProduct])
@pytest.mark.parametrize("has_bias", [False, True])
def test_products_take_every_shape_and_layout_of_rows(kind, has_bias):
    torch.manual_seed(0)
    layer = nn.Linear(6, 4, bias=has_bias).half().float().requires_grad_(False)
    product = kind(layer.weight, layer.bias)
    wide, deep = torch.randn(5, 12), torch.randn(3, 6, 4)
    rows = [torch.randn(*shape, 6) for shape in ((), (1,), (3,), (2, 3), (5, 2, 3))]
    rows += [
        wide[:, ::2],
        wide[1:, 3:9],
        torch.randn(6, 5).t(),
        wide[:1, :6].expand(4, 6),
    ]
    rows += [deep.transpose(1, 2), deep.permute(2, 0, 1)]
    for x in rows:
        torch.testing.assert_close(product(x), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("half", [False, True])
def test_very_many_rows_take_onednn(half, monkeypatch):
    monkeypatch.setattr(products, "MANY_ROWS", 40)
    layer = nn.Linear(N_IN, N_OUT).half().float()
    packed = PackedLinear(layer, half)
    with torch.inference_mode():
        packed(torch.randn(2, 20, N_IN))
        assert kinds(packed) == {HalfProduct}
        x = torch.randn(41, N_IN)
        torch.testing.assert_close(packed(x), layer(x), rtol=1e-5, atol=1e-5)
    assert kinds(packed) == {HalfProduct, OneDNNProduct}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n_row", [1, 40])
def test_weights_of_16_bits_stay_so_and_nothing_is_lost(dtype, n_row):
    layer = nn.Linear(N_IN, N_OUT).to(dtype).float()
    packed, x = PackedLinear(layer), torch.randn(n_row, N_IN)
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), layer(x), rtol=1e-5, atol=1e-5)
    assert kinds(packed) == {HalfProduct}


def test_weights_are_rounded_only_where_asked(layer):
    x = torch.randn(5, N_IN)
    rounded = pack_linears(nn.Sequential(layer), half=True)
    with torch.inference_mode():
        torch.testing.assert_close(rounded(x), layer(x), rtol=0.01, atol=0.01)
    assert kinds(rounded[0]) == {HalfProduct}
    assert not fits_half(layer.weight)


def test_weights_beyond_float16_stay_float32(monkeypatch):
    monkeypatch.setattr(products, "few_rows", lambda: 3)
    monkeypatch.setattr(products, "PATIENCE", 0)
    layer = nn.Linear(N_IN, N_OUT)
    with torch.no_grad():
        layer.weight[0, 0] = 1e5
    for half in (False, True):
        packed, x = PackedLinear(layer, half), torch.randn(1, N_IN)
        with torch.inference_mode():
            torch.testing.assert_close(packed(x), layer(x), rtol=1e-5, atol=1e-2)
        assert kinds(packed) == {OneDNNProduct}


def test_a_changed_bias_is_packed_again(layer):
    packed, x = PackedLinear(layer, half=True), torch.randn(2, N_IN)
    with torch.no_grad():
        before = packed(x)
        packed.bias.add_(1)
        torch.testing.assert_close(packed(x), before + 1)


def test_16_bit_numbers_are_told_from_others():
    torch.manual_seed(0)
    weight = torch.randn(100, 100)
    assert not fits_half(weight)
    assert fits_half(weight.half().float())
    assert fits_half(weight.bfloat16().float())
    assert fits_half(torch.zeros(3, 3))
    tiny = weight.bfloat16().float()
    tiny[0] *= 1e-6  # an output of its own, which float16 cannot hold
    assert not fits_half(tiny)
    assert not fits_half(torch.tensor([[float("nan"), 1.0]]))
