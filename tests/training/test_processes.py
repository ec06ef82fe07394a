"""Shares of any number of processes are all items, each once, in order."""

from itertools import chain

import pytest

from pengi_plugin.training import processes
from pengi_plugin.training.processes import gather_shares, share, share_of_batches
from pengi_plugin.training.updates import Updates


@pytest.fixture
def as_each(monkeypatch):
    """Return a function: number of processes, function -> what each one returns."""

    def call(n_process, function):
        found = []
        monkeypatch.setattr(processes, "count_processes", lambda: n_process)
        for number in range(n_process):
            monkeypatch.setattr(processes, "rank", lambda: number)  # noqa: B023
            found.append(function())
        return found

    return call


@pytest.mark.parametrize("n_item", [0, 1, 7, 8, 12])
@pytest.mark.parametrize("n_process", [1, 2, 3, 5])
def test_batches_of_all_processes_are_those_of_one_each_once(
    n_item, n_process, as_each
):
    (whole,) = as_each(1, lambda: share_of_batches(n_item, 3))
    shares = as_each(n_process, lambda: share_of_batches(n_item, 3))
    assert sorted(chain(*shares)) == whole
    assert [index for batch in whole for index in batch] == list(range(n_item))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("n_process", [1, 2, 3, 9])
def test_gathered_shares_are_in_the_order_of_the_items(n_process, as_each, monkeypatch):
    items = list("abcdefg")
    shares = as_each(n_process, lambda: share(items))
    monkeypatch.setattr(processes, "gather", lambda _: shares)
    assert gather_shares([]) == items


def test_no_batch_of_an_update_is_kept_after_it_was_learned_from():
    class Batch:
        alive = 0

        def __init__(self):
            Batch.alive += 1

        def __del__(self):
            Batch.alive -= 1

    alive = []
    updates = Updates((Batch() for _ in range(5)), 3, begin=lambda batches: None)
    for batch in updates:
        del batch
        alive.append(Batch.alive)
    assert alive == [2, 1, 0, 1, 0]
