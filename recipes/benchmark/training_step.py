#!/usr/bin/env python3
"""Time and peak memory of a training step, ours against the straightforward one.

    python recipes/benchmark/training_step.py [--batch_size 8] [--device cuda]

Both train the paper's model (random weights of full size). The straightforward step
runs the text encoder on every batch and asks the language model for its logits at
every position of prefix and answer, padding included. Each variant runs in a process
of its own; the table shows ratios of this run.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml
from torch.nn import functional as F

MODEL = Path(__file__).resolve().parents[2] / "hparams" / "model" / "base.yaml"

#: The components' sizes, so that nothing is fetched.
CONFIGS = """
text_encoder:
    source: null
    config: {model_type: clip_text_model, projection_dim: 512, bos_token_id: 49406,
        eos_token_id: 49407}
    tokenizer: null
lm:
    source: null
    config: {model_type: gpt2}
tokenizer: null
searcher: null
modules: null
"""

PROMPTS = ("generate audio caption", "this is a sound of", "question: what is it?")


class WordHash:
    """Stands in for CLIP's tokenizer, which this benchmark has no files of."""

    def encode_as_ids(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return one id per word, framed as CLIP frames a text."""
        words = [len(word) * 1009 + ord(word[0]) for word in text.split()]
        return [49406, *words, 49407]


def build(device: str):
    """Return the paper's model with random weights."""
    with open(MODEL) as file:
        hparams = load_hyperpyyaml(file, CONFIGS, overrides_must_match=False)
    pengi = hparams["pengi"].to(device).train()
    pengi.text_encoder.tokenizer = WordHash()
    return pengi


def make_batch(batch_size: int, device: str) -> tuple:
    """Return clips of 7 s, prompts and answers of 4 to 24 tokens."""
    torch.manual_seed(0)
    wavs = torch.randn(batch_size, 308_700, device=device) / 10
    lengths = torch.randint(4, 25, (batch_size, 1))
    ids = torch.randint(50_000, (batch_size, int(lengths.max())))
    mask = torch.arange(ids.shape[1]) < lengths
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(batch_size)]
    lens = torch.ones(batch_size, device=device)
    return wavs, lens, prompts, ids.to(device), mask.to(device)


def our_loss(pengi, wavs, wav_lens, prompts, ids, mask):
    """Return the loss as the recipes compute it."""
    return -pengi(wavs, wav_lens, prompts, ids, mask).sum() / mask.sum()


def straightforward_loss(pengi, wavs, wav_lens, prompts, ids, mask):
    """Return the same loss from logits at all positions."""
    pengi.text_encoder.clear_cache()
    prefix = pengi.encode(wavs, wav_lens, prompts)
    inputs = torch.cat([prefix, pengi.lm.embed(ids)], dim=1)
    attention = F.pad(mask.long(), (prefix.shape[1], 0), value=1)
    logits = pengi.lm.model(inputs_embeds=inputs, attention_mask=attention).logits
    targets = F.pad(ids.masked_fill(~mask, -100), (prefix.shape[1], 0), value=-100)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


LOSSES = {"straightforward": straightforward_loss, "ours": our_loss}


def measure(name: str, args) -> dict:
    """Return seconds per step, peak memory in MiB and the first loss."""
    pengi = build(args.device)
    loss_of = torch.compile(LOSSES[name]) if args.compile else LOSSES[name]
    optimizer = torch.optim.Adam([p for p in pengi.parameters() if p.requires_grad])
    batch = make_batch(args.batch_size, args.device)
    on_gpu = args.device.startswith("cuda")
    times = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            loss = loss_of(pengi, *batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() / 2**20
    seconds = sorted(times[1:])[len(times[1:]) // 2]
    return {"seconds": seconds, "mib": peak, "loss": loss.item()}


def main() -> None:
    """Measure both variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", choices=sorted(LOSSES), help="print one as JSON")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args)))
        return
    found = {}
    for name in LOSSES:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[name] = json.loads(output.stdout.splitlines()[-1])
    base = found["straightforward"]
    print(f"batch {args.batch_size}, {args.device}, {torch.get_num_threads()} threads")
    print("| step | s | clips/s | peak MiB | time ratio | memory ratio |")
    print("|---|---|---|---|---|---|")
    for name, row in found.items():
        ratios = row["seconds"] / base["seconds"], row["mib"] / base["mib"]
        rate = args.batch_size / row["seconds"]
        print(
            f"| {name} | {row['seconds']:.2f} | {rate:.2f} | {row['mib']:.0f} "
            f"| {ratios[0]:.2f} | {ratios[1]:.2f} |"
        )


if __name__ == "__main__":
    main()
