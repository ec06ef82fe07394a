import pytest
import torch

from pengi_plugin.lobes.mapping import (
    Attention,
    MLPPrefixMapper,
    PrefixMapper,
    SequencePrefixMapper,
)


def test_attention_is_softmax_of_scaled_products_per_head():
    attention = Attention(d_model=6, n_head=3)
    x = torch.randn(2, 5, 6)
    key_weight, value_weight = attention.key_value.weight.chunk(2)
    mixed = torch.zeros(2, 5, 6)
    for head in range(3):
        rows = slice(2 * head, 2 * head + 2)
        query = torch.einsum("btd,hd->bth", x, attention.query.weight[rows])
        key = torch.einsum("btd,hd->bth", x, key_weight[rows])
        value = torch.einsum("btd,hd->bth", x, value_weight[rows])
        weights = torch.softmax(query @ key.mT / 2**0.5, dim=-1)
        mixed[..., rows] = weights @ value
    expected = mixed @ attention.output.weight.T + attention.output.bias
    torch.testing.assert_close(attention(x), expected)


def test_prefix_is_what_stands_at_the_learned_constants():
    mapper = SequencePrefixMapper(d_model=8, n_prefix=3, n_layer=0, n_head=2)
    prefix = mapper(torch.randn(2, 5, 8))
    torch.testing.assert_close(prefix, mapper.prefix_const.expand(2, -1, -1))


def test_prefix_reads_every_token_of_the_sequence():
    mapper = SequencePrefixMapper(d_model=8, n_prefix=3, n_layer=1, n_head=2)
    sequence = torch.randn(1, 5, 8, requires_grad=True)
    mapper(sequence).square().sum().backward()
    assert (sequence.grad.abs().sum(-1) > 0).all()


def test_prefix_mapper_unfolds_the_embedding_into_tokens():
    mapper = PrefixMapper(d_embedding=6, d_model=8, n_prefix=3, n_layer=2, n_head=2)
    embedding = torch.randn(2, 6)
    tokens = mapper.linear(embedding).view(2, 3, 8)
    torch.testing.assert_close(mapper(embedding), mapper.transformer(tokens))


def test_mlp_mapper_is_two_layers_with_tanh():
    mapper = MLPPrefixMapper(d_embedding=6, d_model=8, n_prefix=3)
    embedding = torch.randn(2, 6)
    first, _, second = mapper.mlp
    hidden = torch.tanh(embedding @ first.weight.T + first.bias)
    expected = (hidden @ second.weight.T + second.bias).view(2, 3, 8)
    torch.testing.assert_close(mapper(embedding), expected)


def test_heads_that_do_not_divide_the_width_are_refused_with_the_values():
    with pytest.raises(ValueError, match="n_head=3, d_model=8"):
        PrefixMapper(d_embedding=6, d_model=8, n_prefix=3, n_head=3)
