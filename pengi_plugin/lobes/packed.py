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
    and again when the weights have changed; they are not saved in checkpoints.

    Weights that are float16 or bfloat16 numbers, as those of most published language
    models, are kept in 16 bits. Others are multiplied by oneDNN or, where rows are few
    for some time, as sums of two float16 numbers. All give what the layer gives, up to
    the rounding of sums.

    Arguments
    ---------
    layer : torch.nn.Linear | transformers.pytorch_utils.Conv1D
        The layer to replace.
    half : bool
        Whether to round all weights to 16 bits: half the bytes to read at each step.

    Example
    -------
    >>> layer = nn.Linear(5, 7)
    >>> packed = PackedLinear(layer)
    >>> x = torch.randn(2, 3, 5)
    >>> torch.allclose(packed(x), layer(x), atol=1e-6)
    True
    """

    def __init__(self, layer: nn.Linear | Conv1D, half: bool = False):
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias
        self.half_weights = half
        self.is_transposed = isinstance(layer, Conv1D)
        sizes = self.weight.shape if self.is_transposed else self.weight.shape[::-1]
        self.in_features, self.out_features = sizes
        self._forget()

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        if self._packs(x):
            return self._product(x.numel() // self.in_features)(x)
        weight = self.weight.t() if self.is_transposed else self.weight
        return F.linear(x, weight, self.bias)

    def _packs(self, x: Tensor) -> bool:
        """Return True if this call can use a packed copy."""
        return (
            x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and self.weight.device.type == "cpu"
            and x.numel() > 0
            and not torch.is_autocast_enabled("cpu")
            and not (
                torch.is_grad_enabled()
                and (x.requires_grad or self.weight.requires_grad)
            )
        )

    def _product(self, n_row: int):
        """Return the product for so many rows; pack first if the weights changed."""
        source = version(self.weight), version(self.bias)
        if source != self._packed_from:
            self._forget()
            self._packed_from = source
            self._kinds = self._choose()
        few, kind = self._kinds
        if n_row <= products.few_rows():
            self._n_few += 1
            kind = few if self._n_few > products.PATIENCE else kind
        if kind not in self._products:
            with torch.inference_mode(False):
                self._products[kind] = kind(self._dense(), self.bias)
        return self._products[kind]

    def _choose(self) -> tuple[type, type]:
        """Choose the products for few and for many rows."""
        weight = self.weight.detach()
        weight = weight.t() if self.is_transposed else weight
        if products.has_half() and weight.abs().amax() < products.LARGEST:
            if self.half_weights or products.fits_half(weight):
                return HalfProduct, HalfProduct
            if weight.numel() >= products.LEAST_SPLIT:
                return SplitProduct, OneDNNProduct
        return OneDNNProduct, OneDNNProduct

    def _dense(self) -> Tensor:
        """Return the weights [out_features, in_features] without gaps."""
        dense = self.weight.detach()
        return (dense.t() if self.is_transposed else dense).contiguous()

    def _forget(self) -> None:
        """Drop the packed copies."""
        self._products, self._kinds, self._packed_from = {}, None, None
        self._n_few = 0

    def __getstate__(self) -> dict:
        """Copy and pickle without the packed copies."""
        nothing = {"_products": {}, "_kinds": None, "_packed_from": None}
        return {**self.__dict__, **nothing, "_n_few": 0}

    def extra_repr(self) -> str:
        """Return the sizes for ``print``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def version(tensor: Tensor | None) -> tuple | None:
    """Return what changes when the numbers of a tensor change.

    Weights made in inference mode have no version counter; they can be changed in
    inference mode only.
    """
    if tensor is None:
        return None
    return tensor.data_ptr(), None if tensor.is_inference() else tensor._version


def pack_linears(module: nn.Module, half: bool = False) -> nn.Module:
    """Replace the linear layers inside ``module`` by packed ones, in place.

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
            if type(child) in (nn.Linear, Conv1D):
                setattr(parent, name, PackedLinear(child, half))
    return module
