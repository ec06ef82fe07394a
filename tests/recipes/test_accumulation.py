"""Accumulated batches, and those of several processes, are one big batch."""

from functools import partial

import pytest
import torch

from pengi_plugin.training import run
from pengi_plugin.training.brain import PengiBrain

#: One row a clip, captions or short answers, so that batches differ in tokens. Batch
#: norm is frozen: its statistics are those of each batch.
OPTIONS = {
    "pairs_per_clip": 1,
    "number_of_epochs": 1,
    "freeze": '["audio_encoder.encoder.bn0.*"]',
}


@pytest.fixture
def fit(arguments):
    """Return a function that trains by plain gradient descent, and its weights."""

    def train(name, **options):
        hparams, run_opts = run.load(arguments(name, **OPTIONS, **options))
        hparams["opt_class"] = partial(torch.optim.SGD, lr=0.01)
        brain = run.fit(hparams, run_opts, run.prepare(hparams))
        assert brain.optimizer_step == 3
        return {
            f"{name}.{key}": value
            for name, module in brain.modules.items()
            for key, value in module.named_parameters()
            if value.requires_grad
        }

    return train


def test_four_batches_of_two_clips_are_one_of_eight(fit, monkeypatch):
    whole = fit("whole", batch_size=8)
    sizes = []
    begin = PengiBrain.begin_update

    def note(self, batches):
        sizes.append([self.sizes(batch)["tokens"] for batch in batches])
        begin(self, batches)

    monkeypatch.setattr(PengiBrain, "begin_update", note)
    parts = fit("parts", batch_size=2, grad_accumulation_factor=4)
    assert [len(update) for update in sizes] == [4, 4, 4]
    assert any(len(set(update)) > 1 for update in sizes)
    assert whole.keys() == parts.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=1e-6, atol=1e-6, msg=name)


def test_a_run_interrupted_between_accumulated_batches_ends_as_an_unbroken_one(
    fit, monkeypatch
):
    options = {"batch_size": 2, "grad_accumulation_factor": 4}
    options |= {"ckpt_interval_minutes": 0, "ckpt_interval_steps": 1}
    whole = fit("whole", **options)
    fit_batch = PengiBrain.fit_batch
    seen = []

    def broken(self, batch):
        seen.append(batch)
        if len(seen) == 7:  # of the second update
            raise InterruptedError
        return fit_batch(self, batch)

    monkeypatch.setattr(PengiBrain, "fit_batch", broken)
    with pytest.raises(InterruptedError):
        fit("broken", **options)
    monkeypatch.setattr(PengiBrain, "fit_batch", fit_batch)
    again = fit("broken", **options)
    assert all(torch.equal(again[name], weight) for name, weight in whole.items())
