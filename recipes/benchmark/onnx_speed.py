#!/usr/bin/env python3
"""Size, speed and answers of a model's ONNX graphs, against PyTorch, greedy search.

    python recipes/benchmark/onnx_speed.py MODEL ONNX_FOLDER WAV... [--prompt TEXT]

``ONNX_FOLDER`` is what ``pengi export-onnx MODEL ONNX_FOLDER`` wrote. Each file is
answered by both in turn, one at a time; times are CPU seconds of one thread, of what
follows reading the file, and the least of some turns.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import torch

from pengi_plugin.inference import AudioLanguageModel


def load_example():
    """Return the module ``recipes/onnx/answer.py``."""
    path = Path(__file__).parents[1] / "onnx" / "answer.py"
    spec = importlib.util.spec_from_file_location("onnx_answer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("onnx_folder")
    parser.add_argument("wavs", nargs="+")
    parser.add_argument("--prompt", default="generate audio caption")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    example = load_example()
    graphs = example.Answerer(args.onnx_folder, n_thread=1)
    model = AudioLanguageModel.from_hparams(
        source=args.model, run_opts={"device": "cpu"}
    )

    def by_torch(clip):
        clip, ones = torch.from_numpy(clip)[None], torch.ones(1)
        return model.generate_batch(clip, ones, args.prompt, beam_size=1)[1][0]

    def by_onnx(clip):
        return graphs.answer(clip, args.prompt)[1]

    clips = [model.load_clip(path).numpy() for path in args.wavs]
    answers = {name: [] for name in ("torch", "onnx")}
    seconds = {name: [float("inf")] * len(clips) for name in answers}
    for turn in range(args.turns + 1):  # the first is not timed
        for number, clip in enumerate(clips):
            for name, answer in (("torch", by_torch), ("onnx", by_onnx)):
                start = time.process_time()
                tokens = answer(clip)
                took = time.process_time() - start
                if turn == 0:
                    answers[name].append(tokens)
                else:
                    seconds[name][number] = min(took, seconds[name][number])
    same = sum(a == b for a, b in zip(answers["torch"], answers["onnx"]))
    sizes = [
        sum(path.stat().st_size for path in Path(folder).glob(pattern)) / 1e6
        for folder, pattern in (
            (args.model, "*.safetensors"),
            (args.onnx_folder, "*.onnx"),
        )
    ]
    print("| runtime | MB | ms per answer |\n|---|---|---|")
    for name, size in zip(answers, sizes):
        print(f"| {name} | {size:.1f} | {sum(seconds[name]) / len(clips) * 1e3:.1f} |")
    print(f"\n{same} of {len(clips)} answers are the same.")


if __name__ == "__main__":
    main()
