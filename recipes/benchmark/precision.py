#!/usr/bin/env python3
"""Time of the embedded default's training update in float32 and in bfloat16.

    python recipes/benchmark/precision.py [--threads 2] [--batch_size 32]

Prints, for each precision, seconds per update, GFLOP per update and what share of the
machine's float32 matrix speed that is; the two take turns, so that the ratio holds
when the machine's speed drifts. On a machine with AVX-512,

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
        python recipes/benchmark/precision.py

shows what one without it does.
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import torch
from hyperpyyaml import load_hyperpyyaml
from torch.utils.flop_counter import FlopCounterMode

from pengi_plugin.precision import choose_precision

MODEL = Path(__file__).resolve().parents[2] / "hparams" / "model" / "mini.yaml"

PROMPTS = (
    "generate audio caption",
    "this is a sound of",
    "question: is the note high or low?",
)
ANSWERS = ("a soft low note of a piano", "dog, rain, church bells", "high")

#: Side of the square matrices whose product gives the matrix speed.
SIDE = 1024


def make_update(model: dict, batch_size: int):
    """Return a function of a precision that does one training update."""
    pengi = model["pengi"].train()
    optimizer = torch.optim.AdamW([p for p in pengi.parameters() if p.requires_grad])
    torch.manual_seed(0)
    wavs = torch.randn(batch_size, round(model["clip_seconds"] * model["sample_rate"]))
    lens = torch.ones(batch_size)
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(batch_size)]
    rows = [
        model["tokenizer"].encode_as_ids(ANSWERS[i % len(ANSWERS)] + "</s>")
        for i in range(batch_size)
    ]
    n_token = max(map(len, rows))
    ids = torch.tensor([row + [0] * (n_token - len(row)) for row in rows])
    mask = torch.arange(n_token) < torch.tensor([[len(row)] for row in rows])

    def update(precision: str) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = -pengi(wavs / 10, lens, prompts, ids, mask).sum() / mask.sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return update


def seconds_of(function, *arguments) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def matrix_speed() -> float:
    """Return the speed of a float32 matrix product, in GFLOP/s."""
    square = torch.ones(SIDE, SIDE)
    best = min(seconds_of(torch.mm, square, square) for _ in range(10))
    return 2 * SIDE**3 / best / 1e9


def main(arguments: list[str]) -> dict[str, float]:
    """Measure and print; return precision -> median seconds per update."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--model", default=str(MODEL), help="a model's YAML")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with open(options.model) as file:
        update = make_update(load_hyperpyyaml(file), options.batch_size)
    with FlopCounterMode(display=False) as counter:
        update("fp32")
    gflop = counter.get_total_flops() / 1e9
    update("bf16")  # as the first in fp32: allocates
    times = {"fp32": [], "bf16": []}
    for _ in range(options.turns):
        for precision, seconds in times.items():
            seconds.append(seconds_of(update, precision))
    found = {precision: median(seconds) for precision, seconds in times.items()}
    speed = matrix_speed()
    print(f"{torch.backends.cpu.get_cpu_capability()}, {options.threads} threads")
    print(f"matrix product: {speed:.0f} GFLOP/s in fp32; chosen: ", end="")
    print(choose_precision("auto"))
    print(
        "| precision | s per update | GFLOP | GFLOP/s | of fp32 matrix speed | ratio |"
    )
    print("|---|---|---|---|---|---|")
    for precision, seconds in found.items():
        print(
            f"| {precision} | {seconds:.3f} | {gflop:.1f} | {gflop / seconds:.0f} "
            f"| {gflop / seconds / speed:.2f} | {found['fp32'] / seconds:.2f} |"
        )
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
