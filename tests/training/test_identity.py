import json

import pytest
from hyperpyyaml import resolve_references
from ruamel.yaml import YAML

from pengi_plugin.training import identity
from pengi_plugin.training.hparams import read_hparams
from pengi_plugin.training.identity import flat_settings


def check_same_run(folder, settings):
    """Check the settings of a run that has a checkpoint."""
    identity.check_same_run(folder, "settings", settings)
    (folder / "CKPT+first").mkdir(exist_ok=True)


def settings_of(root, overrides=""):
    text = read_hparams(root / "hparams" / "pengi.yaml")
    return flat_settings(YAML().load(resolve_references(text, overrides)))


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("lr: 0.5", "lr"),
        ("n_train: 7", "n_train"),
        ("model: !include:model/tiny.yaml", "model.audio_encoder.encoder.depths.0"),
        ("esc50_folder: somewhere", "esc50_folder"),
        ("batch_size: 7", "batch_size"),
    ],
)
def test_what_makes_another_run_is_refused_by_name(root, tmp_path, override, named):
    check_same_run(tmp_path, settings_of(root))
    with pytest.raises(ValueError, match=rf"{named}: "):
        check_same_run(tmp_path, settings_of(root, override))


@pytest.mark.parametrize(
    "override",
    ["number_of_epochs: 99", "num_workers: 3", "precision: fp32", "data_folder: other"],
)
def test_what_a_run_may_change_as_it_goes_on_is_not_compared(root, tmp_path, override):
    check_same_run(tmp_path, settings_of(root))
    check_same_run(tmp_path, settings_of(root, override))


def test_another_class_with_the_same_arguments_is_another_run(root, tmp_path):
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        text = file.read()
    mapping = "pengi_plugin.lobes.mapping."
    other = text.replace(mapping + "PrefixMapper", mapping + "MLPPrefixMapper")
    check_same_run(tmp_path, flat_settings(YAML().load(resolve_references(text))))
    with pytest.raises(ValueError, match=r"audio_mapper \(tag\): .*MLPPrefixMapper"):
        check_same_run(tmp_path, flat_settings(YAML().load(resolve_references(other))))


def test_a_setting_that_is_new_or_gone_is_named(tmp_path):
    check_same_run(tmp_path, {"a": 1})
    with pytest.raises(ValueError, match="a: 1 then, 'absent' now; b: 'absent' then"):
        check_same_run(tmp_path, {"b": 2})
    assert json.loads((tmp_path / "run.json").read_text()) == {"settings": {"a": 1}}


def test_a_run_that_has_no_checkpoint_yet_may_start_with_other_settings(tmp_path):
    identity.check_same_run(tmp_path, "settings", {"lr": 1})
    check_same_run(tmp_path, {"lr": 2})
    with pytest.raises(ValueError, match="lr: 2 then, 1 now"):
        check_same_run(tmp_path, {"lr": 1})


def test_parts_of_a_run_are_compared_alone(tmp_path):
    check_same_run(tmp_path, {"lr": 1})
    identity.check_same_run(tmp_path, "rows", {"train": 8})
    check_same_run(tmp_path, {"lr": 1})
    with pytest.raises(ValueError, match="train: 8 then, 9 now"):
        identity.check_same_run(tmp_path, "rows", {"train": 9})


def test_many_differences_are_counted(tmp_path):
    check_same_run(tmp_path, {})
    with pytest.raises(ValueError, match="12 more"):
        check_same_run(tmp_path, {str(n): n for n in range(20)})
