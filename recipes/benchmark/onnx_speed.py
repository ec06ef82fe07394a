#!/usr/bin/env python3
"""Size and speed of ONNX graphs under onnxruntime, against PyTorch, on CPU.

    python recipes/benchmark/onnx_speed.py [--model FOLDER] [--parts audio prompt lm]

Without ``--model``, the paper's model with random weights of full size. Graphs are
written to a temporary folder as ``pengi export-onnx`` writes them; a part that cannot
be exported is named. PyTorch (packed layers, as a loaded model has) and onnxruntime
work in turn, one clip, one thread; times are CPU seconds, which other work on the
machine hardly disturbs at one thread, and the least of some turns. A step is the time
of a greedy search less that of reading the prefix, per token.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn
from training_step import build

from pengi_plugin.commands.model import find_model
from pengi_plugin.conversion.onnx_export import graphs, write_graph
from pengi_plugin.conversion.onnx_graphs import empty_past
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.lobes.packed import pack_linears
from pengi_plugin.lobes.products import PATIENCE
from pengi_plugin.pretrained.folder import load_folder

PARTS = ("audio", "prompt", "lm")
PAPER = {"clip_seconds": 7, "sample_rate": 44_100}


def seconds(work: Callable) -> float:
    """Return the CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def open_graph(path: Path) -> onnxruntime.InferenceSession:
    """Return a graph that runs on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def encoder_works(graph: nn.Module, session, inputs: dict) -> tuple:
    """Return the two functions that encode one clip or prompt."""
    one = {name: value[:1] for name, value in inputs.items()}
    arrays = {name: value.numpy() for name, value in one.items()}
    return (lambda: graph(*one.values())), (lambda: session.run(None, arrays)[0])


def lm_works(lm: nn.Module, session, n_prefix: int, n_token: int) -> dict[str, tuple]:
    """Return name -> the two functions that read a prefix, and that search behind it.

    Arguments
    ---------
    lm : PrefixLM
        With packed layers.
    session : onnxruntime.InferenceSession
        Of ``lm.onnx``.
    n_prefix : int
        Length of the prefix.
    n_token : int
        Length of an answer.
    """
    torch.manual_seed(0)
    prefix = torch.randn(1, n_prefix, lm.d_model)
    array, empty = prefix.numpy(), empty_past(lm).numpy()
    no_token = np.zeros((1, 0), dtype=np.int64)
    search = PrefixGreedySearcher(lm, 0, n_token, n_token)

    def read():
        inputs = {"prefix": array, "ids": no_token, "past": empty}
        return session.run(None, inputs)

    def answer():
        logits, past = read()
        for _ in range(n_token - 1):
            ids = logits.argmax(-1)[:, None]
            inputs = {"prefix": array[:, :0], "ids": ids, "past": past}
            logits, past = session.run(None, inputs)
        return logits

    return {
        "prefill": (lambda: lm.prefill(prefix)[0], lambda: read()[0]),
        "greedy": (lambda: search(prefix), answer),
    }


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--new_tokens", type=int, default=10)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    if args.new_tokens < 2:
        parser.error("--new_tokens must be 2 or more: the first needs no step.")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hparams = (
        load_folder(find_model(args.model))
        if args.model
        else {**PAPER, "pengi": build("cpu")}
    )
    pengi = hparams["pengi"].eval()
    packed = pack_linears(copy.deepcopy(pengi))
    n_prefix = pengi.audio_mapper.n_prefix + pengi.text_mapper.n_prefix
    works, sizes = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, graph, inputs, outputs, varies in graphs(pengi, hparams):
            if name not in args.parts:
                continue
            path = Path(folder) / f"{name}.onnx"
            try:
                write_graph(path, graph, inputs, outputs, varies)
            except ValueError as error:
                print(error)
                continue
            session, sizes[name] = open_graph(path), path.stat().st_size
            if name == "lm":
                works |= lm_works(packed.lm, session, n_prefix, args.new_tokens)
            else:
                works[name] = encoder_works(type(graph)(packed), session, inputs)
    print("| graph | MB |\n|---|---|")
    for name, size in sizes.items():
        print(f"| {name}.onnx | {size / 1e6:.1f} |")
    print_times(works, args)


@torch.inference_mode()
def print_times(works: dict[str, tuple], args) -> None:
    """Let PyTorch and onnxruntime work in turn, and print their times.

    Arguments
    ---------
    works : dict
        Name -> (function of PyTorch, function of onnxruntime).
    args : argparse.Namespace
        ``turns`` and ``new_tokens``.
    """
    times = {name: [float("inf")] * 2 for name in works}
    if "greedy" in works:  # until all layers have chosen their products
        for _ in range(PATIENCE // (args.new_tokens - 1)):
            works["greedy"][0]()
    for turn in range(args.turns + 1):  # the first is not timed
        for name, pair in works.items():
            for number, work in enumerate(pair):
                took = seconds(work)
                if turn:
                    times[name][number] = min(took, times[name][number])
    if "greedy" in times:
        pairs = zip(times["greedy"], times["prefill"])
        times["step"] = [(a - b) / (args.new_tokens - 1) for a, b in pairs]
    print("\nms of CPU time:\n")
    print("| part | PyTorch | onnxruntime | times as fast |\n|---|---|---|---|")
    for name, (ours, theirs) in times.items():
        row = f"{ours * 1e3:.2f} | {theirs * 1e3:.2f} | {ours / theirs:.2f}"
        print(f"| {name} | {row} |")
    for name, (ours, theirs) in works.items():
        if name != "greedy":
            expected = ours().numpy()
            error = np.abs(theirs() - expected).max() / np.abs(expected).max()
            print(f"\n{name}: they differ by {error:.1e} of the largest value.")


if __name__ == "__main__":
    main()
