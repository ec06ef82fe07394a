#!/usr/bin/env python3
"""Size and speed of int8 weights on CPU, against float32.

    python recipes/benchmark/int8.py [--batch_size 8] [--threads 1]

The paper's model with random weights of full size. Both searches answer in turn, with
packed layers in float32 (``pack_linears``) and with int8 layers (``to_int8``), each
turn timed in CPU seconds, which other work on the machine hardly disturbs at one
thread; a step is the time of the search less that of reading the prefix, per token.
"""

import argparse
import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from training_step import build

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.lobes.int8 import to_int8
from pengi_plugin.lobes.packed import pack_linears

EOS = 220  # as in inference_speed.py
#: Sizes of the paper's model: 7 s at 44.1 kHz, and two prefixes of 40 embeddings.
N_SAMPLE = 308_700
N_PREFIX = 80


def n_byte(module: nn.Module, itemsize: int | None = None) -> int:
    """Return the bytes of a model's weights, tied ones once.

    Arguments
    ---------
    module : torch.nn.Module
        The model.
    itemsize : int
        Bytes of a floating-point number; as they are if None.
    """
    tensors = {value.data_ptr(): value for value in module.state_dict().values()}
    return sum(
        value.numel()
        * (itemsize if itemsize and value.is_floating_point() else value.itemsize)
        for value in tensors.values()
    )


def seconds(work: Callable) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def works(pengi: nn.Module, args) -> dict[str, Callable]:
    """Return what is timed: name -> function."""
    torch.manual_seed(0)
    lm, n = pengi.lm, args.new_tokens
    prefix = torch.randn(args.batch_size, N_PREFIX, lm.d_model)
    wavs = torch.randn(args.batch_size, N_SAMPLE) / 10
    lens = torch.ones(args.batch_size)
    greedy = PrefixGreedySearcher(lm, EOS, n, n)
    beam = PrefixBeamSearcher(lm, EOS, args.beam_size, n, n)
    return {
        "audio encoder": lambda: pengi.encode_audio(wavs, lens),
        "prefill": lambda: lm.prefill(prefix),
        "greedy": lambda: greedy(prefix),
        f"beam {args.beam_size}": lambda: beam(prefix),
    }


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--beam_size", type=int, default=5)
    parser.add_argument("--new_tokens", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        plain = build("cpu").eval()
        small = to_int8(copy.deepcopy(plain))
        print("| weights | MB | of float16 |\n|---|---|---|")
        half = n_byte(plain, 2)
        sizes = {"float32": n_byte(plain), "float16": half, "int8": n_byte(small)}
        for name, size in sizes.items():
            print(f"| {name} | {size / 1e6:.1f} | {size / half:.3f} |")
        variants = {"float32": works(pack_linears(plain), args)}
        variants["int8"] = works(small, args)
        times = {}
        for turn in range(args.turns + 1):  # the first is not timed
            for kind, named in variants.items():
                for name, work in named.items():
                    took = seconds(work)
                    if turn:
                        key = name, kind
                        times[key] = min(took, times.get(key, took))
    for kind in variants:
        for search in ("greedy", f"beam {args.beam_size}"):
            steps = times[search, kind] - times["prefill", kind]
            times[f"step, {search}", kind] = steps / (args.new_tokens - 1)
    print(f"\n{args.batch_size} clips, {args.threads} thread(s), ms of CPU time:\n")
    print("| part | float32 | int8 | times as fast |\n|---|---|---|---|")
    for name in dict.fromkeys(name for name, _ in times):
        long, short = (times[name, kind] * 1e3 for kind in variants)
        print(f"| {name} | {long:.1f} | {short:.1f} | {long / short:.2f} |")


if __name__ == "__main__":
    main()
