#!/usr/bin/env python3
"""Answer a prompt about a WAV file with numpy and onnxruntime: no PyTorch.

    python recipes/onnx/answer.py FOLDER clip.wav "generate audio caption"

``FOLDER`` is what ``pengi export-onnx`` wrote. Beside these two packages, only that of
its tokenizer is needed: ``tokenizers`` (a .json) or ``sentencepiece`` (a .model). This
file is also the description of the graphs for other languages.
"""

import argparse
import json
import wave
from pathlib import Path

import numpy as np
import onnxruntime


class Tokenizer:
    """Text to ids and back, of a file of ``tokenizers`` or ``sentencepiece``."""

    def __init__(self, path: Path):
        self.is_json = path.suffix == ".json"
        if self.is_json:
            import tokenizers

            self.backend = tokenizers.Tokenizer.from_file(str(path))
            self.backend.no_truncation()
            self.backend.no_padding()
        else:
            import sentencepiece

            self.backend = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def encode(self, text: str, framed: bool) -> list[int]:
        """Return the ids of a text; ``framed`` by the tokenizer's special tokens."""
        if self.is_json:
            return self.backend.encode(text, add_special_tokens=framed).ids
        return self.backend.encode(text)

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids."""
        if self.is_json:
            return self.backend.decode(ids, skip_special_tokens=False)
        return self.backend.decode(ids)


class Answerer:
    """Greedy search over the graphs of a folder.

    Arguments
    ---------
    folder : str
        What ``pengi export-onnx`` wrote.
    n_thread : int
        Of onnxruntime; 0 takes all cores.
    """

    def __init__(self, folder: str, n_thread: int = 0):
        folder = Path(folder)
        self.settings = json.loads((folder / "pengi.json").read_text("utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_thread
        self.graphs = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", options)
            for name in ("audio", "prompt", "lm")
        }
        self.tokenizer = Tokenizer(folder / self.settings["tokenizer"])
        self.prompt_tokenizer = Tokenizer(folder / self.settings["prompt_tokenizer"])

    def run(self, graph: str, **inputs: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of a graph."""
        return self.graphs[graph].run(None, inputs)

    def encode_prompt(self, prompt: str) -> np.ndarray:
        """Return the prompt's half of the prefix [1, n_prefix, d_model]."""
        form = self.settings["prompt"]
        ids = self.prompt_tokenizer.encode(prompt + form["end"], form["framed"])
        if not 0 < len(ids) <= form["max_tokens"]:
            raise ValueError(
                f"A prompt has 1 to {form['max_tokens']} tokens; {prompt!r} has "
                f"{len(ids)}."
            )
        if form["length"]:
            ids = ids + [form["pad"]] * (form["length"] - len(ids))
        return self.run("prompt", ids=np.array([ids], dtype=np.int64))[0]

    def encode_clip(self, wav: np.ndarray) -> np.ndarray:
        """Return a clip's half of the prefix [1, n_prefix, d_model].

        Arguments
        ---------
        wav : numpy.ndarray
            Mono float samples at the model's rate [sample]; short ones are repeated,
            of long ones the beginning is taken.
        """
        n_sample = self.settings["n_sample"]
        if wav.ndim != 1 or not len(wav) or not np.isfinite(wav).all():
            raise ValueError(f"A clip is finite samples [sample]; got {wav.shape}.")
        wav = np.resize(wav, n_sample).astype(np.float32)  # repeats, or cuts
        return self.run("audio", wav=wav[None])[0]

    def answer(self, wav: np.ndarray, prompt: str) -> tuple[str, list[int]]:
        """Return an answer and its tokens, the likeliest token at each step."""
        prefix = np.concatenate(
            [self.encode_clip(wav), self.encode_prompt(prompt)], axis=1
        )
        no_ids = np.zeros((1, 0), dtype=np.int64)
        no_prefix = np.zeros((1, 0, self.settings["d_model"]), dtype=np.float32)
        past = np.zeros(self.settings["past"], dtype=np.float32)
        logits, past = self.run("lm", prefix=prefix, ids=no_ids, past=past)
        tokens = []
        while len(tokens) < self.settings["max_new_tokens"]:
            token = int(logits[0].argmax())
            if token == self.settings["eos_index"]:
                break
            tokens.append(token)
            if past.shape[4] == self.settings["max_positions"]:
                break
            ids = np.array([[token]], dtype=np.int64)
            logits, past = self.run("lm", prefix=no_prefix, ids=ids, past=past)
        return self.tokenizer.decode(tokens).strip(), tokens


def read_wav(path: str, sample_rate: int) -> np.ndarray:
    """Return the samples of a WAV file of 16 bits, channels mixed [sample]."""
    with wave.open(str(path)) as file:
        rate, width = file.getframerate(), file.getsampwidth()
        if rate != sample_rate or width != 2:
            raise ValueError(
                f"{path} has {rate} Hz and {8 * width} bits; this example reads "
                f"{sample_rate} Hz and 16 bits. Convert it, for instance with "
                f"`sox {path} -r {sample_rate} -b 16 new.wav`."
            )
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.reshape(-1, file.getnchannels()).mean(axis=1) / 32768


def main() -> None:
    """Print the answer to one prompt about one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("wav")
    parser.add_argument("prompt", nargs="?")
    args = parser.parse_args()
    answerer = Answerer(args.folder)
    wav = read_wav(args.wav, answerer.settings["sample_rate"])
    prompt = args.prompt or answerer.settings["default_prompt"]
    print(answerer.answer(wav, prompt)[0])


if __name__ == "__main__":
    main()
