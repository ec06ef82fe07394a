import pytest
import torch

from pengi_plugin.lobes.prefix_lm import PrefixLM
from pengi_plugin.lobes.prefix_state import GROWTH, PrefixState, SlotLayer


def test_slots_hold_what_was_written_however_often_room_is_made():
    layer = SlotLayer()
    written = [torch.randn(2, 3, n, 4) for n in (5, *[2] * (3 * GROWTH))]
    for i, states in enumerate(written):
        keys, values = layer.update(states, -states)
        expected = torch.cat(written[: i + 1], dim=2)
        assert torch.equal(keys, expected)
        assert torch.equal(values, -expected)
    assert layer.get_seq_length() == expected.shape[2]


def test_a_beam_sees_its_prefix_and_its_own_ancestors():
    state = PrefixState(torch.tensor([2, 3]), n_prefix=3)
    state.repeat(2)
    state.open_slots()
    state.reorder(torch.tensor([[1, 1], [1, 0]]))
    state.open_slots()
    mask = state.attention_mask(torch.float32)
    assert mask.shape == (2, 1, 2, 7)
    assert (mask[:, 0] == 0).int().tolist() == [
        [[1, 1, 0, 0, 1, 1, 0], [1, 1, 0, 0, 1, 0, 1]],
        [[1, 1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 0, 0, 1]],
    ]
    assert state.positions.tolist() == [4, 5]


def test_items_that_are_kept_take_their_cache_and_position_along():
    state = PrefixState(torch.tensor([1, 2, 3]), n_prefix=3)
    states = torch.randn(3, 1, 3, 4)
    state.cache.update(states, states, 0)
    state.repeat(2)
    state.keep(torch.tensor([2, 0]))
    assert torch.equal(state.cache.layers[0].keys, states[[2, 0]])
    assert state.positions.tolist() == [3, 1]
    assert state.seen.sum(-1).tolist() == [[3, 3], [1, 1]]


LLAMA_LIKE = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "vocab_size": 23,
    "max_position_embeddings": 32,
    "pad_token_id": None,
}
OTHERS = {
    "qwen3": LLAMA_LIKE,
    "smollm3": LLAMA_LIKE,
    "mistral": {**LLAMA_LIKE, "sliding_window": 32},
    "gpt_neox": {**LLAMA_LIKE, "num_key_value_heads": None},
    "opt": {**LLAMA_LIKE, "ffn_dim": 16, "word_embed_proj_dim": 8},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_beams_of_other_language_models_go_on_from_their_own_past(kind):
    torch.manual_seed(0)
    lm = PrefixLM(config={"model_type": kind, **OTHERS[kind]})
    for parameter in lm.parameters():
        parameter.data.normal_(std=0.4)
    prefix, ids = torch.randn(2, 6, 8), torch.randint(23, (3, 4))
    beams = torch.tensor([[1, 0], [0, 0]])
    with torch.no_grad():
        _, state = lm.prefill(prefix, torch.tensor([1.0, 4 / 6]))
        state.repeat(2)
        lm.step(ids[0], state)
        state.reorder(beams)
        lm.step(ids[1], state)
        found = lm.step(ids[2], state)
        for row in range(4):
            item, beam = divmod(row, 2)
            first = ids[0, 2 * item + beams[item, beam]]
            read = torch.stack([first, ids[1, row], ids[2, row]])
            alone = torch.cat([prefix[item, : (6, 4)[item]], lm.embed(read)])
            expected = lm.model(inputs_embeds=alone[None]).logits[0, -1]
            torch.testing.assert_close(found[row], expected)


def test_a_search_beyond_the_window_of_the_layers_is_refused():
    config = {"model_type": "mistral", **LLAMA_LIKE, "sliding_window": 7}
    lm = PrefixLM(config=config)
    _, state = lm.prefill(torch.randn(1, 6, 8))
    lm.step(torch.tensor([1]), state)
    with pytest.raises(ValueError, match="mistral attend to the last 7 positions only"):
        lm.step(torch.tensor([1]), state)


def test_a_recurrent_language_model_is_refused_by_name():
    config = {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1}
    with pytest.raises(ValueError, match="mamba keeps a recurrent state"):
        PrefixLM(config={**config, "vocab_size": 23})
