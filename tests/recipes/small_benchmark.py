"""The benchmark in small: fewer clips and resamples, shorter probes, no pictures."""

from functools import partial

from pengi_plugin.metrics.bootstrap import bootstrap_statistic
from pengi_plugin.protocols import confusion, probe_training, score

#: The template of a model that says all of a note; see corpora/nsynth.py.
NOTE = """{music_note: {prompt: this music note is, answer: "produced by {instrument}, \
pitch {pitch}, velocity {velocity}, source {source_kind}, and having qualities like \
{qualities_or_none}"}}"""

#: Clips of General MIDI; all of them take minutes.
SIZES = {"n_train": 12, "n_valid": 4, "n_test": 24}

#: Of each statistic, to estimate its interval.
N_RESAMPLES = 10


def make_small(recipe, monkeypatch):
    """Let evaluate.py render few clips, and train its probes for two steps.

    Intervals are of few resamples, and confusions are not drawn.
    """

    def few_resamples(statistic, n_rows, n_resamples, **options):
        return bootstrap_statistic(statistic, n_rows, N_RESAMPLES, **options)

    monkeypatch.setattr(score, "bootstrap_statistic", few_resamples)
    monkeypatch.setattr(confusion, "_draw", lambda counts, classes, path: None)
    monkeypatch.setattr(probe_training, "N_EPOCHS", 1)
    monkeypatch.setattr(probe_training, "N_STEPS", 2)
    load = recipe.load_hyperpyyaml

    def load_small(*arguments):
        hparams = load(*arguments)
        for name, entry in hparams["sets"].items():
            if name.startswith("general_midi"):
                entry["prepare"] = partial(entry["prepare"], **SIZES)
        return hparams

    monkeypatch.setattr(recipe, "load_hyperpyyaml", load_small)
