#!/usr/bin/env python3
"""Size and speed of weights of 8 and 16 bits on CPU, against float32.

    python recipes/benchmark/int8.py [--batch_size 8] [--threads 1]
    python recipes/benchmark/int8.py --model FOLDER    # its sizes alone

The paper's model with random weights of full size. Sizes are those of all files of a
folder: with ``--model`` also tokenizers, YAML and card, the same in every precision.
Both searches answer in turn, with packed layers in float32 (``pack_linears``), with
their weights in 16 bits (``precision: fp16``) and with int8 layers (``to_int8``), each
turn timed in CPU seconds, which other work on the machine hardly disturbs at one
thread; a step is the time of the search less that of reading the prefix, per token.
"""

import argparse
import copy
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from speechbrain.utils.fetching import FetchFrom
from torch import nn
from training_step import build

from pengi_plugin.commands.model import add_trust, find_model
from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.lobes.int8 import to_int8
from pengi_plugin.lobes.packed import pack_linears
from pengi_plugin.lobes.products import PATIENCE
from pengi_plugin.pretrained.int8 import write_int8
from pengi_plugin.storage.parts import change_values, save_part

EOS = 220  # as in inference_speed.py
#: Sizes of the paper's model: 7 s at 44.1 kHz, and two prefixes of 40 embeddings.
N_SAMPLE = 308_700
N_PREFIX = 80


def write_parts(model: nn.Module, folder: Path, is_short: bool = False) -> None:
    """Write a model's parts into a new folder, as those of ``pengi export``."""
    folder.mkdir()
    for name, part in model.named_children():
        if part.state_dict():
            save_part(part, folder / f"{name}.safetensors", is_short)


def to_half(folder: Path) -> None:
    """Let the parts in a folder hold float16."""
    for path in folder.glob("*.safetensors"):
        change_values(path, lambda v: v.half() if v.is_floating_point() else v)


def print_sizes(plain: Path, small: Path) -> None:
    """Print the bytes of all files of a folder in float32, float16 and int8."""
    half = plain.parent / "float16"
    shutil.copytree(plain, half)
    to_half(half)
    folders = {"float32": plain, "float16": half, "int8": small}
    sizes = {
        name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for name, folder in folders.items()
    }
    print("| folder | MB | of float16 |\n|---|---|---|")
    for name, size in sizes.items():
        print(f"| {name} | {size / 1e6:.2f} | {size / sizes['float16']:.4f} |")


def print_sizes_of(model: str, trust: bool) -> None:
    """Print the sizes of a model's folder in float32 and of the same in int8."""
    with tempfile.TemporaryDirectory() as folder:
        plain, small = Path(folder) / "float32", Path(folder) / "int8"
        kind, path = find_model(model)
        if kind != FetchFrom.LOCAL:
            raise ValueError(f"Give a folder, not a model of the hub; got {model}.")
        shutil.copytree(path, plain)
        shutil.copytree(path, small)
        write_int8(small, trust)
        print_sizes(plain, small)


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
    parser.add_argument("--model", help="folder in float32, of which sizes are printed")
    add_trust(parser)
    args = parser.parse_args()
    if args.new_tokens < 2:
        parser.error("--new_tokens must be 2 or more: the first needs no step.")
    if args.model:
        print_sizes_of(args.model, args.trust)
        return
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        plain = build("cpu").eval()
        small = to_int8(copy.deepcopy(plain))
        with tempfile.TemporaryDirectory() as folder:
            folders = Path(folder) / "float32", Path(folder) / "int8"
            write_parts(plain, folders[0])
            write_parts(small, folders[1], is_short=True)
            print_sizes(*folders)
        half = pack_linears(copy.deepcopy(plain), half=True)
        variants = {"float32": works(pack_linears(plain), args)}
        variants |= {"16 bits": works(half, args), "int8": works(small, args)}
        for _ in range(PATIENCE // (args.new_tokens - 1)):
            variants["float32"]["greedy"]()  # until layers have chosen their products
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
    print("| part | float32 | 16 bits | times as fast | int8 | times as fast |")
    print("|---" * 6 + "|")
    for name in dict.fromkeys(name for name, _ in times):
        plain, *others = (times[name, kind] * 1e3 for kind in variants)
        ratios = [f"{other:.1f} | {plain / other:.2f}" for other in others]
        print(f"| {name} | {plain:.1f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
