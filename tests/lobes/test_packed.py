import copy

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from pengi_plugin.lobes import products
from pengi_plugin.lobes.packed import PackedLinear, pack_linears
from pengi_plugin.lobes.prefix_lm import PrefixLM

pytestmark = pytest.mark.skipif(
    not products.has_onednn(), reason="PyTorch without oneDNN"
)

GPT2 = {
    "model_type": "gpt2",
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 8,
    "vocab_size": 23,
    "n_positions": 16,
}


@pytest.fixture
def is_packed(monkeypatch):
    """Count the calls that went through the packed copy."""
    calls = []
    product = PackedLinear._product

    def counted(self, n_row):
        calls.append(self)
        return product(self, n_row)

    monkeypatch.setattr(PackedLinear, "_product", counted)
    return calls


@pytest.mark.parametrize("layer", [nn.Linear(5, 7), Conv1D(7, 5)])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (6, 5), (2, 3, 5), (0, 5)])
def test_a_packed_layer_gives_what_the_layer_gives(layer, shape, is_packed):
    packed, x = PackedLinear(layer), torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(packed(x), layer(x))
    assert bool(is_packed) == (x.numel() > 0)


def test_rows_that_are_not_contiguous_are_read_right(is_packed):
    layer = nn.Linear(5, 7, bias=False)
    x = torch.randn(5, 6).t()
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(layer)(x), layer(x))
    assert is_packed


def test_gradients_are_those_of_the_layer():
    layer, x = nn.Linear(5, 7), torch.randn(3, 5, requires_grad=True)
    packed = PackedLinear(layer)
    with torch.no_grad():
        packed(x)
    layer(x).square().sum().backward()
    expected = x.grad.clone(), layer.weight.grad.clone()
    x.grad = layer.weight.grad = None
    packed(x).square().sum().backward()
    assert torch.equal(x.grad, expected[0])
    assert torch.equal(layer.weight.grad, expected[1])


def test_changed_and_newly_loaded_weights_are_packed_again():
    packed, x = PackedLinear(nn.Linear(5, 7)), torch.randn(3, 5)
    other = nn.Linear(5, 7)
    with torch.no_grad():
        packed(x)
        packed.weight.add_(1)
        torch.testing.assert_close(
            packed(x), nn.functional.linear(x, packed.weight, packed.bias)
        )
        packed.load_state_dict(other.state_dict())
        torch.testing.assert_close(packed(x), other(x))


def test_other_kinds_of_numbers_take_the_plain_way(is_packed):
    packed = PackedLinear(nn.Linear(5, 7)).double()
    with torch.no_grad():
        assert packed(torch.randn(3, 5).double()).dtype == torch.float64
        assert packed.bfloat16()(torch.randn(3, 5).bfloat16()).dtype == torch.bfloat16
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert packed.float()(torch.randn(3, 5)).dtype == torch.bfloat16
    assert not is_packed


def test_a_packed_model_keeps_names_ties_and_answers_and_can_be_copied(is_packed):
    torch.manual_seed(0)
    lm = PrefixLM(config=GPT2)
    names = list(lm.state_dict())
    prefix = torch.randn(2, 5, 8)
    with torch.no_grad():
        expected = lm.prefill(prefix)[0]
        pack_linears(lm)
        torch.testing.assert_close(lm.prefill(prefix)[0], expected)
    assert len(is_packed) == 5
    assert list(lm.state_dict()) == names
    head = lm.model.get_output_embeddings()
    assert head.weight is lm.model.get_input_embeddings().weight
    twin = copy.deepcopy(lm)
    assert not twin.model.get_output_embeddings()._products
    with torch.no_grad():
        torch.testing.assert_close(twin.prefill(prefix)[0], expected)


def test_layers_that_others_read_from_inside_are_left_alone():
    model = pack_linears(nn.TransformerEncoderLayer(8, 2, batch_first=True)).eval()
    assert type(model.linear1) is PackedLinear
    assert type(model.self_attn.out_proj) is not PackedLinear
    with torch.no_grad():
        assert model(torch.randn(2, 3, 8)).shape == (2, 3, 8)


def test_the_lm_with_its_faster_layers_is_the_one_that_transformers_has():
    torch.manual_seed(0)
    lm = PrefixLM(config=GPT2)
    stock = type(lm.model)(lm.model.config).eval()
    stock.load_state_dict(lm.model.state_dict())
    prefix = 3 * torch.randn(2, 5, 8)
    assert "NewGELUActivation" in str(stock)
    assert "NewGELUActivation" not in str(lm)
    with torch.no_grad():
        torch.testing.assert_close(
            lm.prefill(prefix)[0], stock(inputs_embeds=prefix).logits[:, -1]
        )
