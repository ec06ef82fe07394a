#!/usr/bin/env python3
"""Compare our HTSAT with transformers' (ClapAudioModel): time and peak memory.

    python recipes/benchmark/audio_encoder.py
    python recipes/benchmark/audio_encoder.py --precision bf16 --device cuda

Each figure is measured in a process of its own, the two encoders in turns; on a CPU,
time is that of the processor, so that other programs disturb it little; memory is
what the process holds at its peak beyond its state before the first step.
"""

import argparse
import multiprocessing
import resource
import statistics
import time

import torch

#: Batch, frames, and sizes in our words.
SIZES = {
    "small": (32, 256, {"spec_size": 128, "dim": 48, "depths": [2, 2, 2]}),
    "base": (4, 965, {"spec_size": 256, "dim": 96, "depths": [2, 2, 6, 2]}),
}
HEADS = {"small": [2, 4, 8], "base": [4, 8, 16, 32]}


def build(encoder: str, size: str) -> torch.nn.Module:
    """Return an encoder of [batch, frame, mel] without any dropout."""
    _, _, sizes = SIZES[size]
    if encoder == "ours":
        from pengi_plugin.lobes.htsat import HTSAT

        return HTSAT(**sizes, heads=HEADS[size], drop_path=0.0)
    from transformers import ClapAudioConfig, ClapAudioModel

    return ClapAudioModel(
        ClapAudioConfig(
            spec_size=sizes["spec_size"],
            patch_embeds_hidden_size=sizes["dim"],
            hidden_size=sizes["dim"] * 2 ** (len(sizes["depths"]) - 1),
            depths=sizes["depths"],
            num_attention_heads=HEADS[size],
            num_hidden_layers=len(sizes["depths"]),
            hidden_dropout_prob=0.0,
        )
    )


def peak_mib(device: str) -> float:
    """Return the peak memory so far, in MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(encoder, size, mode, given, results) -> None:
    """Put the median step time (s) and the peak memory (MiB) into ``results``."""
    torch.set_num_threads(given.threads)
    batch, n_frames, _ = SIZES[size]
    model = build(encoder, size).to(given.device).train(mode == "train")
    mel = torch.randn(given.batch or batch, n_frames, 64, device=given.device)
    clock = time.process_time if given.device == "cpu" else time.perf_counter
    before, times = peak_mib(given.device), []
    for _ in range(given.steps + 2):
        start = clock()
        with (
            torch.set_grad_enabled(mode == "train"),
            torch.autocast(given.device, torch.bfloat16, given.precision == "bf16"),
        ):
            out = model(mel) if encoder == "ours" else model(mel[:, None]).pooler_output
        if mode == "train":
            model.zero_grad()
            out.float().square().mean().backward()
        if given.device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    results.put((statistics.median(times[2:]), peak_mib(given.device) - before))


def main() -> None:
    """Print one row per size and mode, with ratios of ours to transformers'."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["small", "base"], choices=SIZES)
    parser.add_argument("--batch", type=int, help="default: 32 (small), 4 (base)")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6)
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    print(f"{given.device}, {given.precision}, {given.threads} threads")
    print("size mode     transformers            ours            ratio")
    for size in given.sizes:
        for mode in ("evaluate", "train"):
            runs = {"theirs": [], "ours": []}
            for encoder in ("theirs", "ours", "ours", "theirs"):
                arguments = (encoder, size, mode, given, results)
                process = context.Process(target=measure, args=arguments)
                process.start()
                process.join()
                if process.exitcode:
                    raise SystemExit(f"{encoder} {size} {mode} failed.")
                runs[encoder].append(results.get())
            theirs, ours = (tuple(map(min, zip(*runs[k]))) for k in ("theirs", "ours"))
            row = [f"{1000 * s:5.0f} ms {m:6.0f} MiB" for s, m in (theirs, ours)]
            ratio = [o / t for o, t in zip(ours, theirs)]
            print(f"{size} {mode:8}", *row, "{:.2f} {:.2f}".format(*ratio), sep="  ")


if __name__ == "__main__":
    main()
