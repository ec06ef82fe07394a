"""A device in, the precision that it multiplies fastest in out.

bfloat16 is fast where the processor has instructions for it (AVX512_BF16 or AMX, a
GPU of compute capability 8 or more) and up to two hundred times slower than float32
where a library has to emulate it. What is right on every machine is measured.
"""

import logging
import time
from collections.abc import Callable
from functools import cache, partial

import torch

logger = logging.getLogger(__name__)

#: In a YAML: choose when the run starts.
AUTO = "auto"

#: Rows, width and columns of the product that is timed, about those of a mini-batch
#: in a layer of the embedded default: 0.13 GFLOP, a tenth of a second when emulated.
N_ROW, N_IN, N_OUT = 1024, 256, 256

#: Products in both are timed in turns for this long, in seconds, and at least this
#: often; the fastest of each counts, so that other work on the machine does not.
SECONDS, N_TURN = 0.1, 1

#: Training does more than products, so a small gain in these is none in the whole.
LEAST_GAIN = 1.25

#: GPUs of this major compute capability have bfloat16 units.
CUDA_CAPABILITY = 8


@cache
def bf16_speedup() -> float:
    """Return how many times as fast as in float32 this CPU multiplies in bfloat16.

    Example
    -------
    >>> bf16_speedup() > 0
    True
    """
    products = {dtype: _product(dtype) for dtype in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(products, float("inf"))
    n_thread = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for a busy core hide the difference
    end, turn = time.perf_counter() + SECONDS, 0
    while turn <= N_TURN or time.perf_counter() < end:
        for dtype, product in products.items():
            product()  # brings its operands into the cache
            start = time.perf_counter()
            product()
            best[dtype] = min(best[dtype], time.perf_counter() - start)
        turn += 1
    torch.set_num_threads(n_thread)
    return best[torch.float32] / best[torch.bfloat16]


def _product(dtype: torch.dtype) -> Callable:
    rows, weight = torch.ones(N_ROW, N_IN, dtype=dtype), torch.ones(N_IN, N_OUT)
    return partial(
        torch.mm, rows, weight.to(dtype), out=torch.empty(N_ROW, N_OUT, dtype=dtype)
    )


def fastest_precision(device: str = "cpu") -> tuple[str, str]:
    """Choose between bfloat16 and float32 for a device.

    Arguments
    ---------
    device : str
        Such as ``cpu`` or ``cuda:1``.

    Returns
    -------
    precision : str
        ``bf16`` or ``fp32``, as SpeechBrain's ``precision`` takes it.
    reason : str
        For the log.

    Example
    -------
    >>> fastest_precision("cpu")[0] in ("bf16", "fp32")
    True
    """
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability(device)
        chosen = "bf16" if major >= CUDA_CAPABILITY else "fp32"
        return chosen, f"the GPU has compute capability {major}.{minor}"
    if device != "cpu":
        return "fp32", f"{device} was not measured"
    speedup = bf16_speedup()
    chosen = "bf16" if speedup >= LEAST_GAIN else "fp32"
    return (
        chosen,
        f"a bf16 product takes {1 / speedup:.2f} times as long as an fp32 one",
    )


def choose_precision(asked: str, device: str = "cpu") -> str:
    """Return the precision to compute in, and log why; warn of a slow one.

    Arguments
    ---------
    asked : str
        ``auto``, or ``fp32``, ``fp16`` or ``bf16``, which are taken as they are.
    device : str
        Such as ``cpu`` or ``cuda:1``.

    Returns
    -------
    precision : str
        ``fp32``, ``fp16`` or ``bf16``.

    Raises
    ------
    ValueError
        If ``asked`` is anything else.

    Example
    -------
    >>> choose_precision("fp32")
    'fp32'
    """
    if asked not in (AUTO, "fp32", "fp16", "bf16"):
        raise ValueError(
            f"precision must be auto, fp32, fp16 or bf16; got {asked!r}. Take auto "
            "to let the machine decide."
        )
    if asked == AUTO:
        chosen, reason = fastest_precision(device)
        logger.info("precision: %s, chosen because %s.", chosen, reason)
        return chosen
    if asked == "bf16":
        best, reason = fastest_precision(device)
        if best != "bf16":
            logger.warning(
                "precision: bf16 was asked for, but %s; fp32 will be faster "
                "(leave --precision out, or give --precision fp32).",
                reason,
            )
    return asked
