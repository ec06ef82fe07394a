"""Rows in, their products with a layer's packed weights out: three ways on CPU.

Each keeps a copy of the weights in the memory layout of a library's kernels. All sum
in float32; which is fastest depends on the number of rows and on the weights.
"""

from functools import cache

import torch
from torch import Tensor

#: Largest error of weights that count as unchanged by rounding to 16 bits, as a part
#: of the norm of an output's weights: the last bit of a float32 number.
ROUNDING = 2.0**-23

#: The same where rounding was asked for: the last of the 11 bits of a float16 number.
HALF_ROUNDING = 2.0**-11

#: The same of two such numbers, which have 22 bits.
SPLIT_ROUNDING = 2.0**-22

#: The second half of ``SplitProduct`` is kept this many times as large: the step
#: between float16 numbers, 11 bits, so that it has 11 bits of its own.
SPLIT = 2.0**11

#: Rows up to which ``SplitProduct`` was faster than ``OneDNNProduct``, measured for
#: layers of ``LEAST_SPLIT`` weights and more; with AVX-512 oneDNN is better
#: (recipes/benchmark/README.md).
FEW_ROWS = {"AVX2": 8, "AVX512": 3}
LEAST_SPLIT = 2**18

#: Rows from which oneDNN is faster than ``HalfProduct`` too, as in audio encoders.
MANY_ROWS = 1024

#: Calls with few rows after which weights are split: four answers of 30 tokens, in
#: which it saves what making the copy takes, so that one answer is not slower for it.
PATIENCE = 120


def has_onednn() -> bool:
    """Return True if this build of PyTorch has oneDNN's operators on packed weights."""
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )


@cache
def has_half() -> bool:
    """Return True if this PyTorch multiplies float32 by float16 weights on this CPU.

    Without oneDNN False too: ``pack_linears`` needs both.
    """
    if not has_onednn():
        return False
    try:
        HalfProduct(torch.ones(1, 1), None)(torch.ones(1, 1))
    except (AttributeError, RuntimeError):  # no such operator; no such kernel
        return False
    return True


@cache
def few_rows() -> int:
    """Return up to how many rows two float16 products are faster than a float32 one."""
    capability = torch.backends.cpu.get_cpu_capability()
    return FEW_ROWS.get(capability, 0) if has_half() else 0


def fits_half(weight: Tensor) -> bool:
    """Tell whether float16 holds the weights of each output [out, in] exactly enough.

    So it is with language models that were published in float16, and in bfloat16 but
    for weights below 1e-5 beside much larger ones, which are wrong by 3e-8 at most.

    Example
    -------
    >>> fits_half(torch.tensor([[0.5, -3.0]])), fits_half(torch.tensor([[1 / 3, 1]]))
    (True, False)
    """
    if len(weight) > 1 and not fits_half(weight[:1]):  # spares reading the others
        return False
    return holds(weight.half().float(), weight)


def rounds_to_half(weight: Tensor) -> bool:
    """Tell whether float16 holds weights [out, in] as exactly as its 11 bits can.

    Not if most are so small that it has fewer bits for them. The size of all weights
    together counts: outputs with next to no weights do not matter beside the others.

    Example
    -------
    >>> weight = torch.randn(3, 100)
    >>> rounds_to_half(weight), rounds_to_half(weight / 1e7)
    (True, False)
    """
    weight = weight.reshape(1, -1)
    return holds(weight.half().float(), weight, HALF_ROUNDING)


def fits_split(weight: Tensor) -> bool:
    """Tell whether two float16 numbers hold the weights of each output [out, in].

    Not those of outputs with weights of 1e-5 and less alone.

    Example
    -------
    >>> weight = torch.randn(3, 100)
    >>> fits_split(weight), fits_split(weight / 1e7)
    (True, False)
    """
    high, low = split(weight)
    return holds(high + low.half().float() / SPLIT, weight, SPLIT_ROUNDING)


def split(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return float16 numbers and ``SPLIT`` times what they lack, both in float32."""
    high = weight.half().float()
    return high, (weight - high) * SPLIT


def holds(copy: Tensor, weight: Tensor, rounding: float = ROUNDING) -> bool:
    """Tell whether each row of a copy [row, n] lacks at most a part of its norm."""
    norm = weight.norm(dim=1)
    if weight[norm == 0].any():  # so small that their squares are 0
        return False
    return bool(((copy - weight).norm(dim=1) <= rounding * norm).all())


class OneDNNProduct:
    """Multiply by weights in oneDNN's layout.

    PyTorch's own float32 product runs on some processors at half the speed or less,
    and with few rows reads the weights at a part of the memory's bandwidth.

    Arguments
    ---------
    weight : torch.Tensor
        float32 [out, in], contiguous.
    bias : torch.Tensor
        [out], contiguous, or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        self.bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return torch.ops.mkldnn._linear_pointwise(
            x, self.packed, self.bias, "none", [], ""
        )


class HalfProduct:
    """Multiply float32 rows by float16 weights: half the bytes, sums in float32.

    The kernels are fbgemm's. Arguments as of ``OneDNNProduct``; weights are rounded.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        self.packed = torch.ops.quantized.linear_prepack_fp16(weight, bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        if x.dim() == 1:  # not one of the operator's shapes
            return torch.ops.quantized.linear_dynamic_fp16(x[None], self.packed)[0]
        return torch.ops.quantized.linear_dynamic_fp16(x, self.packed)


class SplitProduct(HalfProduct):
    """Multiply by weights that are sums of two float16 numbers: 22 bits of 24.

    As exact as a float32 product, whose sums are wrong by more. It reads as many bytes
    as one, at more of the memory's bandwidth, and multiplies twice, so it is for few
    rows. Arguments as of ``OneDNNProduct``; float16 must hold the largest weight, and
    outputs of tiny weights are less exact (``fits_split`` tells both).

    Example
    -------
    >>> weight, x = torch.randn(5, 64), torch.randn(2, 64)
    >>> torch.allclose(SplitProduct(weight, None)(x), x @ weight.t(), atol=1e-5)
    True
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__(torch.cat(split(weight), dim=1), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return super().__call__(torch.cat([x, x / SPLIT], dim=-1))
