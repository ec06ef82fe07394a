"""Updates are counted as SpeechBrain makes them."""

import logging

import pytest
import speechbrain as sb
import torch
from speechbrain.dataio.sampler import (
    DistributedSamplerWrapper,
    ReproducibleRandomSampler,
)
from torch import nn

from pengi_plugin.training.schedule import check_updates, count_updates


class Counting(sb.Brain):
    """Counts the updates that SpeechBrain asks for."""

    def compute_forward(self, batch, stage):
        return self.modules.layer(batch.float()[:, None])

    def compute_objectives(self, outputs, batch, stage):
        return outputs.mean()


def updates_of_speechbrain(
    n_rows, batch_size, n_epoch, factor, n_process, drop_last, rank
):
    """Train as one process of several does; return the number of updates."""
    brain = Counting(
        {"layer": nn.Linear(1, 1)},
        lambda parameters: torch.optim.SGD(parameters, 0.1),
        run_opts={"device": "cpu", "grad_accumulation_factor": factor},
    )
    dataset = list(range(n_rows))
    sampler = ReproducibleRandomSampler(dataset)
    if n_process > 1:  # what SpeechBrain wraps a sampler in
        sampler = DistributedSamplerWrapper(
            sampler,
            shuffle=False,
            num_replicas=n_process,
            rank=rank,
            drop_last=drop_last,
        )
    loader = {"batch_size": batch_size, "drop_last": drop_last, "sampler": sampler}
    brain.fit(range(1, n_epoch + 1), dataset, train_loader_kwargs=loader)
    return brain.optimizer_step


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(
    ("n_rows", "batch_size", "factor", "n_process"),
    [(97, 7, 3, 2), (97, 7, 1, 2), (97, 16, 1, 3), (10, 4, 2, 1), (10, 4, 1, 1)]
    + [(6, 7, 1, 1), (97, 7, 9, 2), (98, 7, 7, 2), (100, 7, 2, 3)],
)
def test_updates_are_counted_as_speechbrain_makes_them(
    n_rows, batch_size, factor, n_process, drop_last
):
    expected = [
        updates_of_speechbrain(
            n_rows, batch_size, 2, factor, n_process, drop_last, rank
        )
        for rank in range(n_process)
    ]
    found = count_updates(n_rows, batch_size, 2, factor, n_process, drop_last)
    assert [found] * n_process == expected


HPARAMS = {"n_warmup": 5, "batch_size": 7, "number_of_epochs": 2, "lr": 0.1}


def test_a_run_without_updates_is_refused_with_its_numbers():
    with pytest.raises(ValueError, match=r"batch_size=7 .*_factor=3 .*epochs=2 "):
        check_updates(0, 3, HPARAMS)


@pytest.mark.parametrize(("n_update", "is_told"), [(4, True), (5, True), (6, False)])
def test_a_warm_up_that_leaves_no_update_is_warned_about(n_update, is_told, caplog):
    with caplog.at_level(logging.WARNING):
        check_updates(n_update, 1, HPARAMS)
    assert ("n_warmup=5 is longer than the run" in caplog.text) == is_told
