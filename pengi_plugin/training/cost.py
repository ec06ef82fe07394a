"""A model and its updates in, their cost out: weights, operations, share of peak."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

#: Part of a GPU's name -> its peak in bf16 and fp16, dense, in TFLOP/s, by NVIDIA's
#: data sheets. The first that fits counts. In TF32 all of them have half of it.
PEAKS = {
    "B200": 2250.0,
    "H200 NVL": 835.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
}

#: Updates after which the speed is told, at the latest; of these, the first ones,
#: when memory is allocated and parts are compiled, are not timed.
N_TIMED, N_WARM = 100, 5


def attention(query, key, value, *_, out_shape=None, **__) -> int:
    """Return the operations of an attention of these shapes."""
    return sdpa_flop_count(query, key, value)


def attention_backward(gradient, query, key, value, *_, out_shape=None, **__) -> int:
    """Return the operations of its gradients."""
    return sdpa_backward_flop_count(gradient, query, key, value)


#: Attention on a CPU, which PyTorch's counter leaves out.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        attention_backward
    ),
}


def peak_of(gpu: str, precision: str) -> float | None:
    """Return the peak of a GPU in operations per second; None if it is not known.

    That of a part of a GPU (MIG) is not.

    Arguments
    ---------
    gpu : str
        Its name, as ``torch.cuda.get_device_name`` returns it.
    precision : str
        ``bf16``, ``fp16`` or ``fp32``, which SpeechBrain lets multiply in TF32.

    Example
    -------
    >>> peak_of("NVIDIA A100-SXM4-80GB", "bf16"), peak_of("NVIDIA H100 PCIe", "fp32")
    (312000000000000.0, 378000000000000.0)
    """
    words = gpu.replace("-", " ").split()
    if "MIG" in words:
        return None
    for name, peak in PEAKS.items():
        if all(word in words for word in name.split()):
            return peak * 1e12 * (0.5 if precision == "fp32" else 1.0)
    return None


def number(value: float) -> str:
    """Return a number with a decimal, a small one with three digits.

    Example
    -------
    >>> number(12345.67), number(0.0123456)
    ('12,345.7', '0.0123')
    """
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"


def weights_table(model: nn.Module) -> list[str]:
    """Return the lines of a table: trained and frozen weights of each part.

    Example
    -------
    >>> model = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 1000)})
    >>> _ = model["b"].requires_grad_(False)
    >>> print(*weights_table(model), sep="\\n")
    | part | trained weights | frozen weights |
    |---|---|---|
    | a | 9 | 0 |
    | b | 0 | 4,000 |
    | all | 9 | 4,000 |
    """
    rows = {
        name: [
            sum(p.numel() for p in part.parameters() if p.requires_grad == is_trained)
            for is_trained in (True, False)
        ]
        for name, part in model.named_children()
    }
    rows["all"] = [sum(column) for column in zip(*rows.values())]
    lines = ["| part | trained weights | frozen weights |", "|---|---|---|"]
    return lines + [f"| {name} | {a:,} | {b:,} |" for name, (a, b) in rows.items()]


class Cost:
    """Count a run's operations in its first batch, and time its updates.

    Counted are the products of matrices, convolutions and attention that PyTorch
    computes forward and backward, two operations for a multiplication and addition.
    For a frozen weight there are no products for its gradient. What gradient
    checkpointing computes again counts.

    Arguments
    ---------
    model : torch.nn.Module
        Pengi or CLAP.
    n_accumulated : int
        Batches of a process in an update.
    n_process : int
        Processes that train together.
    device : str
        The name of the GPU, or of another device.
    precision : str
        See ``peak_of``.

    Example
    -------
    >>> cost = Cost(nn.ModuleDict({"a": nn.Linear(2, 3)}), 4, 1, "cpu", "fp32")
    >>> with cost.counting():
    ...     _ = cost.model["a"](torch.ones(5, 2)).sum().backward()
    >>> cost.batch_operations  # forward, and the gradient of the weights
    120
    """

    def __init__(
        self,
        model: nn.Module,
        n_accumulated: int,
        n_process: int,
        device: str,
        precision: str,
    ):
        self.model = model
        self.n_accumulated = n_accumulated
        self.n_process = n_process
        self.device = device
        self.precision = precision
        self.peak = peak_of(device, precision)
        self.batch_operations: int | None = None
        self.n_update = 0
        self.seconds = 0.0
        self.is_told = False

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is computed inside as a batch's operations."""
        counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
        with counter:
            yield
        self.batch_operations = counter.get_total_flops()

    @property
    def operations(self) -> int:
        """Operations of an update, of all processes, by its first batch's."""
        return self.batch_operations * self.n_accumulated * self.n_process

    def table(self) -> str:
        """Return the table for the start of a run."""
        return "\n".join(
            [
                "What is trained:",
                *weights_table(self.model),
                f"An update is {number(self.operations / 1e9)} GFLOP forward and "
                f"backward, counted in one of its {self.n_accumulated} x "
                f"{self.n_process} batches (accumulated x processes).",
            ]
        )

    def start_stage(self) -> None:
        """Note the beginning of an epoch's updates."""
        self.last = time.perf_counter()

    def end_update(self) -> str | None:
        """Note the end of an update; return the speed after ``N_TIMED``."""
        now = time.perf_counter()
        self.n_update += 1
        if self.n_update > N_WARM:
            self.seconds += now - self.last
        self.last = now
        return self.speed() if self.n_update >= N_TIMED else None

    def end_epoch(self) -> str | None:
        """Return the speed, if it was not told and updates were timed."""
        return self.speed() if self.n_update > N_WARM else None

    def speed(self) -> str | None:
        """Return, once, the operations per second and their share of the peak."""
        if self.is_told or self.batch_operations is None:
            return None
        self.is_told = True
        seconds = self.seconds / (self.n_update - N_WARM)
        rate = self.operations / self.n_process / seconds
        message = f"An update takes {seconds:.3f} s: {number(rate / 1e9)} GFLOP/s "
        message += "per process, "
        if self.peak is None:
            return message + f"of a peak that is not known ({self.device})."
        return message + (
            f"{100 * rate / self.peak:.1f} % of the {self.peak / 1e12:.0f} TFLOP/s of "
            f"a {self.device} in {self.precision}."
        )
