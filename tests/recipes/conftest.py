"""The list of recipes, and a corpus of tones to train them on within seconds."""

import csv
import functools
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from ruamel.yaml import YAML

from pengi_plugin.training.hparams import read_hparams


def read_tables():
    """Return the lines of the tables of recipes, ``*.csv`` beside this file."""
    lines = []
    for path in sorted(Path(__file__).parent.glob("*.csv")):
        with path.open(newline="") as stream:
            lines += list(csv.DictReader(stream))
    return lines


def recipes_of_tables():
    """Return the folder of each recipe in the tables, and its YAML of shortest name.

    A new recipe is a line of a table: the tests of test_recipes.py run it on tones.
    """
    found = {}
    for line in read_tables():
        name = Path(line["Script_file"]).parent.name
        found.setdefault(name, []).append(Path(line["Hparam_file"]).name)
    return [(name, min(found[name], key=len)) for name in sorted(found)]


#: Every recipe that trains on manifests: its folder and its YAML.
RECIPES = [
    *recipes_of_tables(),
    pytest.param(("sound_events", "sound_events_esc50.yaml"), marks=pytest.mark.slow),
    pytest.param(("comparison", "pengi.yaml"), marks=pytest.mark.slow),
]

#: Options of a YAML's runs on tones, where they are others than the main job's.
OPTIONS = {
    "clap.yaml": {"model": "!include:model/clap_tiny.yaml", "pairs_per_clip": 1},
}

#: Recipes that read no manifests; their tests are their own.
OTHER_RECIPES = {"language_model"}


@functools.cache
def read_once(path):
    """Return the tree of a training's YAML, which is only looked at."""
    return YAML().load(read_hparams(path))


def is_placeholder(value):
    """Tell whether a value of a YAML is to be given on the command line."""
    return getattr(value, "tag", None) is not None and value.tag.value == "!PLACEHOLDER"


def recipe_main(root, name, script="train.py"):
    """Return the ``main`` of ``recipes/<name>/train.py``, or of another script."""
    return recipe_module(root, name, script).main


def recipe_module(root, name, script="train.py"):
    """Return ``recipes/<name>/train.py``, or another script, as a module."""
    path = root / "recipes" / name / script
    spec = importlib.util.spec_from_file_location(f"{name}_train", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=RECIPES, ids=lambda recipe: recipe[0])
def recipe(request):
    """Return the name and the YAML of each recipe in turn."""
    return request.param


@pytest.fixture(scope="session")
def listed_recipes():
    """Return the names of all recipes that are listed here."""
    listed = [getattr(recipe, "values", [recipe])[0] for recipe in RECIPES]
    return OTHER_RECIPES | {name for name, _ in listed}


@pytest.fixture
def main_of(root):
    """Return a function: name of a recipe -> its ``main``."""
    return lambda name: recipe_main(root, name)


@pytest.fixture(scope="session")
def main(root):
    """Return the ``main`` of the main job."""
    return recipe_main(root, "multitask")


@pytest.fixture(scope="session")
def finished(main, make_arguments, tmp_path_factory):
    """Return the command line, the folder and the table of a run that has learned."""
    folder = tmp_path_factory.mktemp("finished")
    arguments = make_arguments(folder, number_of_epochs=16, lr=0.02)
    return arguments, folder, main(arguments)


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """Return a prepared folder: high and low tones, a question and a caption each."""
    folder = tmp_path_factory.mktemp("tones")
    write_tones(folder)
    return folder


#: The tasks of the tones, if a recipe does not choose, and the fields of all others.
CAPTION_AND_QUESTION = ("captioning", "question_answering")
FIELDS = {
    "captioning": lambda height: {"caption": f"a {height} tone"},
    "question_answering": lambda height: {
        "question": "is it high or low?",
        "question_kind": "height",
        "answer": height,
    },
    "sound_events": lambda height: {"labels": [f"{height} tone"]},
    "acoustic_scene": lambda height: {"scene": height},
    "speech_emotion": lambda height: {"emotion": height},
    "speech_sentiment": lambda height: {"sentiment": height},
    "music_analysis": lambda height: {"attributes": [height, height, height]},
    "music_note": lambda height: {"instrument": height, "pitch": len(height)},
}


def write_tones(folder, tasks=CAPTION_AND_QUESTION):
    """Write tones with a row for each task, and their manifests."""
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
            for task in tasks:
                rows[f"{split}_{number}_{task}"] = {
                    **clip,
                    "task": task,
                    **FIELDS[task](height),
                }
        (folder / f"{split}.json").write_text(json.dumps(rows))


@pytest.fixture
def arguments(make_arguments, tmp_path):
    """Return a function: the command line of a recipe on tones, or on ``folder``."""

    def make(name="run", **options):
        return make_arguments(tmp_path / name, **options)

    return make


@pytest.fixture(scope="session")
def make_arguments(tones, root, tmp_path_factory):
    """Return what ``arguments`` returns, with the output folder as first argument."""

    def make(output_folder, yaml="pengi.yaml", folder=tones, **options):
        path = root / "hparams" / yaml
        tree = read_once(path)
        if folder is tones and tree["keep_tasks"]:
            folder = tmp_path_factory.mktemp("tones")
            write_tones(folder, tree["keep_tasks"])
        corpora = {corpus: {"source": None} for corpus in tree["corpora"] or {}}
        corpora["tones"] = {"manifest_folder": str(folder), "share": 1.0}
        placeholders = [key for key, value in tree.items() if is_placeholder(value)]
        options = {
            **dict.fromkeys(placeholders, "unused"),
            "output_folder": str(output_folder),
            "model": "!include:model/tiny.yaml",
            "corpora": json.dumps(corpora),
            "precision": "fp32",
            "number_of_epochs": 2,
            "batch_size": 4,
            "pairs_per_clip": 2,
            "n_warmup": 2,
            **OPTIONS.get(yaml, {}),
            **options,
        }
        flags = [part for key, value in options.items() for part in (f"--{key}", value)]
        return [str(path), *map(str, flags)]

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
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        )

    return run
