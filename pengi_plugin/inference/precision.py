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

    Arguments, result and errors are those of ``choose_precision``, which decides on
    other devices than a CPU. On a CPU ``auto`` chooses ``fp16``, which rounds weights
    to 16 bits and sums in float32.
    """
    if device != "cpu":
        return choose_precision(asked, device)
    if asked == AUTO:
        chosen, reason = ("fp16", "has") if has_half() else ("fp32", "lacks")
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


def check_half() -> None:
    """Raise ValueError if this CPU has no kernels for weights of 16 bits."""
    if not has_half():
        raise ValueError(
            "precision fp16 needs PyTorch's kernels for weights of 16 bits, which are "
            "missing for this CPU (they need x86 with AVX2); take fp32."
        )
