"""Faster inference on CPU: linear layers whose weights are packed by oneDNN.

PyTorch multiplies float32 matrices on CPU with MKL, which on some processors runs
at half the speed of oneDNN or less, and with few rows (a decoding step) reads the
weights at a fraction of the memory's bandwidth. A packed layer keeps a copy of the
weights in oneDNN's memory layout and uses it where no gradient is needed; otherwise
it computes as an ordinary linear layer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D


def can_pack() -> bool:
    """Return True if this build of PyTorch has oneDNN's operators on packed weights."""
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_reorder_linear_weight"
    )


class PackedLinear(nn.Module):
    """A linear layer that keeps a packed copy of its weights for CPU inference.

    It shares the parameters of the layer that it replaces, so that names in
    checkpoints, tied weights and devices do not change. The copy is made at first use
    and whenever the weights have changed; it is not saved in checkpoints.

    Arguments
    ---------
    layer : torch.nn.Linear | transformers.pytorch_utils.Conv1D
        The layer to replace.

    Example
    -------
    >>> layer = nn.Linear(5, 7)
    >>> packed = PackedLinear(layer)
    >>> x = torch.randn(2, 3, 5)
    >>> torch.allclose(packed(x), layer(x), atol=1e-6)
    True
    """

    def __init__(self, layer: nn.Linear | Conv1D):
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias
        self.is_transposed = isinstance(layer, Conv1D)
        sizes = self.weight.shape if self.is_transposed else self.weight.shape[::-1]
        self.in_features, self.out_features = sizes
        self._packed = None
        self._packed_from = None

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        if self._packs(x):
            return torch.ops.mkldnn._linear_pointwise(
                x, self._pack(), self.bias, "none", [], ""
            )
        weight = self.weight.t() if self.is_transposed else self.weight
        return F.linear(x, weight, self.bias)

    def _packs(self, x: Tensor) -> bool:
        """Return True if this call can use the packed copy."""
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

    def _pack(self) -> Tensor:
        """Return the packed copy; make it first if the weights have changed."""
        weight = self.weight
        # Weights made in inference mode have no version counter; they can be changed
        # in inference mode only.
        version = None if weight.is_inference() else weight._version
        source = (weight.data_ptr(), version)
        if source != self._packed_from:
            dense = weight.detach()
            if self.is_transposed:
                dense = dense.t()
            with torch.inference_mode(False):
                self._packed = torch.ops.mkldnn._reorder_linear_weight(
                    dense.contiguous()
                )
            self._packed_from = source
        return self._packed

    def __getstate__(self) -> dict:
        """Copy and pickle without the packed copy."""
        return {**self.__dict__, "_packed": None, "_packed_from": None}

    def extra_repr(self) -> str:
        """Return the sizes for ``print``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def pack_linears(module: nn.Module) -> nn.Module:
    """Replace the linear layers inside ``module`` by packed ones, in place.

    For inference on CPU; the packed copies need the memory of the weights again.
    Without oneDNN in PyTorch, nothing changes.

    Arguments
    ---------
    module : torch.nn.Module
        Any model.

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
    if not can_pack():
        return module
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            # Not subclasses: they may do more than multiply, or their parent reads
            # their weights, as MultiheadAttention does.
            if type(child) in (nn.Linear, Conv1D):
                setattr(parent, name, PackedLinear(child))
    return module
