"""A model and its YAML in, an error before training if they would fail after it."""

import os
from pathlib import Path

from torch import nn

from pengi_plugin.pretrained.write import independent_tree
from pengi_plugin.training.export import read_run


def check_one_answer(searcher: nn.Module) -> None:
    """Raise ValueError if a searcher returns several answers to a prompt.

    Training prints one answer to each of some clips, and the test scores one.

    Example
    -------
    >>> searcher = nn.Module()
    >>> check_one_answer(searcher)
    >>> searcher.n_samples = 3
    >>> check_one_answer(searcher)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: Module returns several answers to each prompt (n_samples=3)...
    """
    several = {
        "n_samples": getattr(searcher, "n_samples", 1) != 1,
        "return_topk": getattr(searcher, "return_topk", False),
    }
    for name, is_set in several.items():
        if is_set:
            raise ValueError(
                f"{type(searcher).__name__} returns several answers to each prompt "
                f"({name}={getattr(searcher, name)}); training and its test take one. "
                "Set n_samples: 1 and return_topk: False in the model's YAML, and call "
                "ranked_file or sample_file of the trained model for several."
            )


def check_exportable(run_folder: str | os.PathLike, model: dict) -> None:
    """Raise ValueError if the trained model could not be exported.

    Arguments
    ---------
    run_folder : str
        Holds the run's resolved YAML.
    model : dict
        The constructed ``model`` section.

    Raises
    ------
    ValueError
        If a part is built from what would not be in the model's folder; names it.
    """
    section = read_run(Path(run_folder))["model"]
    section.pop("pretrainer", None)
    independent_tree(section, model)
