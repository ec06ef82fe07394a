"""A module's weights as a safetensors file: written whole, loaded strictly.

SpeechBrain's ``Pretrainer`` loads a module with ``strict=False``: a part that does
not fit would keep random weights without an error. Give ``load_part`` as its custom
hook for every part instead.
"""

import os

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from pengi_plugin.storage.atomic import new_file


def save_part(module: nn.Module, path: str | os.PathLike) -> None:
    """Write a module's weights to a safetensors file, tied weights once.

    Arguments
    ---------
    module : torch.nn.Module
        The part.
    path : str
        The file; what was there stays whole until the new one is complete.

    Example
    -------
    >>> save_part(nn.Linear(2, 3), getfixture("tmp_path") / "part.safetensors")
    >>> load_part(nn.Linear(2, 3), getfixture("tmp_path") / "part.safetensors")
    """
    with new_file(path) as unfinished:
        save_model(module, str(unfinished))


def load_part(module: nn.Module, path: str | os.PathLike) -> None:
    """Load a module's weights from a safetensors file, strictly.

    Arguments
    ---------
    module : torch.nn.Module
        The part; changed in place.
    path : str
        The file.

    Raises
    ------
    ValueError
        If a weight is missing, unexpected or of another shape; names it.
    """
    try:
        load_model(module, str(path), strict=True)
    except (RuntimeError, SafetensorError, KeyError) as error:
        raise ValueError(
            f"{path} does not hold the weights of this {type(module).__name__}: {error}"
        ) from error
