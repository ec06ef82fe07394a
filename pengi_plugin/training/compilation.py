"""A model in, the same with ``torch.compile`` of its parts of fixed shapes out."""

from collections.abc import Sequence

import torch
from torch import nn

from pengi_plugin.lobes.features import MelBatchNorm
from pengi_plugin.training.processes import count_processes

#: Parts that see as many clips of one length in every batch of a training. Prompts
#: and answers differ in number and length: what reads them would be compiled again
#: and again, which takes longer than the training of a small model.
FIXED_SHAPES = ("audio_encoder", "audio_projection", "audio_mapper")


def compile_parts(
    model: nn.Module, checkpointed: Sequence[str] = (), **options
) -> list[str]:
    """Compile the parts of fixed shapes, in place.

    Names of weights stay as they are. The features of an audio encoder, a Fourier
    transform, are left out.

    Arguments
    ---------
    model : torch.nn.Module
        Pengi or CLAP.
    checkpointed : list of str
        Parts with gradient checkpointing.
    **options : dict
        Of ``torch.compile``.

    Returns
    -------
    names : list of str
        The compiled parts.

    Raises
    ------
    ValueError
        If a part is to be compiled and checkpointed.

    Example
    -------
    >>> model = nn.ModuleDict({"audio_projection": nn.Linear(2, 3)})
    >>> compile_parts(model)
    ['audio_projection']
    """
    both = sorted({*FIXED_SHAPES} & {*checkpointed})
    if both:
        raise ValueError(
            f"compile: {', '.join(both)} would be compiled and have "
            "gradient_checkpointing, which was not tried together. Give one of them; "
            "gradient_checkpointing: [lm] goes with compile."
        )
    parts = dict(model.named_children())
    names = [name for name in FIXED_SHAPES if name in parts]
    for name in names:
        part = getattr(parts[name], "encoder", parts[name])
        for module in part.modules():
            if isinstance(module, MelBatchNorm) and count_processes() > 1:
                # Its statistics cross processes, which is not to be traced.
                module.forward = torch.compiler.disable(module.forward)
        part.compile(**options)
    return names
