"""A device in, the precision in which answers are written fastest on it out.

On a CPU a step of the search reads all weights for a few rows. float16 weights are half
the bytes, with sums in float32 (``lobes.products``); in bfloat16 PyTorch converts all
weights again at every step, however fast the processor multiplies in it.
"""

import logging

from pengi_plugin.lobes.products import has_half
from pengi_plugin.precision import AUTO, choose_precision

logger = logging.getLogger(__name__)


def answering_precision(asked: str, device: str) -> str:
    """Return the precision to answer in, and log why; warn of a slow one.

    Arguments
    ---------
    asked : str
        ``auto``, ``fp32``, ``fp16`` or ``bf16``. On a CPU ``fp16`` rounds weights to
        16 bits and sums in float32, and ``auto`` chooses it.
    device : str
        Such as ``cpu`` or ``cuda:1``.

    Returns
    -------
    precision : str
        ``fp32``, ``fp16`` or ``bf16``.

    Raises
    ------
    ValueError
        If ``asked`` is anything else, or the CPU lacks what it needs.
    """
    if device != "cpu":
        return choose_precision(asked, device)
    check_cpu(asked)
    if asked == AUTO:
        chosen = "fp16" if has_half() else "fp32"
        reason = "has" if has_half() else "lacks"
        logger.info(
            "precision: %s, chosen because this CPU's PyTorch %s kernels for weights "
            "of 16 bits.",
            *(chosen, reason),
        )
        return chosen
    if asked == "bf16":
        logger.warning(
            "precision: bf16 converts all weights of the language model at every token "
            "on a CPU, which can take three times as long as fp32; fp16 is faster."
        )
        return asked
    return choose_precision(asked, device)


def check_cpu(asked: str) -> None:
    """Raise ValueError if fp16 is asked for on a CPU that has no kernels for it."""
    if asked == "fp16" and not has_half():
        raise ValueError(
            "precision fp16 needs PyTorch's kernels for weights of 16 bits, which are "
            "missing for this CPU (they need x86 with AVX2); take fp32."
        )
