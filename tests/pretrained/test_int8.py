"""A folder with int8 weights is a model as any other, of a quarter of the bytes."""

import copy
import importlib
import shutil

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from pengi_plugin.__main__ import main
from pengi_plugin.conversion.clap import load_clap
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.lobes.int8 import is_int8
from pengi_plugin.pretrained.folder import continue_from, load_folder
from pengi_plugin.pretrained.int8 import write_int8

PROMPTS = ["generate audio caption", "question: what is it?"]


@pytest.fixture(scope="module")
def small_folder(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8") / "model"
    shutil.copytree(tiny_folder, folder)
    write_int8(folder)
    return folder


def n_byte(folder, part="*"):
    return sum(path.stat().st_size for path in folder.glob(f"{part}.safetensors"))


def test_a_folder_answers_as_the_model_that_was_rounded_when_it_was_loaded(
    small_folder, tiny_folder
):
    torch.manual_seed(0)
    wavs, ones = torch.randn(2, 8000) / 10, torch.ones(2)
    loaded = AudioLanguageModel.from_hparams(source=small_folder)
    rounded = AudioLanguageModel.from_hparams(source=tiny_folder, int8=True)
    plain = AudioLanguageModel.from_hparams(source=tiny_folder)
    found = [
        model.score_batch(wavs, ones, PROMPTS, ["rain falls", "a dog"])
        for model in (loaded, rounded, plain)
    ]
    assert torch.equal(found[0], found[1])
    assert loaded.generate_batch(wavs, ones) == rounded.generate_batch(wavs, ones)
    assert not torch.equal(found[0], found[2])
    torch.testing.assert_close(found[0], found[2], rtol=0.1, atol=0.1)
    assert not is_int8(plain.mods)


def test_int8_asked_for_changes_nothing_of_a_folder_in_int8(small_folder):
    torch.manual_seed(0)
    wavs, ones = torch.randn(2, 8000) / 10, torch.ones(2)
    found = [
        AudioLanguageModel.from_hparams(
            source=small_folder, run_opts={"device": "cpu"}, int8=int8
        ).score_batch(wavs, ones, PROMPTS, ["rain falls", "a dog"])
        for int8 in (False, True)
    ]
    assert torch.equal(*found)


def test_it_has_a_quarter_of_the_bytes_of_float32(small_folder, tiny_folder):
    assert n_byte(small_folder, "lm") < 0.35 * n_byte(tiny_folder, "lm")
    assert n_byte(small_folder) < 0.45 * n_byte(tiny_folder)  # of layers 16 wide


def test_its_files_hold_bytes_of_int8_and_float16_alone(small_folder):
    kinds = set()
    for path in small_folder.glob("*.safetensors"):
        kinds |= {value.dtype for value in load_file(path).values()}
    assert kinds == {torch.int8, torch.float16}


def test_its_weights_are_checked_as_strictly(small_folder, tiny_folder, tmp_path):
    shutil.copytree(small_folder, tmp_path / "model")
    shutil.copy(tiny_folder / "lm.safetensors", tmp_path / "model")
    with pytest.raises(ValueError, match=r"lm\.safetensors does not hold the weights"):
        load_folder(tmp_path / "model")


def test_names_of_parts_that_are_none_are_refused(small_folder, tmp_path):
    shutil.copytree(small_folder, tmp_path / "model")
    path = tmp_path / "model" / "hyperparams.yaml"
    path.write_text(path.read_text().replace("      - lm\n", "      - tokenizer\n"))
    with pytest.raises(ValueError, match="int8 must be a list of modules' names"):
        load_folder(tmp_path / "model")


def test_it_is_not_trained(small_folder):
    with pytest.raises(ValueError, match="int8, which cannot be trained"):
        continue_from(f"pretrained_folder: {small_folder}")
    with pytest.raises(ValueError, match="without gradients; got device=cpu, freeze"):
        AudioLanguageModel.from_hparams(
            source=small_folder, freeze_params=False, int8=True
        )


def test_no_audio_encoder_starts_from_it(small_folder, tiny_folder):
    audio_encoder = load_folder(tiny_folder)["audio_encoder"]
    load_clap(audio_encoder, str(tiny_folder))
    before = copy.deepcopy(audio_encoder.state_dict())
    with pytest.raises(ValueError, match=r"weights in int8, which cannot be trained"):
        load_clap(audio_encoder, str(small_folder))
    after = audio_encoder.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_command_line_rounds_weights(tiny_folder, tmp_path, capsys):
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    words = ["ask", str(tiny_folder), PROMPTS[0], str(tmp_path / "a.wav"), "--int8"]
    loaded = []
    load = AudioLanguageModel.from_hparams
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            AudioLanguageModel,
            "from_hparams",
            lambda **given: loaded.append(load(**given)) or loaded[-1],
        )
        assert main(words) == 0
    assert is_int8(loaded[0].mods)
    answer = loaded[0].generate_file(tmp_path / "a.wav", PROMPTS[0])
    assert capsys.readouterr().out.split("\t")[1].strip() == " ".join(answer.split())


def test_the_benchmark_counts_all_files_of_a_folder(
    root, tiny_folder, small_folder, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(root / "recipes" / "benchmark")
    int8 = importlib.import_module("int8")
    int8.print_sizes_of(str(tiny_folder), trust=False)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    found = {
        name.strip("| "): (float(size), float(share[:-2])) for name, size, share in rows
    }
    whole = {
        name: sum(p.stat().st_size for p in folder.iterdir())
        for name, folder in (("float32", tiny_folder), ("int8", small_folder))
    }
    for name, size in whole.items():
        assert found[name][0] == pytest.approx(size / 1e6, abs=0.006)
    n_float = sum(p.stat().st_size for p in tiny_folder.glob("*.safetensors"))
    # Of float16, the files of weights have half the bytes, and the others all.
    half = whole["float32"] - n_float / 2
    assert found["int8"][1] == pytest.approx(whole["int8"] / half, abs=0.02)
