"""A corpus of tones, small enough to train on within seconds."""

import json
import math
import os
import subprocess
import sys

import pytest
import soundfile
import torch

#: Added to the corpora of a recipe's YAML.
CORPORA = (
    "{{general_midi: {{source: null}}, "
    "tones: {{manifest_folder: {folder}, share: 1.0}}}}"
)


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Return a prepared folder: high and low tones, a question and a caption each."""
    folder = tmp_path_factory.mktemp("tones")
    for split, n_clip in (("train", 24), ("valid", 8), ("test", 8)):
        rows = {}
        for number in range(n_clip):
            height = ("low", "high")[number % 2]
            hertz = (200 if height == "low" else 1500) + 10 * number
            time = torch.arange(8000) / 8000
            wave = 0.3 * torch.sin(2 * math.pi * hertz * time)
            path = folder / f"{split}_{number}.wav"
            soundfile.write(path, wave.numpy(), 8000)
            clip = {"wav": str(path), "duration": 1.0}
            rows[f"{split}_{number}_caption"] = {
                **clip,
                "task": "captioning",
                "caption": f"a {height} tone",
            }
            rows[f"{split}_{number}_question"] = {
                **clip,
                "task": "question_answering",
                "question": "is it high or low?",
                "question_kind": "height",
                "answer": height,
            }
        (folder / f"{split}.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def arguments(tones, tmp_path, root):
    """Return a function: the command line of the main job on tones."""

    def make(name="run", **options):
        options = {
            "output_folder": str(tmp_path / name),
            "model": "!include:model/tiny.yaml",
            "corpora": CORPORA.format(folder=tones),
            "precision": "fp32",
            "number_of_epochs": 2,
            "batch_size": 4,
            "pairs_per_clip": 2,
            "n_warmup": 2,
            **options,
        }
        flags = [part for key, value in options.items() for part in (f"--{key}", value)]
        return [str(root / "hparams" / "pengi.yaml"), *map(str, flags)]

    return make


@pytest.fixture
def run_script(root):
    """Return a function that runs the main job in processes of its own."""

    def run(arguments, n_process=1):
        script = str(root / "recipes" / "multitask" / "train.py")
        launch = [sys.executable]
        if n_process > 1:
            launch += ["-m", "torch.distributed.run", "--standalone"]
            launch += [f"--nproc_per_node={n_process}"]
            arguments = [*arguments, "--distributed_backend=gloo", "--device=cpu"]
        return subprocess.Popen(
            [*launch, script, *arguments],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return run
