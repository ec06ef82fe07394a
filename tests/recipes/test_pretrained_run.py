"""A run that began with a model's folder, and that folder written anew."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from pengi_plugin.training.export import export_run


@pytest.fixture
def rewritten(main_of, make_arguments, tiny_folder, tmp_path):
    """Return a run's arguments and folder, whose pretrained folder has changed."""
    source = tmp_path / "source"
    shutil.copytree(tiny_folder, source)
    arguments = make_arguments(tmp_path / "run", pretrained_folder=source)
    index = arguments.index("--model")
    del arguments[index : index + 2]
    main_of("multitask")(arguments)
    weights = load_file(source / "lm.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, source / "lm.safetensors")
    return arguments, tmp_path / "run"


def test_neither_a_resume_nor_an_export_takes_the_other_model(
    main_of, rewritten, tmp_path
):
    arguments, folder = rewritten
    with pytest.raises(ValueError, match=r"pretrained_folder \(files\): "):
        main_of("multitask")(arguments)
    with pytest.raises(ValueError, match="holds another model now"):
        export_run(folder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
