import copy
import threading

import numpy as np
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


def plain(packed, x):
    """Return what a layer has to give."""
    return nn.functional.linear(x, packed.weight, packed.bias)


def test_other_weights_at_the_same_address_are_packed_again():
    buffer = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    packed, x = PackedLinear(nn.Linear(5, 7, bias=False)), torch.randn(3, 5)
    for _ in range(2):
        packed.weight = nn.Parameter(torch.from_numpy(buffer))
        with torch.no_grad():
            torch.testing.assert_close(packed(x), plain(packed, x))
        buffer *= -3


def test_weights_are_kept_until_others_are_packed():
    packed, x = PackedLinear(nn.Linear(512, 512, bias=False)), torch.randn(3, 512)
    with torch.no_grad():
        packed(x)
        for _ in range(20):  # memory that is freed is soon given to others
            address = packed.weight.data_ptr()
            packed.weight.data = torch.empty(0)
            packed.weight.data = torch.randn(512, 512) / 20
            assert packed.weight.data_ptr() != address
            torch.testing.assert_close(packed(x), plain(packed, x))


def test_converted_or_turned_weights_are_packed_again():
    packed, x = PackedLinear(nn.Linear(64, 64)), torch.randn(3, 64)
    for change in (lambda: packed.bfloat16().float(), lambda: packed.half().float()):
        with torch.no_grad():
            packed(x)
            change()
            assert packed._copies is None
            torch.testing.assert_close(packed(x), plain(packed, x))
    with torch.no_grad():
        packed.weight.data = packed.weight.data.t()
        torch.testing.assert_close(packed(x), plain(packed, x))


@torch.inference_mode()
def test_weights_made_and_loaded_in_inference_mode_are_packed_again():
    packed, x = PackedLinear(nn.Linear(5, 7)), torch.randn(3, 5)
    packed(x)
    packed.load_state_dict(nn.Linear(5, 7).state_dict())
    torch.testing.assert_close(packed(x), plain(packed, x))


def test_a_bias_alone_can_be_trained():
    layer = nn.Linear(5, 7)
    layer.weight.requires_grad = False
    PackedLinear(layer)(torch.randn(3, 5)).sum().backward()
    assert torch.equal(layer.bias.grad, torch.full((7,), 3.0))


@pytest.mark.parametrize("kind", [torch.Tensor.float, torch.Tensor.bfloat16])
def test_a_bias_with_gaps_is_read_right(kind):
    layer, x = nn.Linear(5, 7), torch.randn(3, 5)
    layer.weight.data = kind(layer.weight.data).float()  # both products
    layer.bias.data = torch.randn(14)[::2]
    with torch.no_grad():
        torch.testing.assert_close(PackedLinear(layer)(x), layer(x))


def test_a_bias_of_other_numbers_is_refused_as_by_the_layer():
    layer = nn.Linear(5, 7).half().float()
    layer.bias.data = layer.bias.data.double()
    with torch.no_grad(), pytest.raises(RuntimeError, match="same dtype"):
        PackedLinear(layer)(torch.randn(3, 5))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_without_outputs_has_none():
    with torch.no_grad():
        assert PackedLinear(nn.Linear(5, 0))(torch.randn(2, 5)).shape == (2, 0)


def test_threads_may_share_a_layer_that_is_not_packed_yet():
    x, wrong = torch.randn(2, 256), []

    def use(packed, start):
        start.wait()
        try:
            with torch.inference_mode():
                torch.testing.assert_close(packed(x), plain(packed, x))
        except (AssertionError, TypeError) as error:
            wrong.append(error)

    for _ in range(20):
        start = threading.Barrier(4)
        words = (PackedLinear(nn.Linear(256, 256)), start)
        threads = [threading.Thread(target=use, args=words) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_layers_packed_before_are_rounded_when_asked_and_again_not():
    model = pack_linears(nn.Sequential(nn.Linear(5, 7)))
    first, weight = model[0], model[0].weight
    assert pack_linears(model)[0] is first
    for half in (True, False):
        assert pack_linears(model, half)[0].half_weights == half
    assert model[0].weight is weight


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
    assert twin.model.get_output_embeddings()._copies is None
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
