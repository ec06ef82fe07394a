"""CLAP on tones: resumed, over two processes, as a start for Pengi, and compared."""

import shutil

import pytest
import torch

from pengi_plugin.inference import AudioTextModel
from pengi_plugin.training import clap_brain, run
from tests.recipes.conftest import recipe_main

YAML = "clap.yaml"


@pytest.fixture(scope="module")
def clap_main(root):
    return recipe_main(root, "clap")


@pytest.fixture(scope="module")
def trained(clap_main, make_arguments, tmp_path_factory):
    """Return the folder of a run that has learned, and its table."""
    folder = tmp_path_factory.mktemp("clap")
    arguments = make_arguments(folder, yaml=YAML, number_of_epochs=12, lr=0.01)
    return folder, clap_main(arguments)


def weights(folder):
    (newest,) = sorted(folder.glob("save/CKPT*/clap.ckpt"))[-1:]
    return torch.load(newest, weights_only=True)


def test_a_trained_clap_tells_high_from_low_tones_it_has_not_heard(trained, tones):
    folder, table = trained
    scores = {(line["group"], line["metric"]): line["score"] for line in table}
    assert scores["captions, text to audio", "R@1"] == 1.0
    assert scores["captions, audio to text", "R@1"] == 1.0
    assert all("commonest" not in line for line in table)  # it gives no answers
    assert all(line["shuffled"] < 1.0 for line in table if line["metric"] == "R@1")
    model = AudioTextModel.from_hparams(source=str(folder / "model"))
    for number, height in enumerate(["low", "high"] * 4):
        path = tones / f"test_{number}.wav"
        ranking = model.classify_file(path, ["low", "high"], "a {label} tone")
        assert ranking[0][0] == height


def test_a_run_that_is_interrupted_ends_as_an_unbroken_one(
    clap_main, arguments, tmp_path, monkeypatch
):
    options = {"yaml": YAML, "ckpt_interval_minutes": 0, "ckpt_interval_steps": 2}
    clap_main(arguments("whole", **options))
    fit_batch = clap_brain.ClapBrain.fit_batch
    seen = []

    def broken(self, batch):
        seen.append(batch)
        if len(seen) == 4:
            raise InterruptedError
        return fit_batch(self, batch)

    monkeypatch.setattr(clap_brain.ClapBrain, "fit_batch", broken)
    with pytest.raises(InterruptedError):
        clap_main(arguments("broken", **options))
    monkeypatch.undo()
    assert not (tmp_path / "broken" / "model").exists()
    clap_main(arguments("broken", **options))
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_several_texts_for_a_clip_are_refused(clap_main, arguments):
    with pytest.raises(ValueError, match=r"pairs_per_clip.*must be 1; got 2"):
        clap_main(arguments(yaml=YAML, pairs_per_clip=2))


def test_answers_to_questions_are_no_texts_of_a_clip(clap_main, arguments, monkeypatch):
    seen = set()
    forward = clap_brain.ClapBrain.compute_forward

    def noted(self, batch, stage):
        seen.update(batch.task)
        return forward(self, batch, stage)

    monkeypatch.setattr(clap_brain.ClapBrain, "compute_forward", noted)
    clap_main(arguments(yaml=YAML, number_of_epochs=1))
    assert seen == {"captioning"}


def test_pengi_starts_from_the_audio_encoder_of_a_trained_clap(trained, arguments):
    folder, _ = trained
    hparams, _ = run.load(arguments(audio_encoder_init=folder / "model"))
    expected = weights(folder)
    found = hparams["model"]["audio_encoder"].state_dict()
    assert found
    best = AudioTextModel.from_hparams(source=str(folder / "model")).mods.clap
    for name, value in best.audio_encoder.state_dict().items():
        assert torch.equal(found[name], value)
        assert found[name].shape == expected[f"audio_encoder.{name}"].shape


def test_one_command_compares_a_pengi_and_a_clap(
    root, trained, finished, tones, tmp_path
):
    main = recipe_main(root, "comparison", "clap.py")
    table = main(
        [
            str(root / "hparams" / "comparison_clap.yaml"),
            *("--pengi", str(finished[1] / "model")),
            *("--clap", str(trained[0] / "model")),
            *("--sets", "retrieval", "questions"),
            *("--output_folder", str(tmp_path)),
            *(
                "--test_manifest",
                str(tones / "test.json"),
                "--train_manifest",
                str(tones / "train.json"),
            ),
        ]
    )
    models = {line["model"] for line in table}
    assert models == {"Pengi", "CLAP", "Pengi - CLAP"}
    by_name = {(line["set"], line["model"], line["metric"]): line for line in table}
    recall = by_name["retrieval", "CLAP", "R@1"]
    assert (recall["score"], recall["n"]) == (1.0, 2)
    gain = by_name["retrieval", "Pengi - CLAP", "R@1"]["score"]
    assert gain == by_name["retrieval", "Pengi", "R@1"]["score"] - 1.0
    unable = [line for line in table if line["score"] is None]
    assert {line["set"] for line in unable} == {"questions"}
    assert all("CLAP cannot" in line["note"] for line in unable)
    assert (tmp_path / "table.md").is_file()


def test_a_clap_with_a_class_of_its_own_is_compared_where_it_is_trusted(
    root, trained, finished, tones, tmp_path
):
    folder = tmp_path / "model"
    shutil.copytree(trained[0] / "model", folder)
    with open(folder / "hyperparams.yaml", "a") as file:
        file.write("own: !new:collections.OrderedDict\n")
    main = recipe_main(root, "comparison", "clap.py")
    words = [
        str(root / "hparams" / "comparison_clap.yaml"),
        *("--pengi", str(finished[1] / "model"), "--clap", str(folder)),
        *("--sets", "retrieval", "--output_folder", str(tmp_path / "out")),
        *("--test_manifest", str(tones / "test.json")),
        *("--train_manifest", str(tones / "train.json")),
    ]
    with pytest.raises(ValueError, match=r"collections\.OrderedDict"):
        main(words)
    assert main([*words, "--trust"])
