"""Smaller and faster inference on CPU: weights of 8 bits, by PyTorch's own kernels.

The weights of linear layers, convolutions and embeddings become whole numbers from
-127 to 127 with one scale per output channel. Linear layers multiply in 8 bits: each
row of their input gets a scale of its own, so that an answer does not depend on what
else is in the batch, and 7 bits, so that machines with and without VNNI instructions
compute the same sums (8 bits overflow without them). Convolutions and embeddings
compute in float32. Scales, biases and norms are rounded to what float16 holds, so that
a file may hold them so (``storage.parts``).

PyTorch's ``quantize_dynamic`` gives a whole batch one scale and is to be removed;
torchao's int8 layers take several times as long without ``torch.compile``.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from pengi_plugin.lobes.packed import PackedLinear

#: Largest weight, and largest input, as whole numbers.
MAX_WEIGHT, MAX_INPUT = 127, 63

#: Largest relative error of float16 between its least and largest usual numbers.
HALF_STEP, LEAST_HALF, LARGEST_HALF = 2**-11, 2**-14, 65504


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a weight [out, ...] to whole numbers, a scale for each output.

    Returns
    -------
    whole : torch.Tensor
        int8 [out, ...]
    scale : torch.Tensor
        float32 [out], of values that float16 holds, where it has such numbers.

    Example
    -------
    >>> whole, scale = rounded(torch.tensor([[0.5, -1.0], [0.0, 0.0]]))
    >>> whole
    tensor([[  64, -127],
            [   0,    0]], dtype=torch.int8)
    """
    weight = weight.detach().float()
    largest = weight.abs().flatten(1).amax(1)
    scale = largest / MAX_WEIGHT
    # Rows without a weight; those with NaN keep it.
    scale = scale.masked_fill(scale < torch.finfo(torch.float32).tiny, 1.0)
    is_usual = (scale >= LEAST_HALF) & (scale <= LARGEST_HALF)
    scale = scale.half().float().where(is_usual, scale)
    packed = torch.quantize_per_channel(
        weight, scale, torch.zeros(len(scale)), axis=0, dtype=torch.qint8
    )
    return packed.int_repr().clamp(min=-MAX_WEIGHT), scale


def shortened(value: Tensor) -> Tensor:
    """Round float32 to what float16 holds, unless it is too large or small for that.

    Example
    -------
    >>> shortened(torch.tensor([1 / 3, 0.0])), shortened(torch.tensor([1e6, 1 / 3]))
    (tensor([0.3333, 0.0000]), tensor([1.0000e+06, 3.3333e-01]))
    """
    short = value.half().float()
    largest = value.abs().max() if value.numel() else 0
    is_close = ((short - value).abs() <= HALF_STEP * largest).all()
    return short if is_close else value


class Int8Weight(nn.Module):
    """What int8 layers share: ``weight`` [out, ...] int8 and ``weight_scale`` [out].

    Arguments
    ---------
    whole : torch.Tensor
        int8 [out, ...]
    scale : torch.Tensor
        float32 [out]
    """

    def __init__(self, whole: Tensor, scale: Tensor):
        super().__init__()
        self.register_buffer("weight", whole)
        self.register_buffer("weight_scale", scale)

    def real_weight(self) -> Tensor:
        """Return the weight in float32 [out, ...]."""
        shape = [-1] + [1] * (self.weight.dim() - 1)
        return self.weight * self.weight_scale.view(shape)

    def extra_repr(self) -> str:
        """Return the sizes for ``print``."""
        return " x ".join(map(str, self.weight.shape))


class Int8Linear(Int8Weight):
    """A linear layer that multiplies in 8 bits on CPUs whose PyTorch has the kernels.

    Elsewhere it multiplies the same weights in float32. It has no gradient.

    Arguments
    ---------
    whole, scale : torch.Tensor
        As of ``Int8Weight``, [out, in].
    bias : torch.Tensor
        [out], or None.

    Example
    -------
    >>> layer = nn.Linear(32, 5)
    >>> small = Int8Linear(*rounded(layer.weight), layer.bias)
    >>> x = torch.randn(2, 3, 32)
    >>> bool(((small(x) - layer(x)).abs() < 0.1).all())
    True
    """

    def __init__(self, whole: Tensor, scale: Tensor, bias: Tensor | None = None):
        super().__init__(whole, scale)
        self.out_features, self.in_features = whole.shape
        self.register_buffer("bias", None if bias is None else bias.detach())
        self._packed = None
        self._packed_from = None

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in_features] to [..., out_features]."""
        is_cpu = x.device.type == self.weight.device.type == "cpu"
        if not (is_cpu and x.numel() and has_kernels()):
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return F.linear(x, self.real_weight().to(x.dtype), bias)
        rows = x.float().reshape(-1, self.in_features)
        largest = rows.abs().amax(-1, keepdim=True)
        largest = largest.clamp(min=torch.finfo(torch.float32).tiny)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / largest, 1 / MAX_INPUT, MAX_INPUT + 1, self._pack()
        )
        product *= largest
        if self.bias is not None:
            product += self.bias
        return product.view(*x.shape[:-1], -1).to(x.dtype)

    def _pack(self):
        """Return the copy in the kernels' layout; make it if the weights changed."""
        weight, scale = self.weight, self.weight_scale
        version = None if weight.is_inference() else weight._version
        source = (weight.data_ptr(), scale.data_ptr(), version)
        if source != self._packed_from:
            with torch.inference_mode(False):
                packed = torch._make_per_channel_quantized_tensor(
                    *(weight, scale.double(), torch.zeros(len(scale)).long(), 0)
                )
                self._packed = torch.ops.quantized.linear_prepack(packed, None)
            self._packed_from = source
        return self._packed

    def __getstate__(self) -> dict:
        """Copy and pickle without the packed copy."""
        return {**self.__dict__, "_packed": None, "_packed_from": None}


class Int8Embedding(Int8Weight):
    """Look up rows of an int8 table.

    Example
    -------
    >>> table = nn.Embedding(9, 4)
    >>> Int8Embedding(*rounded(table.weight))(torch.tensor([[1, 2]])).shape
    torch.Size([1, 2, 4])
    """

    def __init__(self, whole: Tensor, scale: Tensor):
        super().__init__(whole, scale)
        self.num_embeddings, self.embedding_dim = whole.shape

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids [...] to float32 [..., embedding_dim]."""
        return self.weight[ids] * self.weight_scale[ids][..., None]


class Int8Conv(Int8Weight):
    """A convolution whose weights are kept in int8; it computes in float32.

    Arguments
    ---------
    whole, scale : torch.Tensor
        As of ``Int8Weight``.
    layer : torch.nn.Conv1d | torch.nn.Conv2d
        What it replaces.

    Example
    -------
    >>> layer = nn.Conv1d(2, 3, 5)
    >>> Int8Conv(*rounded(layer.weight), layer)(torch.randn(1, 2, 9)).shape
    torch.Size([1, 3, 5])
    """

    def __init__(self, whole: Tensor, scale: Tensor, layer: nn.Conv1d | nn.Conv2d):
        super().__init__(whole, scale)
        self.bias = layer.bias
        layer.weight = None  # the layer only says how to convolve
        layer.bias = None
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channel, ...] as the layer that it replaces."""
        weight = self.real_weight().to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self.layer._conv_forward(x, weight, bias)


def has_kernels() -> bool:
    """Tell whether this PyTorch multiplies int8 matrices on this CPU."""
    return torch.backends.quantized.engine in ("x86", "fbgemm", "onednn")


def is_int8(module: nn.Module) -> bool:
    """Tell whether a model has int8 weights."""
    return any(isinstance(part, Int8Weight) for part in module.modules())


def to_int8(module: nn.Module) -> nn.Module:
    """Let the layers inside a model keep their weights in int8, in place.

    Linear layers, GPT-2's ``Conv1D``, convolutions and embeddings; tied weights stay
    tied. Subclasses stay as they are: they may do more, or their parent may read their
    weights, as ``MultiheadAttention`` does. So do norms and single parameters, of
    which ``shortened`` values are kept.

    Arguments
    ---------
    module : torch.nn.Module
        Any model, for inference.

    Returns
    -------
    module : torch.nn.Module
        The same object.

    Example
    -------
    >>> model = to_int8(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9)))
    >>> model[1]
    Int8Linear(9 x 4)
    >>> model[0].weight.dtype, model[0].weight_scale.shape
    (torch.int8, torch.Size([9]))
    """
    known = {}
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            small = small_layer(child, known)
            if small is not child:
                setattr(parent, name, small)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.dtype == torch.float32 and not name.endswith("weight_scale"):
                value.copy_(shortened(value))
    return module


def small_layer(layer: nn.Module, known: dict) -> nn.Module:
    """Return a layer with int8 weights in place of one; others as they are.

    Arguments
    ---------
    layer : torch.nn.Module
        The layer.
    known : dict
        id of a weight -> (weight, int8, scale), so that tied weights stay tied; filled.
    """
    kinds = (nn.Linear, PackedLinear, Conv1D, nn.Embedding, nn.Conv1d, nn.Conv2d)
    if type(layer) not in kinds or layer.weight is None:  # as inside Int8Conv
        return layer
    key = id(layer.weight)
    if key not in known:
        weight = layer.weight
        is_transposed = getattr(layer, "is_transposed", isinstance(layer, Conv1D))
        known[key] = (weight, *rounded(weight.t() if is_transposed else weight))
    _, whole, scale = known[key]
    if isinstance(layer, nn.Embedding):
        return Int8Embedding(whole, scale)
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return Int8Conv(whole, scale, layer)
    return Int8Linear(whole, scale, layer.bias)
