"""A YAML over the YAML that it includes: whose keys count, and what they build."""

import pytest
from hyperpyyaml import load_hyperpyyaml

from pengi_plugin.training.hparams import read_hparams

SHARED = """
seed: 1
lr: 0.5
name: !PLACEHOLDER
folder: !ref results/<name>
loader: {size: !ref <size>, shuffle: True}
size: 2
counter: !new:collections.Counter
    a: !ref <size>
modules:
    counter: !ref <counter>
optimizer: !name:torch.optim.Adam
    lr: !ref <lr>
    eps: 0.1
"""
MINE = """
include: shared.yaml
name: mine
size: 3
part: !include:part.yaml
head: !new:collections.Counter
    b: !ref <lr>
modules:
    head: !ref <head>
loader: {shuffle: False}
optimizer: !name:torch.optim.SGD
    lr: !ref <lr>
"""


@pytest.fixture
def path(tmp_path):
    """The file ``mine.yaml``, beside what it includes."""
    (tmp_path / "shared.yaml").write_text(SHARED)
    (tmp_path / "part.yaml").write_text("width: 7\n")
    (tmp_path / "mine.yaml").write_text(MINE)
    return tmp_path / "mine.yaml"


def load(path, overrides=""):
    return load_hyperpyyaml(read_hparams(path), overrides)


def test_keys_take_the_place_of_included_ones_that_refer_to_them(path):
    hparams = load(path)
    assert (hparams["seed"], hparams["folder"]) == (1, "results/mine")
    assert hparams["counter"] == {"a": 3}
    assert hparams["loader"] == {"size": 3, "shuffle": False}
    assert hparams["part"] == {"width": 7}
    assert "include" not in hparams


def test_the_command_line_reaches_included_keys_and_comes_last(path):
    hparams = load(path, "lr: 0.25\nsize: 5\nname: other")
    assert hparams["folder"] == "results/other"
    assert hparams["counter"] == {"a": 5}
    assert hparams["head"] == {"b": 0.25}
    assert hparams["optimizer"].keywords == {"lr": 0.25}
    with pytest.raises(KeyError, match="Override 'sise' not found"):
        load(path, "sise: 5")


def test_untagged_mappings_are_added_to_and_tagged_ones_replaced(path):
    hparams = load(path)
    assert hparams["modules"].keys() == {"counter", "head"}
    assert hparams["optimizer"].func.__name__ == "SGD"
    assert hparams["optimizer"].keywords == {"lr": 0.5}


def test_an_object_is_built_once_whichever_file_names_it(path):
    hparams = load(path)
    assert hparams["modules"]["counter"] is hparams["counter"]
    assert hparams["modules"]["head"] is hparams["head"]


def test_an_included_file_may_include_another(path):
    third = path.with_name("third.yaml")
    third.write_text("include: mine.yaml\nsize: 9\nlr: 0.125\n")
    hparams = load(third)
    assert hparams["counter"] == {"a": 9}
    assert hparams["optimizer"].keywords == {"lr": 0.125}
    assert hparams["folder"] == "results/mine"


def test_a_file_that_is_not_there_and_one_without_keys_are_named(path):
    path.with_name("shared.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"no YAML .*shared\.yaml"):
        read_hparams(path)
    path.write_text("- a list\n")
    with pytest.raises(ValueError, match=r"mine\.yaml must be keys and values"):
        read_hparams(path)


def test_yaml_without_include_is_read_as_hyperpyyaml_reads_it(path):
    shared = path.with_name("shared.yaml")
    with open(shared) as file:
        expected = load_hyperpyyaml(file, "name: x")
    found = load(shared, "name: x")
    for hparams in (expected, found):
        hparams["optimizer"] = hparams["optimizer"].keywords
    assert found == expected
