"""Pseudo-random weights and recordings, from which the golden outputs were computed.

The released checkpoints are files of up to 2 GB. Here a weight depends on its name, its
shape and a random seed alone, so that a clone can make the same ones without a file.
"""

import math
import re
import zlib

import numpy as np
import torch

RUNNING_VARIANCE = re.compile(r"running_var$")
NORM_WEIGHT = re.compile(r"(norm\d?|bn0|ln_\d|ln_f)\.weight$")
TOKEN_EMBEDDINGS = re.compile(r"wte\.weight$")
POSITION_EMBEDDINGS = re.compile(r"wpe\.weight$")
GPT2_MATRIX = re.compile(r"\.gpt\..*(c_attn|c_fc|c_proj)\.weight$")

#: First token of " <|endoftext|>" in GPT-2's vocabulary, at which generation stops.
STOP_ID = 220

#: One matrix under two names.
OUTPUT_LAYER = "caption_decoder.gpt.lm_head.weight"
EMBEDDINGS = "caption_decoder.gpt.transformer.wte.weight"


def weight(name: str, shape: list[int], seed: int) -> np.ndarray:
    """Return the weight of a name, float32.

    GPT-2's matrices and embeddings are larger than those of a fresh model, so that its
    answers depend on the prefix; the stop token's embedding is larger still.
    """
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = generator.standard_normal(shape, dtype=np.float32)
    if RUNNING_VARIANCE.search(name):
        return (np.abs(values) * 0.5 + 0.75).astype(np.float32)
    if NORM_WEIGHT.search(name):
        return (values * 0.1 + 1).astype(np.float32)
    if values.ndim < 2:
        return (values * 0.1).astype(np.float32)
    values *= 1 / math.sqrt(math.prod(shape[1:]))
    if TOKEN_EMBEDDINGS.search(name):
        values *= 1.5
        values[STOP_ID] *= 1.3
    if POSITION_EMBEDDINGS.search(name):
        values *= 4
    if GPT2_MATRIX.search(name):
        values *= 2.5
    return values


def state_dict(golden: dict) -> dict[str, torch.Tensor]:
    """Return a checkpoint in the released layout.

    Arguments
    ---------
    golden : dict
        A json file of this folder: ``seed``, ``keys`` (name -> shape) and
        ``derived_keys``, which follow from the configuration and are left out.
    """
    learned = golden["keys"].keys() - {*golden["derived_keys"], OUTPUT_LAYER}
    weights = {
        name: torch.from_numpy(weight(name, golden["keys"][name], golden["seed"]))
        for name in sorted(learned)
    }
    return {**weights, OUTPUT_LAYER: weights[EMBEDDINGS]}


def wave(golden: dict, number: int) -> np.ndarray:
    """Return recording ``number``: six sine sweeps and noise, float32 [sample]."""
    seconds, rate = (golden["cases"][number][key] for key in ("seconds", "sample_rate"))
    generator = np.random.default_rng([golden["seed"], 1000 + number])
    time = np.arange(int(seconds * rate)) / rate
    mixed = np.zeros(len(time))
    for _ in range(6):
        first_hertz = generator.uniform(80, 5000)
        last_hertz = generator.uniform(80, 5000)
        level = generator.uniform(0.02, 0.12)
        phase = generator.uniform(0, 6.28)
        slope = (last_hertz - first_hertz) / (2 * seconds)
        cycles = first_hertz * time + slope * time * time
        mixed += level * np.sin(2 * np.pi * cycles + phase)
    mixed += 0.02 * generator.standard_normal(len(time))
    return mixed.astype(np.float32)
