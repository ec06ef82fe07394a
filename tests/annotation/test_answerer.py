"""The command with a model: killed and taken up again, refused, with workers."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pengi_plugin.__main__ import main
from pengi_plugin.annotation.output import read_part

PROMPTS = ("what is it?", "generate audio caption")


def words(model, source, output, *options, prompts=PROMPTS):
    device = ("--device", "cpu", "--part-size", "2")
    given = (model, source, output, "--prompts", *prompts, *device, *options)
    return ["annotate", *map(str, given)]


def all_rows(folder):
    """Return all rows of a folder, in order."""
    return [row for path in sorted(folder.glob("part-*")) for row in read_part(path)]


@pytest.fixture(scope="module")
def unbroken(tiny_folder, archive, tmp_path_factory):
    """Return the rows of an unbroken run, of which 3 are errors."""
    folder = tmp_path_factory.mktemp("unbroken") / "out"
    assert main(words(tiny_folder, archive, folder)) == 1
    return all_rows(folder)


def test_every_recording_of_a_folder_has_its_rows_once(unbroken, archive):
    files = [str(path) for path in sorted(archive.glob("*.wav"))]
    assert list(dict.fromkeys(row["path"] for row in unbroken)) == files
    keys = [(row["path"], row["start"], row["prompt"]) for row in unbroken]
    assert len(set(keys)) == len(keys)
    # Windows of 1 s: 0.3, 1.0, 2.4, 3.0 and 1.7 s have 1, 1, 3, 3 and 2.
    n_window = 3 * (1 + 1 + 3 + 3 + 2) + 2  # and 2 good ones of the damaged file
    assert len(keys) == len(PROMPTS) * n_window + 3


@pytest.mark.slow  # without a model, test_exactly_once.py kills the same engine
@pytest.mark.parametrize(
    ("form", "n_worker", "n_kill"),
    [("jsonl", 2, 1), *((f, n, 6) for f in ("jsonl", "parquet") for n in (1, 2))],
)
def test_after_kills_the_same_command_ends_with_the_rows_of_an_unbroken_run(
    tiny_folder, archive, tmp_path, unbroken, form, n_worker, n_kill
):
    folder = tmp_path / "out"
    command = words(
        tiny_folder, archive, folder, "--format", form, "--workers", n_worker
    )
    n_killed = 0
    for n in range(n_kill):
        before = len(list(folder.glob("part-*")))
        process = subprocess.Popen([sys.executable, "-m", "pengi_plugin", *command])
        while process.poll() is None:
            parts = [*folder.glob("part-*"), *folder.glob(".part-*")]
            if len(parts) > before + n % 2:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        process.wait()
        n_killed += process.returncode == -signal.SIGKILL
        if process.returncode >= 0:  # it had ended
            assert all_rows(folder) == unbroken
            shutil.rmtree(folder)
    assert n_killed > 0
    assert main(command) == 1
    assert all_rows(folder) == unbroken
    assert not list(folder.glob(".*unfinished"))


def test_other_settings_and_weights_are_refused_and_named(
    tiny_folder, archive, tmp_path, capsys
):
    model, out, listing = (tmp_path / name for name in ("model", "out", "list.txt"))
    shutil.copytree(tiny_folder, model)
    files = [str(path) for path in sorted(archive.glob("*.wav"))][:3]
    listing.write_text("\n".join(files))
    command = words(model, listing, out)
    assert main(command) == 0
    before = all_rows(out)
    assert main(words(model, listing, out, prompts=PROMPTS[:1])) == 2
    assert "prompts: ['what is it?', 'generate audio" in capsys.readouterr().err
    for options, named in (
        (("--beam-size", 2), "search: {} then, {'beam_size': 2} now"),
        (("--windows", "first"), "windows: 'all' then, 'first' now"),
        (("--precision", "bf16"), "precision: 'fp32' then, 'bf16' now"),
        (("--int8",), "int8: False then, True now"),
    ):
        assert main([*command, *map(str, options)]) == 2
        assert named in capsys.readouterr().err
    (weights, *_) = sorted(model.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert main(command) == 2
    assert "answers of other settings (model: " in capsys.readouterr().err
    assert all_rows(out) == before


def test_answers_that_are_drawn_need_a_seed_and_are_drawn_again_after_a_kill(
    tiny_folder, archive, tmp_path, capsys
):
    files = [str(path) for path in sorted(archive.glob("*.wav"))][:3]
    (tmp_path / "list.txt").write_text("\n".join(files))
    out = tmp_path / "out"
    command = words(tiny_folder, tmp_path / "list.txt", out, "--temperature", 5)
    assert main(command) == 2
    assert "drawn at random need a seed" in capsys.readouterr().err
    assert not list(out.glob("part-*"))
    command += ["--seed", "3"]
    assert main(command) == 0
    rows = all_rows(out)
    assert len({row["answer"] for row in rows}) > 1
    (out / "part-000000.jsonl").unlink()  # as if the run was killed before its end
    assert main([*command, "--batch-size", "1"]) == 0
    assert [row["answer"] for row in all_rows(out)] == [row["answer"] for row in rows]
    assert main([*command[:-1], "4"]) == 2
    assert "{'seed': 3, 'temperature': 5.0} then" in capsys.readouterr().err


def test_a_sampler_of_the_models_own_needs_a_seed_too(
    tiny_folder, archive, tmp_path, capsys
):
    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    yaml = model / "hyperparams.yaml"
    text = yaml.read_text()
    beam = "pengi_plugin.decoders.beam.PrefixBeamSearcher"
    assert beam in text
    text = text.replace(beam, "pengi_plugin.decoders.sampling.PrefixSampler")
    yaml.write_text(re.sub(r"\n +beam_size: .*", "", text))
    command = words(model, archive / "00.wav", tmp_path / "out")
    command[2] = str(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text(str(archive / "00.wav"))
    assert main(command) == 2
    assert "drawn at random need a seed" in capsys.readouterr().err
    assert main([*command, "--seed", "1"]) == 0


def test_the_hub_is_asked_for_what_is_named_so_and_a_folder_may_be_trusted(
    tiny_folder, archive, tmp_path, capsys, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        "pengi_plugin.storage.locate.huggingface_hub.hf_hub_download",
        lambda *given: asked.append(given) or (_ for _ in ()).throw(OSError("no net")),
    )
    (tmp_path / "list.txt").write_text(str(archive / "00.wav"))
    rest = (tmp_path / "list.txt", tmp_path / "out")
    assert main(words("modles/pengi", *rest)) == 2
    assert "There is no folder modles/pengi" in capsys.readouterr().err
    assert asked == []
    assert main(words("hub:modles/pengi", *rest)) == 2
    assert asked == [("modles/pengi", "hyperparams.yaml")]
    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    with open(model / "hyperparams.yaml", "a") as file:
        file.write("own: !new:collections.OrderedDict\n")
    assert main(words(model, *rest)) == 2
    assert "collections.OrderedDict" in capsys.readouterr().err
    assert main(words(model, *rest, "--trust")) == 0


def test_recordings_that_could_not_be_read_are_answered_when_asked_again(
    tiny_folder, archive, tmp_path, unbroken
):
    good = [str(path) for path in sorted(archive.glob("*.wav"))][:3]
    late, listing, out = (tmp_path / name for name in ("late.wav", "list.txt", "out"))
    listing.write_text("\n".join([*good, str(late)]))
    late.write_bytes(bytes(os.path.getsize(good[0])))
    os.utime(late, (1, 1))
    command = words(tiny_folder, listing, out)
    assert main(command) == 1
    assert [row["path"] for row in all_rows(out) if row["error"]] == [str(late)]
    shutil.copy(good[0], late)
    os.utime(late, (1, 1))  # as if it had been read in the middle of a copy
    assert main(command) == 1
    assert main([*command, "--retry-errors"]) == 0
    answers = [row["answer"] for row in all_rows(out) if row["path"] == str(late)]
    assert answers == [row["answer"] for row in unbroken if row["path"] == good[0]]


def test_recordings_that_have_changed_are_answered_again_and_that_is_told(
    tiny_folder, archive, tmp_path, unbroken, caplog
):
    sources = sorted(archive.glob("*.wav"))[:3]
    folder, out = tmp_path / "sounds", tmp_path / "out"
    folder.mkdir()
    for number, path in enumerate(sources):
        shutil.copy(path, folder / f"{number}.wav")
    command = words(tiny_folder, folder, out)
    assert main(command) == 0
    untouched = (out / "part-000000.jsonl").stat().st_mtime_ns

    def answers():
        return {
            name: [row["answer"] for row in all_rows(out) if row["path"].endswith(name)]
            for name in ("0.wav", "1.wav", "2.wav")
        }

    first = answers()
    assert main(command) == 0
    assert answers() == first
    assert "have changed" not in caplog.text
    shutil.copy(sources[0], folder / "2.wav")  # another recording of the same name
    assert main(command) == 0
    assert "Recordings of 1 parts have changed since they were answered" in caplog.text
    assert answers() == first | {"2.wav": first["0.wav"]}
    assert first["2.wav"] != first["0.wav"]
    assert (out / "part-000000.jsonl").stat().st_mtime_ns == untouched


def test_a_wrong_search_in_a_worker_is_told_and_a_list_comes_on_standard_input(
    tiny_folder, archive, tmp_path, capsys, monkeypatch
):
    files = [str(path) for path in sorted(archive.glob("*.wav"))][:3]
    listed = "\n".join(files).encode()
    command = words(tiny_folder, "-", tmp_path / "out")
    for options, status in ((("--beam-size", "0", "--workers", "2"), 2), ((), 0)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed)))
        assert main([*command, *options]) == status
        told = "beam_size must be at least 1; got 0" in capsys.readouterr().err
        assert told == bool(options)
    rows = all_rows(tmp_path / "out")
    assert list(dict.fromkeys(row["path"] for row in rows)) == files
