"""Shared by all tests: no network, one thread, the released model's golden outputs."""

import functools
import importlib.util
import json
import logging
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # also in the processes that tests start

import numpy as np
import pytest
import torch
from speechbrain.utils import logger
from speechbrain.utils.logger import TqdmCompatibleStreamHandler

#: Level of the root logger before any run has set its own.
ROOT_LEVEL = logging.root.level
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _one_list_of_packages():
    """Let pip list the packages once: each run writes the list, and it takes long."""
    describe = functools.cache(logger.get_environment_description)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logger, "get_environment_description", describe)
        yield


@pytest.fixture(autouse=True)
def _no_log_of_an_earlier_run():
    """Take off what a run's log put on the root logger: its output may be closed.

    SpeechBrain's experiments write to ``sys.stdout`` as it was then, which in a test is
    a buffer of that test alone. pytest's own handlers stay.
    """
    yield
    for handler in [*logging.root.handlers]:
        if type(handler) in (TqdmCompatibleStreamHandler, logging.FileHandler):
            logging.root.removeHandler(handler)
            handler.close()
    logging.root.setLevel(ROOT_LEVEL)


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of recordings and vocabularies that are not in the project."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs data that are not in the project, in {folder}")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """Return the folder with the golden outputs of the released code."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def pseudo(reference):
    """Return the module that makes the weights and recordings of the golden outputs."""
    path = reference / "pseudo_checkpoint.py"
    spec = importlib.util.spec_from_file_location("pseudo_checkpoint", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def convert_golden(reference, pseudo, tmp_path_factory):
    """Return a function: golden name -> (golden outputs, converted folder)."""
    from pengi_plugin.conversion.convert import convert

    @functools.cache
    def once(name: str) -> tuple[dict, Path]:
        golden = json.loads((reference / f"{name}.json").read_text())
        folder = tmp_path_factory.mktemp(name)
        torch.save({"model": pseudo.state_dict(golden)}, folder / "released.pth")
        tokenizers = reference / "tokenizers"
        convert(
            folder / "released.pth",
            folder / "model",
            lm_tokenizer=tokenizers / "gpt2",
            text_tokenizer=tokenizers / "clip",
        )
        (folder / "released.pth").unlink()
        golden["npz"] = dict(np.load(reference / f"{name}.npz"))
        return golden, folder / "model"

    return once


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """Return the folder of a tiny model with random weights, as export writes it."""
    from hyperpyyaml import load_hyperpyyaml, resolve_references
    from ruamel.yaml import YAML

    from pengi_plugin.pretrained.write import write_model

    torch.manual_seed(0)
    path = ROOT / "hparams" / "model" / "tiny.yaml"
    with open(path) as file:
        section = YAML().load(resolve_references(file))
    with open(path) as file:
        hparams = load_hyperpyyaml(file)
    folder = tmp_path_factory.mktemp("tiny")
    write_model(folder, section, hparams)
    return folder
