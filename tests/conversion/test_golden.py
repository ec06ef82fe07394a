"""A converted checkpoint computes what the released inference code computed.

Weights, recordings and outputs: ``tests/golden/README.md``.
"""

import json

import numpy as np
import pytest
import soundfile
import torch

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.lobes import products
from pengi_plugin.lobes.packed import PackedLinear
from pengi_plugin.lobes.tokenizer import HFTokenizer

NAMES = ("base_seed0", "base_no_text_enc_seed0")


class Case:
    """A converted model, the released code's outputs, and the same recordings."""

    def __init__(self, golden, folder, pseudo, tmp_path):
        self.golden, self.expected = golden, golden["npz"]
        self.model = AudioLanguageModel.from_hparams(
            source=folder,
            overrides={"normalize_prompt": False},
            run_opts={"device": "cpu"},
        )
        self.paths = []
        for number, case in enumerate(golden["cases"]):
            wave = pseudo.wave(golden, number)
            head = self.expected["wave_head"][number]
            np.testing.assert_allclose(wave[: len(head)], head, atol=1e-6)
            self.paths.append(tmp_path / f"{number}.wav")
            soundfile.write(self.paths[-1], wave, case["sample_rate"], "FLOAT")
        self.clips = torch.stack([self.model.load_clip(path) for path in self.paths])
        self.ones = torch.ones(len(self.clips))
        self.prompts = golden["prompts"]
        self.prefix = self.model.encode_batch(self.clips, self.ones, self.prompts)


@pytest.fixture(scope="module", params=NAMES)
def case(request, convert_golden, pseudo, tmp_path_factory):
    return Case(
        *convert_golden(request.param), pseudo, tmp_path_factory.mktemp("waves")
    )


def relative_difference(ours, released):
    return np.abs(np.asarray(ours) - released).max() / np.abs(released).max()


def test_audio_embeddings_are_the_released_ones(case):
    ours = case.model.encode_audio(case.clips, case.ones)
    assert relative_difference(ours, case.expected["audio_embedding"]) < 1e-4


def test_prompt_embeddings_are_the_released_ones(case):
    if "text_embedding" not in case.expected:
        pytest.skip("this checkpoint has no text encoder")
    ours = case.model.encode_prompt(case.prompts)
    assert relative_difference(ours, case.expected["text_embedding"]) < 1e-4


def test_prompts_become_the_released_tokens(case):
    encoder = case.model.mods.pengi.text_encoder
    for prompt, ids, mask in zip(
        case.prompts, case.expected["prompt_ids"], case.expected["prompt_mask"]
    ):
        assert encoder.prompt_ids(prompt) == ids[: mask.sum()].tolist()


def test_prefixes_without_normalized_prompt_are_those_of_the_inference_code(case):
    audio, text = case.prefix.chunk(2, dim=1)
    assert relative_difference(audio[:, ::8], case.expected["audio_prefix"]) < 1e-4
    assert relative_difference(text[:, ::8], case.expected["text_prefix"]) < 1e-4


def test_prefixes_with_normalized_prompt_are_those_of_the_model_as_trained(case):
    pengi = case.model.mods.pengi
    pengi.normalize_prompt = True
    try:
        ours = case.model.encode_batch(case.clips, case.ones, case.prompts)
    finally:
        pengi.normalize_prompt = False
    assert relative_difference(ours[:, ::8], case.expected["model_prefix"]) < 1e-4


def test_log_probabilities_of_an_answer_are_the_released_ones(case):
    answer = case.golden["text"].removesuffix(case.model.hparams.answer_end)
    ours = case.model.score_batch(
        case.clips,
        case.ones,
        case.prompts,
        [answer] * len(case.clips),
        per_token=True,
    )
    expected = case.expected["target_log_probs"]
    assert ours.shape == expected.shape
    assert relative_difference(ours, expected) < 1e-4


def test_greedy_answers_are_the_released_ones(case):
    _, tokens = case.model.generate_batch(
        case.clips,
        case.ones,
        case.prompts,
        beam_size=1,
        max_new_tokens=case.golden["max_len"],
    )
    stop = case.golden["stop_id"]
    released = [
        ids[: ids.index(stop)] if stop in ids else ids
        for ids in case.golden["greedy_ids"]
    ]
    assert tokens == released


@pytest.mark.skipif(not products.has_half(), reason="no kernels for float16")
def test_sums_of_two_float16_numbers_give_the_released_answers_too(case, monkeypatch):
    """As in float32 after many answers; here from the first, and for all layers."""
    monkeypatch.setattr(products, "PATIENCE", 0)
    monkeypatch.setattr(products, "LEAST_SPLIT", 0)
    monkeypatch.setattr(products, "few_rows", lambda: 10**6)
    parts = case.model.mods.pengi.lm.modules()
    layers = [part for part in parts if isinstance(part, PackedLinear)]
    try:
        for layer in layers:
            layer._copies = None
        test_log_probabilities_of_an_answer_are_the_released_ones(case)
        test_greedy_answers_are_the_released_ones(case)
        kinds = [kind for layer in layers for kind in layer._copies.products]
        assert kinds == [products.SplitProduct] * len(layers)
    finally:
        for layer in layers:
            layer._copies = None


def test_an_answer_ends_at_the_released_stop_token(case):
    """The golden answers run to the limit: here the LM is made to choose the token."""
    stop = torch.nn.functional.one_hot(
        torch.tensor(case.golden["stop_id"]), case.model.mods.pengi.lm.vocab_size
    )
    hook = case.model.mods.pengi.lm.model.lm_head.register_forward_hook(
        lambda head, inputs, logits: logits + 1e4 * stop
    )
    try:
        answers, tokens = case.model.generate_batch(case.clips, case.ones, case.prompts)
    finally:
        hook.remove()
    assert tokens == [[]] * len(case.clips)
    assert answers == [""] * len(case.clips)


def test_the_best_hypothesis_scores_at_least_what_the_released_search_found(case):
    """By average log-probability per token, the end mark included if there is one."""
    searcher = PrefixBeamSearcher(
        case.model.mods.pengi.lm,
        case.golden["stop_id"],
        case.golden["beam_size"],
        case.golden["max_len"],
    )
    _, _, scores, _ = searcher(case.prefix)
    released = case.golden["best_beam_log_probs"]
    assert all(ours > theirs - 1e-4 for ours, theirs in zip(scores.tolist(), released))


def test_the_default_prompt_normalization_is_that_of_training(convert_golden):
    text = (convert_golden(NAMES[0])[1] / "hyperparams.yaml").read_text()
    assert "\nnormalize_prompt: True" in text


@pytest.mark.parametrize(("kind", "special"), [("gpt2", False), ("clip", True)])
def test_the_whole_vocabularies_give_the_tokens_of_the_part_kept_here(
    kind, special, shared, reference
):
    whole = HFTokenizer(shared / "reference" / "tokenizers" / kind)
    part = HFTokenizer(reference / "tokenizers" / kind)
    golden = json.loads((reference / "base_seed0.json").read_text())
    for text in (*golden["prompts"], golden["text"]):
        ids = whole.encode_as_ids(text, special)
        assert part.encode_as_ids(text, special) == ids
        assert part.decode_ids(ids) == whole.decode_ids(ids)
