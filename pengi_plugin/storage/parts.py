"""A module's weights as a safetensors file: written whole, loaded strictly.

SpeechBrain's ``Pretrainer`` loads a module with ``strict=False``: a part that does
not fit would keep random weights without an error. Give ``load_part`` as its custom
hook for every part instead.
"""

import os
from collections.abc import Callable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from pengi_plugin.storage.atomic import new_file


def save_part(
    module: nn.Module, path: str | os.PathLike, is_short: bool = False
) -> None:
    """Write a module's weights to a safetensors file, tied weights once.

    Arguments
    ---------
    module : torch.nn.Module
        The part.
    path : str
        The file; what was there stays whole until the new one is complete.
    is_short : bool
        Whether weights in float32 of which float16 holds every value are written in
        it: half the bytes, and nothing is lost.

    Example
    -------
    >>> save_part(nn.Linear(2, 3), getfixture("tmp_path") / "part.safetensors")
    >>> load_part(nn.Linear(2, 3), getfixture("tmp_path") / "part.safetensors")
    """
    with new_file(path) as unfinished:
        save_model(module, str(unfinished))
        if is_short:
            change_values(unfinished, shortest)


def change_values(path: str | os.PathLike, change: Callable[[Tensor], Tensor]) -> None:
    """Write a safetensors file anew with each tensor changed; tied ones stay tied."""
    with safe_open(path, "pt") as file:
        tied = file.metadata()
    save_file({k: change(v) for k, v in load_file(path).items()}, path, tied)


def shortest(value: Tensor) -> Tensor:
    """Return a tensor in float16 if that holds each of its values exactly.

    Example
    -------
    >>> [shortest(torch.tensor([x, 1.0])).dtype for x in (0.5, 1e6, 0.1)]
    [torch.float16, torch.float32, torch.float32]
    """
    short = value.half() if value.dtype == torch.float32 else value
    return short if torch.equal(short.to(value.dtype), value) else value


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
