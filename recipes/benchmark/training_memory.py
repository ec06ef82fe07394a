#!/usr/bin/env python3
"""What a training step keeps for its gradients, with and without checkpointed parts.

    python recipes/benchmark/training_memory.py [--batch_size 2]

The paper's model (random weights of full size) on a CPU, in float32. Bytes are those of
the tensors that the forward pass keeps, weights left out; operations are PyTorch's
count, forward and backward. Neither depends on the machine or on what else it does.
"""

import argparse
import sys

import torch
from tqdm import tqdm
from training_step import build, make_batch, our_loss

from pengi_plugin.training.cost import Cost
from pengi_plugin.training.gradient_checkpointing import checkpoint_parts

#: The parts that are checkpointed, one row of the table each.
PARTS = ((), ("audio_encoder",), ("lm",), ("audio_encoder", "lm"))


def measure(parts: tuple[str, ...], batch_size: int) -> tuple[int, int]:
    """Return the bytes that a step keeps, and its operations."""
    torch.manual_seed(0)
    pengi = build("cpu")
    checkpoint_parts(pengi, parts)
    weights = {weight.data_ptr() for weight in pengi.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    cost = Cost(pengi, 1, 1, "cpu", "fp32")
    with cost.counting():
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = our_loss(pengi, *make_batch(batch_size, "cpu"))
        n_byte = sum(kept.values())
        loss.backward()
    return n_byte, cost.batch_operations


def main(arguments: list[str]) -> list[tuple[int, int]]:
    """Measure and print the table; return bytes and operations of each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=2)
    batch_size = parser.parse_args(arguments).batch_size
    found = [measure(parts, batch_size) for parts in tqdm(PARTS)]
    print("| gradient_checkpointing | MiB per clip | ratio | GFLOP per clip | ratio |")
    print("|---|---|---|---|---|")
    for parts, (n_byte, operations) in zip(PARTS, found, strict=True):
        print(
            f"| [{', '.join(parts)}] | {n_byte / batch_size / 2**20:.0f} "
            f"| {n_byte / found[0][0]:.2f} | {operations / batch_size / 1e9:.1f} "
            f"| {operations / found[0][1]:.2f} |"
        )
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
