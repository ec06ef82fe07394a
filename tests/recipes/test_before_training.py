"""What would fail after a training is refused before it."""

import pytest
import torch
from torch import nn

from pengi_plugin.training.run import fit, load, prepare

BEAM = "!new:pengi_plugin.decoders.beam.PrefixBeamSearcher"


class Untrainable:
    """A Brain that a refused run never makes."""

    def __init__(self, *args):
        raise AssertionError("training has begun")


@pytest.fixture
def run_of(root, make_arguments, tmp_path):
    """Return a function: replacements in tiny.yaml -> what ``fit`` says to it."""

    def run(*pairs):
        text = (root / "hparams" / "model" / "tiny.yaml").read_text()
        for old, new in pairs:
            assert text.count(old) == 1
            text = text.replace(old, new)
        path = tmp_path / "model.yaml"
        path.write_text(text)
        hparams, run_opts = load(
            make_arguments(tmp_path / "run", model=f"!include:{path}")
        )
        return fit(hparams, run_opts, prepare(hparams), Untrainable)

    return run


def test_a_usual_model_is_not_refused(run_of):
    with pytest.raises(AssertionError, match="training has begun"):
        run_of()


@pytest.mark.parametrize(
    ("searcher", "extra", "message"),
    [
        (
            BEAM,
            "    return_topk: True\n",
            r"PrefixBeamSearcher returns several .*return_topk=True.* take one",
        ),
        (
            "!new:pengi_plugin.decoders.sampling.PrefixSampler",
            "    n_samples: 3\n",
            r"PrefixSampler returns several .*n_samples=3.* take one",
        ),
    ],
)
def test_a_searcher_of_several_answers_is_refused_before_training(
    run_of, searcher, extra, message
):
    size = "    beam_size: !ref <beam_size>\n"
    kept = size if searcher == BEAM else ""
    with pytest.raises(ValueError, match=message):
        run_of((f"searcher: {BEAM}", f"searcher: {searcher}"), (size, extra + kept))


class FromFile(nn.Linear):
    """A projection that begins with the weights of a file."""

    def __init__(self, d_in, d_embedding, source, dropout=0.0):
        super().__init__(d_in, d_embedding)
        self.d_embedding = d_embedding
        self.load_state_dict(torch.load(source, weights_only=True))


def test_a_part_that_an_export_could_not_hold_is_refused_before_training(
    run_of, tmp_path
):
    torch.save(nn.Linear(16, 12).state_dict(), tmp_path / "weights.pt")
    old = (
        "audio_projection: !new:pengi_plugin.lobes.projection.ProjectionHead\n"
        "    d_in: !ref <d_audio>\n"
    )
    new = (
        "audio_projection: !new:tests.recipes.test_before_training.FromFile\n"
        f"    source: {tmp_path}/weights.pt\n    d_in: !ref <d_audio>\n"
    )
    with pytest.raises(ValueError, match=r"audio_projection .*built from source: "):
        run_of((old, new))
