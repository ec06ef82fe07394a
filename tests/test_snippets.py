"""Python and commands that the documentation shows run as they stand there."""

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pengi_plugin.__main__ import main as pengi

ROOT = Path(__file__).resolve().parent.parent
CARDS = ROOT / "pengi_plugin" / "assets" / "released"
PAGES = [ROOT / "README.md", CARDS / "model_card.md", CARDS / "exported_model_card.md"]


def blocks(text, language):
    """Return the blocks of a language in a text in Markdown."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def write_noise(path, seconds):
    noise = np.random.default_rng(len(path.stem)).standard_normal(int(16000 * seconds))
    soundfile.write(path, 0.1 * noise, 16000)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_of_inference_runs(
    page, tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    snippets = [b for b in blocks(text, "python") if "AudioLanguageModel" in b]
    assert snippets, f"{page.name} shows no inference"
    for snippet in snippets:
        for source in re.findall(r'source="([^"]+)"', snippet):
            Path(source).parent.mkdir(parents=True, exist_ok=True)
            Path(source).symlink_to(tiny_folder)
        for path in set(re.findall(r'"([^"]+\.wav)"', snippet)):
            write_noise(Path(path), 1)
        exec(compile(snippet, page.name, "exec"), {})
        for source in re.findall(r'source="([^"]+)"', snippet):
            Path(source).unlink()
    assert capsys.readouterr().out


@pytest.fixture
def own_clips():
    """Return the README's section on your own clips."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(r"\n### Your own clips[^\n]*\n(.*?)\n##", text, re.DOTALL)[1]


def test_the_manifest_and_the_command_for_your_own_clips_train_a_model(
    own_clips, tiny_folder, tmp_path, monkeypatch, capsys
):
    """Word for word; the model that the main job would have written is a tiny one."""
    monkeypatch.chdir(tmp_path)
    Path("hparams").symlink_to(ROOT / "hparams")
    (manifest,) = blocks(own_clips, "json")
    rows = json.loads(manifest)
    Path("my_clips").mkdir()
    for split in ("train", "valid", "test"):
        end = ".wav" if split == "train" else f"_{split}.wav"  # clips of its own
        Path("my_clips", f"{split}.json").write_text(manifest.replace(".wav", end))
        for row in rows.values():
            wav = row["wav"].replace(".wav", end).format(data_root="my_clips")
            write_noise(Path(wav), row["duration"])
    (commands,) = blocks(own_clips, "bash")
    train, ask = commands.replace("\\\n", " ").splitlines()

    words = shlex.split(train)
    assert words[:2] == ["python", "recipes/multitask/train.py"]
    source = Path(words[words.index("--pretrained_folder") + 1])
    source.parent.mkdir(parents=True)
    source.symlink_to(tiny_folder)
    table = runpy.run_path(ROOT / words[1])["main"](words[2:])
    assert {line["group"].split(",")[0] for line in table} == {
        "mine: captioning",
        "mine: question_answering",
    }
    log = Path("results/my_clips/train_log.txt").read_text()
    losses = [float(loss) for loss in re.findall(r"valid loss: ([\d.e+-]+)", log)]
    assert len(losses) == 20
    assert losses[-1] < losses[0]

    words = shlex.split(ask)
    capsys.readouterr()
    assert words[0] == "pengi"
    assert pengi(words[1:]) == 0
    # Above it stands the log, which the training in this process sent there.
    assert capsys.readouterr().out.splitlines()[-1].startswith("my_clips/rain.wav\t")
