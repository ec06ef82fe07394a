"""A model, recordings and prompts in; a row per recording, window and prompt out."""

import numpy as np
import pytest
import soundfile
import torch

from pengi_plugin.annotation.inputs import listed, of_manifest
from pengi_plugin.annotation.output import COLUMNS
from pengi_plugin.annotation.rows import answer_rows
from pengi_plugin.inference import AudioLanguageModel

RATE = 8000
PROMPTS = ("what is it?", "generate audio caption")


@pytest.fixture(scope="module")
def model(tiny_folder):
    return AudioLanguageModel.from_hparams(tiny_folder, run_opts={"device": "cpu"})


def good_files(archive):
    return [path for path in sorted(archive.glob("*.wav")) if len(path.stem) == 2]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_window_has_the_answer_that_generate_file_gives(
    model, archive, batch_size
):
    files = good_files(archive)
    rows = list(answer_rows(model, [*map(str, files)], PROMPTS, batch_size=batch_size))
    assert all(tuple(row) == COLUMNS for row in rows)
    assert all(row["error"] is None for row in rows)
    expected = []
    for file in files:
        windows = [model.generate_file(file, p, window="all") for p in PROMPTS]
        for several in zip(*windows, strict=True):
            for prompt, (start, end, answer) in zip(PROMPTS, several):
                times = pytest.approx(start, abs=6e-4), pytest.approx(end, abs=6e-4)
                expected.append((str(file), *times, prompt, answer))
    keys = ("path", "start", "end", "prompt", "answer")
    assert [tuple(row[key] for key in keys) for row in rows] == expected
    assert len({row["answer"] for row in rows}) > 1


def test_the_first_window_has_the_answer_of_the_plain_call(model, archive):
    files = [*map(str, good_files(archive))]
    rows = list(answer_rows(model, files, PROMPTS[:1], windows="first"))
    answers = model.generate_files(files, PROMPTS[0])
    assert [(row["path"], row["answer"]) for row in rows] == [*zip(files, answers)]
    seconds = [soundfile.info(file).duration for file in files]
    ends = [min(length, model.hparams.clip_seconds) for length in seconds]
    assert [row["end"] for row in rows] == pytest.approx(ends, abs=2e-3)


def test_a_score_is_the_average_log_probability_of_the_answers_tokens(model, archive):
    """Computed from the logits of the tokens that greedy search chose."""
    file = good_files(archive)[2]
    search = {"beam_size": 1, "max_new_tokens": 4}
    first, *_ = answer_rows(model, [str(file)], PROMPTS[:1], search=search)
    prefix = model.encode_batch(
        model.load_clip(file)[None], torch.ones(1), [PROMPTS[0]]
    )
    _, (tokens,) = model.generate_after(prefix, **search)
    scored = tokens if len(tokens) == 4 else [*tokens, model.end_ids[0]]
    lm, total, state = model.mods.pengi.lm, 0.0, None
    for n, token in enumerate(scored):
        if state is None:
            logits, state = lm.prefill(prefix)
        else:
            logits = lm.step(torch.tensor([scored[n - 1]]), state)
        total += logits[0].log_softmax(-1)[token].item()
    assert first["score"] == pytest.approx(total / len(scored), abs=1e-5)
    assert first["score"] < 0


def test_what_cannot_be_read_is_a_row_with_an_error_and_stops_nothing(model, archive):
    files = [*map(str, sorted(archive.glob("*.wav"))), str(archive / "gone.wav")]
    rows = list(answer_rows(model, files, PROMPTS, batch_size=3))
    assert list(dict.fromkeys(row["path"] for row in rows)) == files
    errors = {row["path"]: row for row in rows if row["error"] is not None}
    names = ("03a.wav", "09a.wav", "13a.wav", "gone.wav")
    assert sorted(errors) == [str(archive / name) for name in names]
    assert "There is no file" in errors[files[-1]]["error"]
    damaged = errors[str(archive / "13a.wav")]
    assert "NaN or infinite" in damaged["error"]
    assert (damaged["start"], damaged["end"], damaged["answer"]) == (2.0, None, None)
    good = [row for row in rows if row["path"] == damaged["path"]][:-1]
    assert [row["start"] for row in good] == [0.0, 0.0, 1.0, 1.0]
    without = answer_rows(model, [*map(str, good_files(archive))], PROMPTS)
    bad = set(errors)
    assert [row["answer"] for row in rows if row["path"] not in bad] == [
        row["answer"] for row in without
    ]


def test_one_batch_of_windows_is_in_memory_at_a_time(model, tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(
        path, 0.1 * np.random.default_rng(0).standard_normal(40 * RATE), RATE
    )
    n_read, largest = 0, 0
    read = "pengi_plugin.data.audio.Recording.read"
    original = __import__("pengi_plugin.data.audio").data.audio.Recording.read

    def count(self, start=0, n_sample=None):
        nonlocal n_read, largest
        wav = original(self, start, n_sample)
        n_read += 1
        largest = max(largest, len(wav))
        return wav

    monkeypatch.setattr(read, count)
    rows = answer_rows(model, [str(path)], PROMPTS[:1], batch_size=4)
    next(rows)
    assert (n_read, largest) == (4, RATE)
    assert len(list(rows)) == 39


def test_a_list_may_repeat_itself_and_a_manifest_names_a_file_in_several_rows(tmp_path):
    assert listed(["b \n", "\n", "a\r\n", "b \n"]) == ["b ", "a"]
    (tmp_path / "m.csv").write_text("ID,wav\n1,x.wav\n2,{data_root}/y.wav\n3,x.wav\n")
    assert of_manifest(tmp_path / "m.csv") == [
        str(tmp_path / "x.wav"),
        str(tmp_path / "y.wav"),
    ]
    (tmp_path / "m.json").write_text('{"1": {"caption": "a dog"}}')
    with pytest.raises(ValueError, match=r"Row '1' of .*m\.json has the wav None"):
        of_manifest(tmp_path / "m.json")
