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

#: The second half of ``SplitProduct`` is kept this many times as large: the step
#: between float16 numbers, 11 bits, so that it has 11 bits of its own.
SPLIT = 2.0**11

#: Largest float16 number.
LARGEST = torch.finfo(torch.float16).max

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
    """Return True if this PyTorch multiplies float32 by float16 weights on this CPU."""
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
    error = (weight - weight.half().float()).norm(dim=1)
    return bool((error <= ROUNDING * weight.norm(dim=1)).all())


class OneDNNProduct:
    """Multiply by weights in oneDNN's layout.

    PyTorch's own float32 product runs on some processors at half the speed or less,
    and with few rows reads the weights at a part of the memory's bandwidth.

    Arguments
    ---------
    weight : torch.Tensor
        float32 [out, in], contiguous.
    bias : torch.Tensor
        [out], or None.
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
        return torch.ops.quantized.linear_dynamic_fp16(x, self.packed)


class SplitProduct(HalfProduct):
    """Multiply by weights that are sums of two float16 numbers: 22 bits of 24.

    As exact as a float32 product, whose sums are wrong by more. It reads as many bytes
    as one, at more of the memory's bandwidth, and multiplies twice, so it is for few
    rows. Arguments as of ``OneDNNProduct``; no weight may exceed ``LARGEST``.

    Example
    -------
    >>> weight, x = torch.randn(5, 64), torch.randn(2, 64)
    >>> torch.allclose(SplitProduct(weight, None)(x), x @ weight.t(), atol=1e-5)
    True
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        high = weight.half().float()
        low = (weight - high) * SPLIT
        super().__init__(torch.cat([high, low], dim=1), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return super().__call__(torch.cat([x, x / SPLIT], dim=-1))
