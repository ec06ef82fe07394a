"""Faster inference on CPU: linear layers that keep their weights packed.

A packed layer keeps copies of its weights in the layouts of the fastest kernels (see
``products``) and uses them where no gradient is needed; otherwise it computes as an
ordinary linear layer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from pengi_plugin.lobes import products
from pengi_plugin.lobes.products import HalfProduct, OneDNNProduct, SplitProduct


class PackedLinear(nn.Module):
    """A linear layer that keeps a packed copy of its weights for CPU inference.

    It shares the parameters of the layer that it replaces, so that names in
    checkpoints, tied weights and devices do not change. Copies are made at first use
    and again when the weights have changed (but not when they are changed through
    ``.data``; see ``version``); they are not saved in checkpoints.

    Weights that are float16 or bfloat16 numbers, as those of most published language
    models, are kept in 16 bits. Others are multiplied by oneDNN or, where rows are few
    for some time, as sums of two float16 numbers. All give what the layer gives, up to
    the rounding of sums.

    Arguments
    ---------
    layer : torch.nn.Linear | transformers.pytorch_utils.Conv1D | PackedLinear
        The layer to replace.
    half : bool
        Whether to round weights to 16 bits: half the bytes to read at each step. Layers
        of which float16 cannot hold the weights, being too large or small, stay as
        they are, and so do all for more than ``MANY_ROWS`` rows.

    Example
    -------
    >>> layer = nn.Linear(5, 7)
    >>> packed = PackedLinear(layer)
    >>> x = torch.randn(2, 3, 5)
    >>> torch.allclose(packed(x), layer(x), atol=1e-6)
    True
    """

    def __init__(self, layer: "nn.Linear | Conv1D | PackedLinear", half: bool = False):
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias
        self.half_weights = half
        self.is_transposed = getattr(layer, "is_transposed", isinstance(layer, Conv1D))
        sizes = self.weight.shape if self.is_transposed else self.weight.shape[::-1]
        self.in_features, self.out_features = sizes
        self._copies = None

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        if self._packs(x):
            return self._product(x.numel() // self.in_features)(x)
        weight = self.weight.t() if self.is_transposed else self.weight
        return F.linear(x, weight, self.bias)

    def _packs(self, x: Tensor) -> bool:
        """Return True if this call can use a packed copy."""
        weight, bias = self.weight, self.bias
        return (
            x.device.type == "cpu"
            and x.dtype == weight.dtype == torch.float32
            and weight.device.type == "cpu"
            and (bias is None or bias.dtype == torch.float32)
            and x.numel() > 0
            and weight.numel() > 0
            and not torch.is_autocast_enabled("cpu")
            and not (
                torch.is_grad_enabled()
                and (
                    x.requires_grad
                    or weight.requires_grad
                    or (bias is not None and bias.requires_grad)
                )
            )
        )

    def _product(self, n_row: int):
        """Return the product for so many rows; pack first if the weights changed."""
        copies = self._copies  # of its own: another thread may put others there
        if copies is None or not copies.are_of(self.weight, self.bias):
            transposed, half = self.is_transposed, self.half_weights
            copies = Copies(self.weight, self.bias, transposed, half)
            self._copies = copies
        return copies.product(n_row)

    def _apply(self, fn, recurse=True):
        """Move or convert; the copies are of what was there before."""
        self._copies = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args, **options):
        """Load; weights made in inference mode do not show that they changed."""
        super()._load_from_state_dict(*args, **options)
        self._copies = None

    def __getstate__(self) -> dict:
        """Copy and pickle without the packed copies."""
        return {**self.__dict__, "_copies": None}

    def extra_repr(self) -> str:
        """Return the sizes for ``print``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Copies:
    """Packed copies of a layer's weights as they are now, each made when needed.

    It keeps the weights too, so that no others can come to lie at their address.

    Arguments
    ---------
    weight : torch.Tensor
        float32 [out, in], or [in, out] if transposed.
    bias : torch.Tensor
        [out], or None.
    is_transposed : bool
        Whether the weights are.
    half : bool
        Whether to round them to 16 bits; see ``PackedLinear``.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, is_transposed: bool, half: bool
    ):
        self.source = weight, bias
        self.versions = version(weight), version(bias)
        weight = weight.detach()
        self.weight = weight.t() if is_transposed else weight
        self.bias = None if bias is None else bias.detach()
        self.few, self.many = self._choose(half)
        self.products = {}
        self.n_few = 0

    def are_of(self, weight: Tensor, bias: Tensor | None) -> bool:
        """Tell whether these are the tensors, and unchanged."""
        return (
            weight is self.source[0]
            and bias is self.source[1]
            and (version(weight), version(bias)) == self.versions
        )

    def _choose(self, half: bool) -> tuple[type, type]:
        """Choose the products for few and for many rows; see ``PackedLinear``."""
        weight = self.weight
        if products.has_half():
            if products.fits_half(weight) or (half and products.rounds_to_half(weight)):
                return HalfProduct, HalfProduct
            if weight.numel() >= products.LEAST_SPLIT:
                return SplitProduct, OneDNNProduct
        return OneDNNProduct, OneDNNProduct

    def product(self, n_row: int):
        """Return the product for so many rows."""
        kind = self.many
        if n_row > products.MANY_ROWS:
            kind = OneDNNProduct
        elif n_row <= products.few_rows():
            self.n_few += 1
            kind = self.few if self.n_few > products.PATIENCE else kind
        if kind not in self.products:
            if kind is SplitProduct and not products.fits_split(self.weight):
                self.few = self.many
                return self.product(n_row)
            with torch.inference_mode(False):
                bias = None if self.bias is None else self.bias.contiguous()
                self.products[kind] = kind(self.weight.contiguous(), bias)
        return self.products[kind]


def version(tensor: Tensor | None) -> tuple | None:
    """Return what changes when the numbers of a tensor change.

    Not if they are changed through ``.data``, a NumPy array or, where they were made in
    inference mode, in place: these have no version counter.
    """
    if tensor is None:
        return None
    counter = None if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), tensor.stride(), tensor.shape, counter


def pack_linears(module: nn.Module, half: bool = False) -> nn.Module:
    """Replace the linear layers inside ``module`` by packed ones, in place.

    Those that were packed with another ``half`` are packed anew.

    For inference on CPU. The packed copies need the memory of the weights again, or
    half of it where the weights have 16 bits; those of answers from few rows need it
    once more. Without oneDNN in PyTorch, nothing changes.

    Arguments
    ---------
    module : torch.nn.Module
        Any model.
    half : bool
        Whether to round the weights to 16 bits; see ``PackedLinear``.

    Returns
    -------
    module : torch.nn.Module
        The same object.

    Example
    -------
    >>> model = pack_linears(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    >>> model[0]
    PackedLinear(in_features=3, out_features=4)
    >>> sorted(model.state_dict())
    ['0.bias', '0.weight']
    """
    if not products.has_onednn():
        return module
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            # Not subclasses: they may do more than multiply, or their parent reads
            # their weights, as MultiheadAttention does.
            is_other = type(child) is PackedLinear and child.half_weights != half
            if type(child) in (nn.Linear, Conv1D) or is_other:
                setattr(parent, name, PackedLinear(child, half))
    return module
