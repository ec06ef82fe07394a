"""The command line parses, calls and prints."""

import argparse
import csv
import importlib
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from pengi_plugin.__main__ import main
from pengi_plugin.commands.ask import windows
from pengi_plugin.commands.classify import read_labels
from pengi_plugin.commands.files import find_files, given_files
from pengi_plugin.commands.prepare import corpora
from pengi_plugin.commands.report import answer_rows, report
from pengi_plugin.inference import AudioLanguageModel, FileAnswer
from pengi_plugin.tasks import TASKS

RATE = 8000


@pytest.fixture(scope="module")
def model_folder(tiny_folder):
    return tiny_folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder with recordings, one of them deeper, and what is none."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "deep").mkdir()
    draw = np.random.default_rng(0)
    for name in ("b.wav", "a.wav", "deep/c.flac"):
        soundfile.write(folder / name, 0.1 * draw.standard_normal(RATE), RATE)
    (folder / "notes.txt").write_text("not audio")
    return folder


@pytest.fixture(scope="module")
def model(model_folder):
    return AudioLanguageModel.from_hparams(model_folder, run_opts={"device": "cpu"})


def run(capsys, *words):
    """Return the status, the lines on stdout and the text on stderr."""
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def line(file, *fields):
    return "\t".join([str(file), *(" ".join(str(field).split()) for field in fields)])


COMMANDS = {
    "ask": ("what is it?",),
    "describe": (),
    "similarity": ("--labels", "dog,rain,siren", "--method", "similarity"),
    "likelihood": ("--labels", "dog,rain,siren", "--method", "likelihood"),
}


@pytest.fixture(params=COMMANDS)
def command(request, model, model_folder):
    """Return the words before the files, and a function: file -> JSON's items."""
    name, words = request.param, COMMANDS[request.param]

    def expect(file):
        if name == "ask":
            return [{"file": str(file), "answer": model.generate_file(file, *words)}]
        if name == "describe":
            return [{"file": str(file), "answer": model.describe_file(file)}]
        ranking = model.classify_file(file, ["dog", "rain", "siren"], method=name)
        return [
            {"file": str(file), "label": label, "score": pytest.approx(score, abs=1e-5)}
            for label, score in ranking
        ]

    verb = name if name in ("ask", "describe") else "classify"
    return (verb, model_folder, *words), expect


def count_clips(monkeypatch):
    """Return a list that grows by the number of clips of each batch."""
    n_clips = []
    encode_batch = AudioLanguageModel.encode_batch

    def count(self, wavs, *rest, **options):
        n_clips.append(len(wavs))
        return encode_batch(self, wavs, *rest, **options)

    monkeypatch.setattr(AudioLanguageModel, "encode_batch", count)
    return n_clips


@pytest.mark.parametrize(
    ("options", "computed"),
    [([], "fp32"), (["--precision", "fp16"], "fp16"), (["--precision=auto"], "fp16")],
)
def test_the_precision_reaches_the_model(
    capsys, command, recordings, options, computed, monkeypatch
):
    words, _ = command
    loaded, load = [], AudioLanguageModel.from_hparams
    monkeypatch.setattr(
        AudioLanguageModel,
        "from_hparams",
        lambda **given: loaded.append(load(**given)) or loaded[-1],
    )
    file = recordings / "a.wav"
    status, _, _ = run(capsys, *words, "--json", *options, "--", file)
    assert status == 0
    assert [model.precision for model in loaded] == [computed]


def test_every_command_answers_in_batches_and_in_the_order_given(
    capsys, command, recordings, monkeypatch
):
    words, expect = command
    files = [recordings / name for name in ("deep/c.flac", "b.wav", "a.wav")]
    expected = [item for file in files for item in expect(file)]
    n_clips = count_clips(monkeypatch)
    for options, batches in ((("--batch-size", 2), [2, 1]), ((), [3])):
        n_clips.clear()
        status, lines, err = run(capsys, *words, "--json", *options, "--", *files)
        assert status == 0
        assert json.loads("\n".join(lines)) == expected
        assert n_clips == batches
        assert "3/3" in err


def test_no_command_is_stopped_by_files_that_cannot_be_read(
    capsys, command, recordings
):
    words, expect = command
    good = [recordings / name for name in ("b.wav", "a.wav", "deep/c.flac")]
    absent, text = recordings / "absent.wav", recordings / "notes.txt"
    files = [good[0], absent, good[1], text, good[2]]
    for batch_size in (1, 2, 8):
        status, lines, err = run(
            capsys, *words, "--json", "--batch-size", batch_size, "--", *files
        )
        items = json.loads("\n".join(lines))
        assert status == 1
        assert "5/5" in err
        ends = err.splitlines()[-2:]
        for file, message, end in (
            (absent, f"There is no file or folder {absent}", ends[0]),
            (text, "cannot be read as audio", ends[1]),
        ):
            (item,) = (item for item in items if item["file"] == str(file))
            assert message in item["error"]
            assert end.startswith(f"pengi {words[0]}: {file}: ")
            assert message in end
        order = dict.fromkeys(item["file"] for item in items)
        assert list(order) == [str(file) for file in files]
        found = [item for item in items if "error" not in item]
        assert found == [item for file in good for item in expect(file)]
        status, lines, _ = run(capsys, *words, "--batch-size", batch_size, "--", *files)
        assert status == 1
        assert [row.split("\t")[0] for row in lines] == [str(file) for file in good]


def test_a_batch_of_no_files_is_refused(capsys, command, recordings):
    words, _ = command
    file = recordings / "a.wav"
    status, _, err = run(capsys, *words, "--batch-size", 0, "--", file)
    assert status == 2
    assert "batch_size must be at least 1; got 0" in err


def test_ask_prints_an_answer_per_file_in_the_order_given(
    capsys, model, model_folder, recordings
):
    files = [recordings / name for name in ("deep/c.flac", "a.wav", "b.wav")]
    words = ("ask", model_folder, "what is it?", *files)
    status, lines, err = run(capsys, *words, "--device", "cpu", "--batch-size", 2)
    answers = model.generate_files(files, "what is it?")
    assert status == 0
    assert lines == [line(*pair) for pair in zip(files, answers)]
    assert "3/3" in err


def test_search_options_reach_the_search(capsys, model, model_folder, recordings):
    file = recordings / "a.wav"
    words = ("ask", model_folder, "what is it?", file)
    _, lines, _ = run(capsys, *words, "--beam-size", 1, "--max-new-tokens", 3)
    answer = model.generate_file(file, "what is it?", beam_size=1, max_new_tokens=3)
    assert lines == [line(file, answer)]
    _, lines, _ = run(capsys, *words, "--temperature", 9, "--top-k", 50, "--seed", 5)
    answer = model.generate_file(file, "what is it?", temperature=9.0, top_k=50, seed=5)
    assert lines == [line(file, answer)]


def test_answers_that_are_drawn_come_with_the_seed_that_draws_them_again(
    capsys, model_folder, recordings
):
    file = recordings / "a.wav"
    words = ("ask", model_folder, "what is it?", file, "--temperature=9")
    (_, first, err), (_, second, _) = run(capsys, *words), run(capsys, *words)
    assert first != second
    seed = re.search(r"drawn with --seed (\d+)", err)[1]
    assert run(capsys, *words, "--seed", seed)[1] == first


@pytest.mark.parametrize("all_windows", [(), ("--all-windows",)])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--beam-size", 5, "--temperature", 0.8), "beam_size=5, temperature=0.8 tog"),
        (("--beam-size", 0), "beam_size must be at least 1; got 0"),
        (("--max-new-tokens", 0), "max_new_tokens must be at least 1; got 0"),
    ],
)
def test_search_options_that_cannot_be_are_refused_before_a_file_is_read(
    capsys, model_folder, recordings, all_windows, options, message
):
    words = ("ask", model_folder, "what is it?", recordings, *all_windows)
    status, lines, err = run(capsys, *words, *options)
    assert status == 2
    assert lines == []
    end = err.splitlines()[-1]  # no progress, no report of each file
    assert len([text for text in err.splitlines() if "skipped" not in text]) == 1
    assert end.startswith("pengi ask: ")
    assert message in end


def test_paths_are_printed_exactly_as_given(
    capsys, model_folder, recordings, tmp_path, monkeypatch
):
    shutil.copytree(recordings, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    shutil.copy("a.wav", "a  song.wav")
    paths = ["./a.wav", "deep/../b.wav", "a  song.wav", f"{recordings}//a.wav"]
    _, lines, _ = run(capsys, "ask", model_folder, "who?", *paths)
    assert [text.split("\t")[0] for text in lines] == paths
    _, lines, _ = run(capsys, "ask", model_folder, "who?", *paths, "--json")
    assert [item["file"] for item in json.loads("\n".join(lines))] == paths


def test_a_bad_file_is_reported_at_the_end_and_the_others_are_answered(
    capsys, model, model_folder, recordings
):
    good, bad = recordings / "a.wav", recordings / "absent.wav"
    status, lines, err = run(
        capsys, "ask", model_folder, "who?", bad, recordings / "notes.txt", good
    )
    assert status == 1
    assert lines == [line(good, model.generate_file(good, "who?"))]
    end = err.splitlines()[-2:]
    assert f"{bad}: There is no file" in end[0]
    assert "notes.txt cannot be read as audio" in end[1]


def test_json_holds_answers_and_errors(capsys, model, model_folder, recordings):
    good, bad = recordings / "a.wav", recordings / "absent.wav"
    status, lines, _ = run(capsys, "ask", model_folder, "who?", good, bad, "--json")
    items = json.loads("\n".join(lines))
    assert status == 1
    assert items[0] == {"file": str(good), "answer": model.generate_file(good, "who?")}
    assert items[1]["file"] == str(bad)
    assert "There is no file" in items[1]["error"]


def test_every_window_is_answered_with_its_times(
    capsys, model, model_folder, tmp_path, monkeypatch
):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(1).standard_normal(3 * RATE) / 9, RATE)
    words = ("ask", model_folder, "who?", path, "--all-windows", "--batch-size", 2)
    n_clips = count_clips(monkeypatch)
    _, lines, _ = run(capsys, *words)
    assert n_clips == [2, 1]
    expected = model.generate_file(path, "who?", window="all")
    assert len(expected) == 3
    assert lines == [line(path, *window) for window in expected]


@pytest.fixture
def changing(tmp_path):
    """Return a recording of seven seconds, with two sounds by turns."""
    time = np.arange(RATE) / RATE
    sounds = [0.3 * np.sin(2 * np.pi * hertz * time) for hertz in (300, 2500)]
    soundfile.write(
        tmp_path / "turns.wav", np.concatenate([*sounds * 3, sounds[0]]), RATE
    )
    return tmp_path / "turns.wav"


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl", "srt", "vtt"])
def test_the_answers_of_a_batch_are_printed_before_the_next_is_heard(
    capsys, model_folder, changing, monkeypatch, form
):
    seen, generate = [], AudioLanguageModel.generate_batch

    def look(self, wavs, *rest, **options):
        seen.append(capsys.readouterr().out)
        return generate(self, wavs, *rest, **options)

    monkeypatch.setattr(AudioLanguageModel, "generate_batch", look)
    words = ("ask", model_folder, "who?", changing, "--all-windows", "--format", form)
    assert main([*map(str, words), "--batch-size", "2"]) == 0
    seen.append(capsys.readouterr().out)
    times = {"srt": "-->", "vtt": "-->"}.get(form, "turns.wav")
    assert [text.count(times) for text in seen] == [0, 2, 2, 2, 1]


def test_windows_overlap_where_that_is_asked_for(capsys, model, model_folder, changing):
    words = ("ask", model_folder, "who?", changing, "--all-windows", "--overlap")
    _, lines, _ = run(capsys, *words, 0.75)
    expected = model.generate_file(changing, "who?", window="all", overlap=0.75)
    assert [start for start, *_ in expected] == [n / 4 for n in range(25)]
    assert lines == [line(changing, *window) for window in expected]
    for wrong in (1.0, -0.5):
        status, lines, err = run(capsys, *words, wrong)
        assert (status, lines) == (2, [])
        assert f"less than the 1.0 s of a window; got {wrong}" in err


def test_a_summary_has_each_answer_once_with_its_times(
    capsys, model, model_folder, changing
):
    asked = {"max_new_tokens": 3}
    found = model.generate_file(changing, "who?", window="all", **asked)
    one, other = found[0][2], found[1][2]
    assert [answer for *_, answer in found] == [one, other] * 3 + [one]
    assert one != other
    words = ("ask", model_folder, "who?", changing, "--all-windows", "--summary")
    _, lines, _ = run(capsys, *words, "--max-new-tokens", 3)
    assert lines == [
        line(changing, 4, one, "0.0-1.0, 2.0-3.0, 4.0-5.0, 6.0-7.0"),
        line(changing, 3, other, "1.0-2.0, 3.0-4.0, 5.0-6.0"),
    ]
    _, lines, _ = run(capsys, *words, "--max-new-tokens", 3, "--format", "jsonl")
    summaries = model.summarize_file(changing, "who?", **asked)
    assert [json.loads(text) for text in lines] == [
        {
            "file": str(changing),
            "count": item.count,
            "answer": item.answer,
            "times": [list(span) for span in item.times],
        }
        for item in summaries
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--overlap", 0.5), "--overlap needs --all-windows"),
        (("--summary",), "--summary needs --all-windows"),
        (("--format", "srt"), "--format srt needs --all-windows"),
        (("--summary", "--all-windows", "--format", "vtt"), "--summary has no subt"),
    ],
)
def test_options_of_windows_are_refused_without_them(
    capsys, model_folder, recordings, options, message
):
    words = ("ask", model_folder, "who?", recordings / "a.wav", *options)
    status, lines, err = run(capsys, *words)
    assert (status, lines) == (2, [])
    assert message in err


def test_windows_before_a_fault_of_the_file_are_printed(capsys, model_folder, tmp_path):
    wav = 0.1 * np.ones(4 * RATE, dtype=np.float32)
    wav[int(2.5 * RATE)] = np.nan
    soundfile.write(tmp_path / "bad.wav", wav, RATE, "FLOAT")
    words = ("ask", model_folder, "who?", tmp_path / "bad.wav", "--all-windows")
    for form, n_line in (("tsv", 2), ("jsonl", 3), ("json", 3)):
        options = ("--format", form, "--batch-size", 1)
        status, lines, err = run(capsys, *words, *options)
        assert status == 1
        assert "bad.wav has samples that are NaN" in err
        found = json.loads("\n".join(lines)) if form == "json" else lines
        assert len(found) == n_line


def test_describe_joins_answers(capsys, model, model_folder, recordings):
    file = recordings / "a.wav"
    _, lines, _ = run(capsys, "describe", model_folder, file)
    assert lines == [line(file, model.describe_file(file))]


@pytest.mark.parametrize("method", ["similarity", "likelihood"])
def test_classify_names_the_best_label(capsys, model, model_folder, recordings, method):
    file, labels = recordings / "a.wav", ["dog", "rain", "siren"]
    words = ("classify", model_folder, "--labels", "dog, rain,siren", file)
    ranking = model.classify_file(file, labels, method=method)
    _, lines, _ = run(capsys, *words, "--method", method)
    assert [item.split("\t")[:2] for item in lines] == [[str(file), ranking[0][0]]]
    _, lines, _ = run(capsys, *words, "--method", method, "--json")
    items = json.loads("\n".join(lines))
    assert [item["label"] for item in items] == [label for label, _ in ranking]


def test_labels_with_commas_come_from_a_file(tmp_path):
    (tmp_path / "labels.txt").write_text("dog\n rain, heavy\n\n")
    assert read_labels(None, str(tmp_path / "labels.txt")) == ["dog", "rain, heavy"]


def test_a_list_of_labels_may_be_longer_than_the_name_of_a_file():
    labels = [f"label number {n}" for n in range(500)]
    assert read_labels(",".join(labels)) == labels


def test_one_label_or_a_mistyped_file_of_labels_is_refused(
    capsys, model_folder, recordings
):
    words = ("classify", model_folder, recordings / "a.wav")
    status, lines, err = run(capsys, *words, "--labels", "labels.txt")
    assert (status, lines) == (2, [])
    assert "at least two labels; got ['labels.txt']" in err
    status, lines, err = run(capsys, *words, "--labels-file", "lables.txt")
    assert (status, lines) == (2, [])
    assert "lables.txt" in err


def answered(*items):
    """Return answers about files of these names, as the model yields them."""
    return [FileAnswer(name, None, answer, error) for name, answer, error in items]


def printed(capsys, kind, names, answers, rows=answer_rows):
    """Return what is printed of answers in one format."""
    report(argparse.Namespace(command="ask", format=kind), names, answers, rows)
    return capsys.readouterr().out


def test_each_format_holds_the_same_answers(capsys):
    names = ["a\tb.wav", "c,d.wav"]
    answers = answered((names[0], "a\nb", None), (names[1], None, ValueError("bad")))
    assert printed(capsys, "tsv", names, answers) == "a\\tb.wav\ta b\n"
    (row,) = csv.reader(io.StringIO(printed(capsys, "csv", names, answers)))
    assert row == [names[0], "a\nb"]
    expected = [
        {"file": names[0], "answer": "a\nb"},
        {"file": names[1], "error": "bad"},
    ]
    lines = printed(capsys, "jsonl", names, answers).splitlines()
    assert list(map(json.loads, lines)) == expected
    assert json.loads(printed(capsys, "json", names, answers)) == expected


def test_windows_are_printed_as_subtitles(capsys):
    answers = answered(("a.wav", [(0.0, 2.5, "rain"), (2.5, 3661.25, "a\ndog")], None))
    expected = [
        *("1", "00:00:00,000 --> 00:00:02,500", "rain", ""),
        *("2", "00:00:02,500 --> 01:01:01,250", "a dog", ""),
    ]
    text = printed(capsys, "srt", ["a.wav"], answers, windows)
    assert text.splitlines() == expected
    text = printed(capsys, "vtt", ["a.wav"], answers, windows)
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nrain\n\n")


def test_an_answer_is_printed_before_the_next_file_is_read(capsys):
    seen = []

    def answers():
        for name in ("a.wav", "b.wav"):
            seen.append(capsys.readouterr().out)
            yield FileAnswer(name, None, "rain", None)

    printed(capsys, "jsonl", ["a.wav", "b.wav"], answers())
    assert seen == ["", '{"file": "a.wav", "answer": "rain"}\n']


def test_files_come_from_a_list_or_from_standard_input(tmp_path, monkeypatch):
    (tmp_path / "list").write_text("a b.wav\n\nc.wav\n")
    assert given_files(["x.wav"], str(tmp_path / "list")) == [
        *("x.wav", "a b.wav", "c.wav")
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("d.wav\n"))
    assert given_files([], "-") == ["d.wav"]
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="--files-from LIST"):
        given_files([], str(tmp_path / "empty"))


def test_a_list_takes_the_place_of_files(capsys, model_folder, recordings, tmp_path):
    files = [str(recordings / name) for name in ("b.wav", "a.wav")]
    (tmp_path / "list").write_text("\n".join(files))
    words = ("ask", model_folder, "who?")
    _, expected, _ = run(capsys, *words, *files)
    status, lines, _ = run(capsys, *words, "--files-from", tmp_path / "list")
    assert (status, lines) == (0, expected)
    with pytest.raises(SystemExit, match=r"^2$"):
        main([str(word) for word in words])
    assert "the following arguments are required: files" in capsys.readouterr().err


def test_a_folder_names_what_it_skips(capsys, tmp_path, monkeypatch):
    found = "pengi_plugin.data.ffmpeg.find_ffmpeg"
    monkeypatch.setattr(found, lambda: None)
    for name in ("a.wav", "b.m4a", "notes.txt"):
        (tmp_path / name).touch()
    assert find_files([tmp_path]) == [str(tmp_path / "a.wav")]
    err = capsys.readouterr().err
    assert "b.m4a is skipped: .m4a needs ffmpeg; install the program ffmpeg" in err
    assert "pip install 'pengi-plugin[m4a]'" in err
    assert ".au is skipped: notes.txt\n" in err
    monkeypatch.setattr(found, lambda: "ffmpeg")
    assert find_files([tmp_path]) == [str(tmp_path / n) for n in ("a.wav", "b.m4a")]
    assert "b.m4a" not in capsys.readouterr().err
    for n in range(12):
        (tmp_path / f"x{n:02}.txt").touch()
    find_files([tmp_path])
    assert "x07.txt, x08.txt, and 3 more\n" in capsys.readouterr().err


def test_a_closed_pipe_ends_the_command_quietly(tmp_path):
    program = (
        "import sys\n"
        "from pengi_plugin import __main__ as cli\n"
        "class Parser:\n"
        "    command = 'ask'\n"
        "    def parse_args(self, _):\n"
        "        return self\n"
        "    def run(self, _):\n"
        "        for n in range(100_000):\n"
        "            print('a line of text', flush=True)\n"
        "cli.make_parser = Parser\n"
        "sys.exit(cli.main([]))\n"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout.readline() == "a line of text\n"
    reader.stdout.close()
    assert reader.stderr.read() == ""
    assert reader.wait() == 141


def test_folders_and_patterns_stand_for_their_files(recordings, tmp_path):
    every = ["a.wav", "b.wav", "deep/c.flac"]
    assert find_files([recordings]) == [str(recordings / name) for name in every]
    pattern = f"{recordings}/*.wav"
    assert find_files([pattern]) == [str(recordings / name) for name in every[:2]]
    deep = f"{recordings}/**/*.flac"
    assert find_files([deep, "absent.wav"]) == [
        str(recordings / every[2]),
        "absent.wav",
    ]
    with pytest.raises(ValueError, match="holds no audio files"):
        find_files([tmp_path])


def test_a_model_that_is_not_there_is_named_and_the_hub_is_not_asked(
    capsys, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        "pengi_plugin.storage.locate.huggingface_hub.hf_hub_download",
        lambda *given: asked.append(given) or (_ for _ in ()).throw(OSError("no net")),
    )
    for name in (tmp_path / "absent", "modles/pengi"):
        status, lines, err = run(capsys, "ask", name, "who?", "a.wav")
        assert (status, lines, asked) == (2, [], [])
        assert f"pengi ask: There is no folder {name}" in err
        assert "hub:owner/name" in err
    status, _, err = run(capsys, "ask", "hub:modles/pengi", "who?", "a.wav")
    assert status == 2
    assert asked == [("modles/pengi", "hyperparams.yaml")]
    assert "modles/pengi" in err
    status, _, err = run(capsys, "ask", "hub:pengi", "who?", "a.wav")
    assert "Give hub:owner/name; got 'hub:pengi'" in err


def test_convert_and_export_report_what_is_wrong(capsys, tmp_path):
    status, _, err = run(capsys, "convert", tmp_path / "no.pth", tmp_path / "out")
    assert status == 2
    assert "no.pth is not a file" in err
    status, _, err = run(capsys, "export", tmp_path, tmp_path / "out")
    assert status == 2
    assert "holds no hyperparams.yaml" in err


def test_prepare_calls_the_function_of_the_corpus(capsys, tmp_path, monkeypatch):
    name = corpora()[0]
    module = importlib.import_module(f"pengi_plugin.corpora.{name}")
    calls = []
    monkeypatch.setattr(module, f"prepare_{name}", lambda *given: calls.append(given))
    status, _, _ = run(capsys, "prepare", name, tmp_path / "data", tmp_path / "out")
    assert status == 0
    assert calls == [(str(tmp_path / "data"), str(tmp_path / "out"))]
    assert "general_midi_words" not in corpora()  # a helper, not a corpus


@pytest.fixture
def birds(monkeypatch):
    """A corpus whose preparation has options; return the list of its calls."""
    calls = []

    def prepare_esc50(
        data_folder: str,
        manifest_folder: str,
        fold: int | None = None,
        songs: bool = True,
        parts: tuple[str, ...] = ("a",),
        seconds: float = 2.0,
    ):
        calls.append((fold, songs, parts, seconds))

    module = importlib.import_module("pengi_plugin.corpora.esc50")
    monkeypatch.setattr(module, "prepare_esc50", prepare_esc50)
    return calls


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ([], (None, True, ("a",), 2.0)),
        (["--fold", "3", "--seconds=1.5"], (3, True, ("a",), 1.5)),
        (["--songs", "False", "--parts", "b", "c"], (None, False, ["b", "c"], 2.0)),
    ],
)
def test_options_of_a_preparation_are_options_of_the_command(
    capsys, birds, options, call
):
    assert run(capsys, "prepare", "esc50", "data", "out", *options)[0] == 0
    assert birds == [call]


def test_a_wrong_option_of_a_preparation_is_refused(capsys, birds):
    for wrong, message in (
        (["--wings", "2"], "unrecognized arguments: --wings 2"),
        (["--songs", "some"], "give true or false; got 'some'"),
        (["--fold", "one"], "--fold: invalid int value: 'one'"),
    ):
        with pytest.raises(SystemExit, match=r"^2$"):
            main(["prepare", "esc50", "data", "out", *wrong])
        assert message in capsys.readouterr().err
    assert birds == []


def test_the_help_of_a_corpus_shows_its_options_and_what_it_is(capsys, birds):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["prepare", "esc50", "--help"])
    out = capsys.readouterr().out
    assert "--seconds SECONDS" in out
    assert "default: 2.0" in out
    assert "50 classes; the official folder in, manifests out" in out


def test_prepare_lists_the_corpora_in_columns(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["prepare", "--list"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == corpora()
    names = ["name", "tasks", "clips", "hours", "licence", "home", "in the paper"]
    assert re.split(" {2,}", head) == names
    (esc50,) = [line for line in lines if line.startswith("esc50 ")]
    assert re.split(" {2,}", esc50) == [
        "esc50",
        "sound_events, captioning",
        "train ?, valid ?, test 400",
        "2.8",
        "CC BY-NC 3.0; the classes of ESC-10 CC BY 3.0",
        "https://github.com/karolpiczak/ESC-50",
        "test",
    ]


@pytest.mark.parametrize("name", corpora())
def test_what_is_listed_of_a_corpus_is_of_that_corpus(name):
    corpus = importlib.import_module(f"pengi_plugin.corpora.{name}").CORPUS
    assert corpus.name == name
    assert set(corpus.tasks) <= set(TASKS)
    assert set(corpus.clips) <= {"train", "valid", "test"}
    assert corpus.use in ("train", "test", "train, test", "none")


def test_the_module_runs_as_a_command():
    words = [sys.executable, "-m", "pengi_plugin"]
    done = subprocess.run([*words, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for command in ("prepare", "convert", "export", "ask", "describe", "classify"):
        assert command in done.stdout
    done = subprocess.run([*words, "sing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice: 'sing'" in done.stderr


def test_the_help_of_all_commands_imports_nothing_that_takes_long():
    program = (
        "import sys\n"
        "from pengi_plugin.__main__ import make_parser\n"
        "make_parser().format_help()\n"
        "print({'numpy', 'pyarrow', 'scipy', 'torch'} & set(sys.modules))\n"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
