"""The benchmark in small: fewer rendered clips, shorter probes, a template of notes."""

from functools import partial

from pengi_plugin.protocols import probe_training

#: The template of a model that says all of a note; see corpora/nsynth.py.
NOTE = """{music_note: {prompt: this music note is, answer: "produced by {instrument}, \
pitch {pitch}, velocity {velocity}, source {source_kind}, and having qualities like \
{qualities_or_none}"}}"""

#: Clips of General MIDI; all of them take minutes.
SIZES = {"n_train": 12, "n_valid": 4, "n_test": 24}


def make_small(recipe, monkeypatch):
    """Let evaluate.py render few clips, and train its probes for two steps."""
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
