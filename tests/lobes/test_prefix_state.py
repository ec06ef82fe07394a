import torch

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
