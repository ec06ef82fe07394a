import importlib
from types import SimpleNamespace

import pytest
import torch

from pengi_plugin.lobes.prefix_lm import PrefixLM

TINY = {
    "model_type": "gpt2",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 8,
    "vocab_size": 230,
    "n_positions": 32,
    "tie_word_embeddings": False,
}


@pytest.fixture
def benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "recipes" / "benchmark")
    return importlib.import_module("inference_speed")


@pytest.fixture
def args():
    return SimpleNamespace(
        new_tokens=6, beam_size=3, device="cpu", dtype="fp32", clock="wall", turns=1
    )


@pytest.fixture
def lm():
    torch.manual_seed(0)
    lm = PrefixLM(config=TINY)
    for parameter in lm.parameters():
        parameter.data.normal_(std=0.5)
    return lm


def test_all_that_is_compared_gives_the_same_answers(benchmark, args, lm):
    prefix = torch.randn(3, 5, 8)
    owner = SimpleNamespace(lm=lm)
    answers = {
        name: [
            search(prefix)
            for search in benchmark.make_variant(name, owner, args).values()
        ]
        for name in benchmark.VARIANTS
    }
    greedy, beam = answers["ours"]
    assert greedy != beam
    assert all(len(answer) == 6 for answer in greedy + beam)
    assert all(found == [greedy, beam] for found in answers.values())


def test_the_floor_counts_each_weight_of_a_product_once(benchmark, args, lm):
    floor = benchmark.Floor(lm, args)
    assert floor.n_head == 230 * 8
    assert floor.n_block == 2 * (8 * 24 + 8 * 8 + 2 * 8 * 32)
    floor.bandwidth, floor.speed = 1e3, 1e4
    assert floor.n_byte == 4 * (floor.n_block + floor.n_head)
    assert floor.seconds(1, 1) == floor.n_byte / 1e3
    rows = 2 * (floor.n_block * 100 + floor.n_head * 50) / 1e4
    assert floor.seconds(100, 50) == rows


def test_the_machine_counts_at_its_fastest(benchmark, args, lm, monkeypatch):
    floor = benchmark.Floor(lm, args)
    floor.products = floor.products[:1]
    took = iter([2.0, 8.0, 4.0, 4.0, 1.0, 16.0])  # a product, a reading, turn by turn
    monkeypatch.setattr(benchmark, "best", lambda *_: next(took))
    for _ in range(3):
        floor.measure(args)
    assert floor.speed == 2 * 4096**3 / 1.0
    assert floor.bandwidth == 2**29 / 4.0
