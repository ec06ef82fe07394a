"""Parts of a model in, the same with fewer activations kept for backward out.

The layers of a checkpointed part keep their inputs alone, and compute all other
activations again in backward: up to a third more operations, a fraction of the memory
(Chen, Xu, Zhang, Guestrin: *Training Deep Nets with Sublinear Memory Cost*, 2016).
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_parts(model: nn.Module, names: Sequence[str]) -> None:
    """Let the layers of parts compute their activations again for their gradients.

    Gradients stay the same, dropout included.

    Arguments
    ---------
    model : torch.nn.Module
        Pengi or CLAP, changed in place.
    names : list of str
        Of its parts, such as ``audio_encoder`` and ``lm``.

    Raises
    ------
    ValueError
        If the model has no such part, or nothing in it can be computed again.

    Example
    -------
    >>> from pengi_plugin.lobes.mapping import SequencePrefixMapper
    >>> model = nn.Module()
    >>> model.mapper = SequencePrefixMapper(d_model=4, n_prefix=2, n_head=1)
    >>> checkpoint_parts(model, ["mapper"])
    >>> model.mapper(torch.randn(1, 3, 4)).sum().backward()
    """
    parts = dict(model.named_children())
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ValueError(
            "gradient_checkpointing must be a list of parts, such as "
            f"[audio_encoder, lm]; got {names!r}."
        )
    for name in names:
        if name not in parts:
            raise ValueError(
                f"gradient_checkpointing: the model has no part {name!r}; its parts "
                f"are {', '.join(parts)}."
            )
        if getattr(parts[name], "is_frozen", False):
            raise ValueError(
                f"gradient_checkpointing: {name} is frozen and runs without gradients, "
                "so that it keeps nothing for them. Leave it out."
            )
        layers = list(layers_of(parts[name]))
        if not layers:
            raise ValueError(
                f"gradient_checkpointing: {name} has no list of layers that can be "
                "computed twice; one with batch norm cannot, as each batch would count "
                "twice in its running statistics. Leave it out; a smaller batch_size "
                "and a larger grad_accumulation_factor take less memory, too."
            )
        for layer in layers:
            layer.forward = partial(recomputed, layer.forward)


def layers_of(part: nn.Module) -> Iterator[nn.Module]:
    """Yield the members of a part's innermost lists of layers.

    Those of one operation are left out, as nothing is saved there, and those whose
    buffers change when they compute.
    """
    for layers in part.modules():
        if isinstance(layers, nn.ModuleList):
            for layer in layers:
                inside = list(layer.modules())[1:]
                is_inner = not any(isinstance(m, nn.ModuleList) for m in inside)
                if inside and is_inner and not counts_batches(layer):
                    yield layer


def counts_batches(layer: nn.Module) -> bool:
    """Tell whether a layer has batch norm, whose statistics each batch changes."""
    return any(name.endswith("running_mean") for name, _ in layer.named_buffers())


def recomputed(forward, *arguments, **options):
    """Call a layer's ``forward``; keep its inputs alone where gradients are due."""
    if not torch.is_grad_enabled():
        return forward(*arguments, **options)
    return checkpoint(forward, *arguments, use_reentrant=False, **options)
