"""500 damaged files: each is read, or refused by an error that names it.

Damage is drawn with a random seed. While a case runs, processes and connections are
counted by an audit hook of the interpreter, and a timer ends what hangs.
"""

import json
import random
import re
import shutil
import signal
import sys
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml

from pengi_plugin.conversion.convert import convert
from pengi_plugin.data.audio import read_clip, read_recording
from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.training.checkpoints import WholeCheckpointer
from pengi_plugin.training.export import load_checkpoint

pytestmark = pytest.mark.slow

#: Seconds of processor time that one case may take; the slowest takes a few.
LIMIT = 20

#: What the user is told: other errors are faults of ours.
NAMED = (OSError, ValueError, KeyError)

#: Events of the interpreter that no file may cause.
FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork")
FORBIDDEN += ("socket.connect", "pty.spawn")

#: Lines that are put into YAMLs; one of them runs a program if it is ever built.
LINES = (
    "zz: !apply:os.system ['true']",
    "zz: !new:subprocess.Popen [['true']]",
    "zz: !ref <lm.model>",
    "zz: !ref <zz>",
    "zz: &a [*a]",
    "zz: !!python/name:os.system",
    "zz: !include:../../etc/passwd",
    "modules: {}",
    "pretrainer: 3",
    "modules: [1, 2]",
    "zz: {<<: 1}",
    "%YAML 1.1",
    "\tzz: 1",
)

watched = []


def _audit(event, arguments):
    if watched and event in FORBIDDEN:
        watched.append(event)


sys.addaudithook(_audit)


def damaged(draw: random.Random, content: bytes) -> bytes:
    """Return a file's content with one kind of damage."""
    content = bytearray(content)
    kind = draw.choice(["cut", "flip", "zero", "double", "empty", "insert", "head"])
    if kind == "empty" or not content:
        return b""
    at = draw.randrange(len(content))
    if kind == "cut":
        return bytes(content[:at])
    if kind == "head":  # a header's fields are in the first bytes
        at = draw.randrange(min(64, len(content)))
        content[at] = draw.randrange(256)
    if kind == "flip":
        for _ in range(draw.randrange(1, 30)):
            content[draw.randrange(len(content))] = draw.randrange(256)
    if kind == "zero":
        content[at : at + 200] = bytes(len(content[at : at + 200]))
    if kind == "double":
        content[at:at] = content[at : at + 500]
    if kind == "insert":
        content[at:at] = draw.randbytes(draw.randrange(1, 20))
    return bytes(content)


def damaged_yaml(draw: random.Random, text: str) -> str:
    """Return a YAML with a line or a value changed, or damaged as any file."""
    lines = text.splitlines()
    kind = draw.choice(["drop", "swap", "line", "value", "name", "bytes", "indent"])
    at = draw.randrange(len(lines))
    if kind == "bytes":
        return damaged(draw, text.encode()).decode("utf-8", "replace")
    if kind == "drop":
        del lines[at : at + draw.randrange(1, 6)]
    if kind == "swap":
        other = draw.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    if kind == "line":
        lines.insert(at, draw.choice(LINES))
    if kind == "indent":
        lines[at] = " " * draw.randrange(9) + lines[at].lstrip()
    if kind == "value":
        value = draw.choice(["-1", "null", "[]", "0", "1e9", "words", "{a: 1}", ".nan"])
        lines[at] = re.sub(r":(?= ).*", f": {value}", lines[at])
    if kind == "name":
        names = ["os.path.join", "torch.nn.Linear", "pengi_plugin.lobes.gone.Gone"]
        lines[at] = re.sub(r"(?<=new:)[\w.]+", draw.choice(names), lines[at])
    return "\n".join(lines) + "\n"


def _too_long(*_):
    raise TimeoutError("this case hangs")


def files_in(folder):
    """Return all files, but for the rows of manifests that were read."""
    return sorted(str(path) for path in folder.rglob("*") if path.suffix != ".arrow")


@pytest.fixture
def attempt(tmp_path, monkeypatch):
    """Return a function that runs a case and tells how it ended."""
    monkeypatch.chdir(tmp_path)
    ends = {"read": 0, "refused": 0}

    def run(case, function, name):
        before = files_in(tmp_path)
        old = signal.signal(signal.SIGPROF, _too_long)
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        watched[:] = ["on"]
        refusal = None
        try:
            function()
            ends["read"] += 1
        except NAMED as error:
            refusal = error
            ends["refused"] += 1
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            events, watched[:] = watched[1:], []
            signal.signal(signal.SIGPROF, old)
        assert not isinstance(refusal, TimeoutError), f"case {case} hangs"
        assert refusal is None or name in str(refusal), f"case {case}: {refusal}"
        assert events == [], f"case {case}"
        assert before == files_in(tmp_path), case

    run.ends = ends
    return run


def test_200_damaged_folders_are_read_or_refused_by_name(
    attempt, tiny_folder, tmp_path
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".md")
    good = {name: (folder / name).read_bytes() for name in names}
    run_opts = {"device": "cpu"}
    for case in range(200):
        draw = random.Random(case)
        name = "hyperparams.yaml" if case < 130 else draw.choice(names)
        if case < 130:
            text = damaged_yaml(draw, good[name].decode())
            (folder / name).write_text(text)
        else:
            (folder / name).write_bytes(damaged(draw, good[name]))
        attempt(
            case,
            lambda: AudioLanguageModel.from_hparams(folder, run_opts=run_opts),
            str(folder),
        )
        (folder / name).write_bytes(good[name])
    assert attempt.ends["refused"] > 80, attempt.ends
    assert attempt.ends["read"] > 5, attempt.ends


def test_100_damaged_checkpoints_are_read_or_refused_by_name(attempt, root, tmp_path):
    released = tmp_path / "released.pth"
    torch.save({"model": {f"module.w{n}": torch.randn(9) for n in range(9)}}, released)
    good = released.read_bytes()
    out, save = tmp_path / "out", tmp_path / "save"
    for case in range(50):
        released.write_bytes(damaged(random.Random(1000 + case), good))
        attempt(case, lambda: convert(released, out), "released.pth")
    assert attempt.ends == {"read": 0, "refused": 50}
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        pengi = load_hyperpyyaml(file)["pengi"]
    checkpointer = WholeCheckpointer(save, {"pengi": pengi})
    checkpoint = checkpointer.save_checkpoint(meta={"loss": 1.0})
    files = [checkpoint.paramfiles["pengi"], checkpoint.path / "CKPT.yaml"]
    for case in range(50):
        draw = random.Random(2000 + case)
        path = files[draw.random() < 0.3]
        good = path.read_bytes()
        path.write_bytes(damaged(draw, good))
        attempt(case, lambda: load_checkpoint({"pengi": pengi}, save), str(save))
        path.write_bytes(good)
    assert attempt.ends["refused"] > 70, attempt.ends


def test_80_damaged_manifests_are_read_or_refused_by_name(attempt, tmp_path):
    rows = {
        str(n): {"wav": f"{n}.wav", "duration": 1.5, "task": "captioning"}
        | {"caption": f"sound {n}"}
        for n in range(5)
    }
    as_csv = "ID,wav,duration,task,caption\n" + "".join(
        f"{n},{n}.wav,1.5,captioning,sound {n}\n" for n in range(5)
    )
    files = {"train.json": json.dumps(rows, indent=1), "train.csv": as_csv}
    for case in range(80):
        draw = random.Random(3000 + case)
        name = draw.choice(list(files))
        path = tmp_path / name
        path.write_bytes(damaged(draw, files[name].encode()))
        attempt(case, partial(read_manifest, path, "mine"), name)
        path.unlink()
    assert attempt.ends["refused"] > 30, attempt.ends


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_30_damaged_recordings_of_a_format_are_read_or_refused_by_name(
    suffix, attempt, tmp_path
):
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    good = path.read_bytes()
    for case in range(30):
        path.write_bytes(damaged(random.Random(4000 + case), good))

        def read():
            clip = read_clip(path, 8000, 4000)
            assert clip.shape == (4000,)
            assert clip.isfinite().all()
            read_recording(path, 8000)

        attempt(case, read, path.name)
    assert sum(attempt.ends.values()) == 30
    assert attempt.ends["refused"] > 2, attempt.ends
