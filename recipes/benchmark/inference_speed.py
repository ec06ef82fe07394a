#!/usr/bin/env python3
"""Time and peak memory of answering clips, against transformers and the floor.

    python recipes/benchmark/inference_speed.py [--device cuda] [--dtype bf16]

Answers one clip and eight clips of 7 s with the paper's model (random weights of full
size; no end mark, so that every answer is as long as allowed). Compared in one run,
turn by turn:

- ours: search over a cache that the beams of a clip share; on CPU in float32 with
  packed linear layers (``pack_linears``), as inference runs;
- ours, 16-bit weights: the same with weights rounded to float16, sums in float32
  (``precision: fp16``);
- ours, not packed: the same with the layers as they are;
- transformers: ``generate(inputs_embeds=...)`` with its own cache and the same beam;
- not cached: our search, all of the text read again at each step (takes minutes; ask
  for it with ``--variants ours "not cached"``).

The floor of a pass through the language model is the larger of: its float32 weights
(or bfloat16 with ``--dtype bf16``) read once at the measured memory bandwidth; its
multiplications at the measured matrix speed. The second floor also reads the keys and
values of each clip once, which no step can do without. On a busy machine take
``--threads 1 --clock cpu``: others hardly disturb the CPU seconds of one thread.
"""

import argparse
import copy
import gc
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from training_step import PROMPTS, build
from transformers.pytorch_utils import Conv1D

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.lobes.packed import PackedLinear, pack_linears
from pengi_plugin.lobes.products import PATIENCE, has_onednn

#: First token of the released model's end mark in GPT-2's vocabulary, a space.
EOS = 220
N_PREFIX = 80
#: Samples of a clip of the paper's model: 7 s at 44.1 kHz.
N_SAMPLE = 308_700
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
HALF, PLAIN = "ours, 16-bit weights", "ours, not packed"
VARIANTS = ("ours", HALF, PLAIN, "transformers", "not cached")


class UncachedLM(nn.Module):
    """The same language model, which reads everything again at each step."""

    def __init__(self, lm: nn.Module):
        super().__init__()
        self.lm = lm
        self.vocab_size = lm.vocab_size

    def prefill(self, prefix: Tensor, prefix_lens: Tensor | None = None):
        """Return first logits and a state, as ``PrefixLM`` does."""
        return self.lm.prefill(prefix)[0], UncachedState(prefix)

    def step(self, ids: Tensor, state: "UncachedState") -> Tensor:
        """Return the next logits [row, vocab]."""
        embedded = self.lm.embed(ids.view(*state.read.shape[:2], 1))
        state.read = torch.cat([state.read, embedded.to(state.read.dtype)], dim=2)
        return self.lm.prefill(state.read.flatten(0, 1))[0]


class UncachedState:
    """All embeddings of each item and beam [item, beam, token, d_model]."""

    def __init__(self, prefix: Tensor):
        self.read = prefix[:, None]
        self.n_item = len(prefix)

    def repeat(self, n: int) -> None:
        """Make every item ``n`` beams."""
        self.read = self.read.expand(-1, n, -1, -1)

    def reorder(self, beams: Tensor) -> None:
        """Let each beam go on from beam ``beams`` [item, beam] of its item."""
        self.read = self.read[torch.arange(self.n_item)[:, None], beams]


def searchers(lm: nn.Module, args) -> dict[str, Callable]:
    """Return our searchers, which never end early: name -> prefix -> answers."""
    n = args.new_tokens
    greedy = PrefixGreedySearcher(lm, EOS, n, n)
    beam = PrefixBeamSearcher(lm, EOS, args.beam_size, n, n)
    return {
        "greedy": lambda prefix: greedy(prefix)[0],
        f"beam {args.beam_size}": lambda prefix: beam(prefix)[0],
    }


def transformers_searchers(lm: nn.Module, args) -> dict[str, Callable]:
    """Return the same searches by ``generate`` of the model as transformers has it."""
    model = type(lm.model)(lm.model.config).to(args.device, DTYPES[args.dtype]).eval()
    model.load_state_dict(lm.model.state_dict())

    def search(n_beam: int) -> Callable:
        def generate(prefix: Tensor) -> list[list[int]]:
            with torch.inference_mode():
                return model.generate(
                    inputs_embeds=prefix.to(model.dtype),
                    attention_mask=torch.ones(prefix.shape[:2], device=prefix.device),
                    num_beams=n_beam,
                    max_new_tokens=args.new_tokens,
                    min_new_tokens=args.new_tokens,
                    do_sample=False,
                    eos_token_id=EOS,
                    pad_token_id=EOS,
                ).tolist()

        return generate

    return {"greedy": search(1), f"beam {args.beam_size}": search(args.beam_size)}


def make_variant(name: str, pengi: nn.Module, args) -> dict[str, Callable]:
    """Return the searches of one variant over a language model of its own."""
    if name == "transformers":
        return transformers_searchers(pengi.lm, args)
    lm = copy.deepcopy(pengi.lm)
    if name != PLAIN and args.dtype == "fp32":
        pack_linears(lm, half=name == HALF)
    return searchers(UncachedLM(lm) if name == "not cached" else lm, args)


def n_untimed(args) -> int:
    """Return after how many searches all layers have chosen their products."""
    return 1 + PATIENCE // (args.new_tokens - 1)


def seconds(work: Callable, args) -> float:
    """Time one call."""
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    if args.device.startswith("cuda"):
        torch.cuda.synchronize()
    start = clock()
    work()
    if args.device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - start


def best(work: Callable, args, n: int | None = None) -> float:
    """Return the least time of some calls after a first one."""
    work()
    return min(seconds(work, args) for _ in range(n or args.turns))


class Floor:
    """Say how fast a pass through the LM could be at best on this machine."""

    def __init__(self, lm: nn.Module, args):
        kinds = (nn.Linear, Conv1D, PackedLinear)
        sizes = [m.weight.numel() for m in lm.modules() if isinstance(m, kinds)]
        self.n_head = lm.model.get_output_embeddings().weight.numel()
        self.n_block = sum(sizes) - self.n_head
        dtype = DTYPES[args.dtype]
        self.n_byte = sum(sizes) * dtype.itemsize
        config = lm.model.config
        self.n_slot_byte = 2 * config.n_layer * config.n_embd * dtype.itemsize
        data = torch.ones(2**29 // dtype.itemsize, dtype=dtype, device=args.device)
        square = torch.randn(4096, 4096, dtype=dtype, device=args.device)
        layer = nn.Linear(4096, 4096, bias=False).to(square)
        self.reads, self.products = data.sum, [lambda: layer(square)]
        if has_onednn():
            packed = PackedLinear(layer)
            self.products.append(lambda: packed(square))
        self.bandwidth = self.speed = 0.0  # bytes/s, operations/s: the highest seen

    def measure(self, args) -> None:
        """Measure bandwidth and speed; keep them where they are the highest so far."""
        with torch.inference_mode():
            product = min(best(product, args, 3) for product in self.products)
            self.speed = max(self.speed, 2 * 4096**3 / product)
            self.bandwidth = max(self.bandwidth, 2**29 / best(self.reads, args, 3))

    def seconds(self, n_row: int, n_head_row: int, n_slot: int = 0) -> float:
        """Return the least time of a pass over so many rows.

        Arguments
        ---------
        n_row : int
            Rows through the layers.
        n_head_row : int
            Rows through the output layer.
        n_slot : int
            Positions of which keys and values are read.
        """
        n_operation = 2 * (self.n_block * n_row + self.n_head * n_head_row)
        n_byte = self.n_byte + n_slot * self.n_slot_byte
        return max(n_byte / self.bandwidth, n_operation / self.speed)

    def steps(self, n_clip: int, n_beam: int, args, with_slots: bool = False) -> float:
        """Return the least time of all steps after the first token."""
        n_row = n_clip * n_beam
        slots = [n_clip * (N_PREFIX + n_beam * i) for i in range(1, args.new_tokens)]
        return sum(self.seconds(n_row, n_row, with_slots * slot) for slot in slots)


def encode_parts(pengi: nn.Module, n: int, args) -> tuple[Tensor, dict[str, float]]:
    """Return the prefixes of ``n`` clips and the seconds of what makes them."""
    torch.manual_seed(0)
    wavs = torch.randn(n, N_SAMPLE, device=args.device) / 10
    lens = torch.ones(n, device=args.device)
    prompts = [f"{PROMPTS[i % len(PROMPTS)]} {i}" for i in range(n)]

    def audio() -> Tensor:
        return pengi.audio_mapper(pengi.encode_audio(wavs, lens))

    def known_prompts() -> Tensor:
        return pengi.text_mapper(pengi.encode_prompt(prompts))

    def new_prompts() -> Tensor:
        pengi.text_encoder.clear_cache()
        return known_prompts()

    bf16 = args.dtype == "bf16"
    device = torch.device(args.device).type
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
        parts = {
            "audio": best(audio, args),
            "prompt, new": best(new_prompts, args),
            "prompt, known": best(known_prompts, args),
        }
        return torch.cat([audio(), known_prompts()], dim=1).float(), parts


def load(args) -> nn.Module:
    """Return the paper's model, ready for inference."""
    torch.manual_seed(0)
    pengi = build(args.device).eval()
    if args.dtype == "bf16":
        pengi.lm.bfloat16()
    return pengi


def measure_peak(name: str, args) -> None:
    """Print the peak memory of one variant's searches in MiB, as JSON."""
    pengi = load(args)
    width = pengi.lm.d_model
    searches = make_variant(name, pengi, args)
    del pengi  # the variant has a language model of its own
    prefix = torch.randn(max(args.batch_size), N_PREFIX, width, device=args.device)
    peaks = {}
    forget_peak()
    for search, run in searches.items():
        for n_clip in args.batch_size:
            for _ in range(n_untimed(args) if name == "ours" else 1):
                run(prefix[:n_clip])
        peaks[search] = peak_mib(args.device)
    print(json.dumps(peaks))


def forget_peak() -> None:
    """Let the peak count from now on (on Linux), when the model has been built."""
    gc.collect()
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib(device: str) -> float:
    """Return the most memory that this process has used so far."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage, this forgets the process that started us
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def peak_of(name: str) -> dict[str, float]:
    """Return ``measure_peak`` of a variant, in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--peak_of", name]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def parse() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--beam_size", type=int, default=5)
    parser.add_argument("--new_tokens", type=int, default=30)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="fp32", choices=sorted(DTYPES))
    parser.add_argument("--threads", type=int, help="PyTorch's threads on CPU")
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:4])
    parser.add_argument("--peak_of", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.new_tokens < 2:
        parser.error("--new_tokens must be 2 or more: the first needs no step.")
    return args


def compare(
    prefix: Tensor, variants: dict, floor: Floor, args
) -> dict[tuple[str, str], float]:
    """Return the seconds of each (search, variant), measured turn by turn.

    The machine is measured in each turn too: its speed changes from minute to minute.
    """
    times, answers = {}, {}
    for turn in range(-n_untimed(args), args.turns):
        if turn >= -1:
            floor.measure(args)
        for name, searches in variants.items():
            for search, run in searches.items():
                if turn < -1 and name != "ours":  # nothing to wait for
                    continue
                if turn < 0:
                    answers[search, name] = run(prefix)
                    continue
                took = seconds(lambda: run(prefix), args)  # noqa: B023
                key = (search, name)
                times[key] = min(took, times.get(key, took))
    for (search, name), found in answers.items():
        if found != answers[search, "ours"]:
            print(f"note: {name} gives other answers than ours in {search}")
    return times


def main() -> None:
    """Measure everything and print the tables."""
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.peak_of:
        measure_peak(args.peak_of, args)
        return
    names = ["ours"] + [name for name in args.variants if name != "ours"]
    if args.dtype != "fp32" or args.device != "cpu":
        names = [name for name in names if name not in (HALF, PLAIN)]
    pengi = load(args)
    floor = Floor(pengi.lm, args)
    variants = {name: make_variant(name, pengi, args) for name in names}
    if args.dtype == "fp32":
        pack_linears(pengi)
    found = []
    for n_clip in args.batch_size:
        prefix, parts = encode_parts(pengi, n_clip, args)
        with torch.inference_mode():
            prefill = best(lambda: pengi.lm.prefill(prefix), args)  # noqa: B023
        found.append((n_clip, parts, prefill, compare(prefix, variants, floor, args)))
    peaks = {name: peak_of(name) for name in names}
    print_tables(args, floor, found, peaks)


def print_tables(args, floor, found: list[tuple], peaks: dict) -> None:
    """Print what was measured as Markdown.

    Arguments
    ---------
    args : argparse.Namespace
        The settings.
    floor : Floor
        Of this machine.
    found : list of tuple
        (clips, seconds of parts, of reading the prefix, of (search, variant)).
    peaks : dict
        variant -> search -> MiB with the largest number of clips.
    """
    n_step = args.new_tokens - 1
    threads = "" if args.device != "cpu" else f", {torch.get_num_threads()} threads"
    print(
        f"clips of 7 s, prefix of {N_PREFIX}, {args.new_tokens} new tokens, "
        f"{args.dtype}, {args.device}{threads}, {args.clock} clock; machine: "
        f"{floor.bandwidth / 1e9:.0f} GB/s, {floor.speed / 1e9:.0f} GFLOP/s\n"
    )
    beams = {"greedy": 1, f"beam {args.beam_size}": args.beam_size}
    print(
        "| clips | search | variant | s | ours is faster by | ms of a step | peak MiB "
        "| times the floor | with keys and values |\n" + "|---" * 9 + "|"
    )
    for n_clip, _, prefill, times in found:
        first = floor.seconds(n_clip * N_PREFIX, n_clip)
        for (search, name), took in times.items():
            least, least_all = (
                first + floor.steps(n_clip, beams[search], args, with_slots)
                for with_slots in (False, True)
            )
            print(
                f"| {n_clip} | {search} | {name} | {took:.2f} "
                f"| {took / times[search, 'ours']:.2f} "
                f"| {(took - prefill) / n_step * 1e3:.1f} | {peaks[name][search]:.0f} "
                f"| {took / least:.2f} | {took / least_all:.2f} |"
            )
    print("\n| clips | part of ours | ms per clip | times the floor |")
    print("|---|---|---|---|")
    for n_clip, parts, prefill, times in found:
        for part, took in parts.items():
            print(f"| {n_clip} | {part} | {took / n_clip * 1e3:.1f} | |")
        rows = [("prefill", prefill, floor.seconds(n_clip * N_PREFIX, n_clip))]
        for search, n_beam in beams.items():
            took = times[search, "ours"] - prefill
            steps = floor.steps(n_clip, n_beam, args)
            rows.append((f"{n_step} steps, {search}", took, steps))
        for part, took, least in rows:
            ms = took / n_clip * 1e3
            print(f"| {n_clip} | {part} | {ms:.1f} | {took / least:.2f} |")


if __name__ == "__main__":
    main()
