import pytest
import torch

from pengi_plugin.decoders.top import top_k


@pytest.mark.parametrize("n_entry", [1, 100, 128 * 40, 128 * 40 + 1, 50257])
@pytest.mark.parametrize("k", [1, 5, 30])
def test_the_largest_entries_are_those_of_torch(n_entry, k):
    rows = torch.randn(7, n_entry)
    k = min(k, n_entry)
    values, indices = top_k(rows, k)
    expected = rows.topk(k, dim=-1)
    assert torch.equal(values, expected.values)
    assert torch.equal(indices, expected.indices)


def test_the_largest_entries_may_all_lie_in_one_block_or_behind_the_last():
    rows = torch.zeros(2, 128 * 40 + 3)
    rows[0, 256:261] = torch.arange(5.0) + 1
    rows[1, -3:] = torch.tensor([3.0, 2.0, 1.0])
    assert top_k(rows, 5)[1][0].tolist() == [260, 259, 258, 257, 256]
    assert top_k(rows, 3)[1][1].tolist() == [5120, 5121, 5122]


def test_entries_of_minus_infinity_come_last():
    rows = torch.full((1, 5000), -torch.inf)
    rows[0, 4999], rows[0, 17] = 1.0, 2.0
    values, indices = top_k(rows, 4)
    assert indices[0, :2].tolist() == [17, 4999]
    assert (values[0, 2:] == -torch.inf).all()
