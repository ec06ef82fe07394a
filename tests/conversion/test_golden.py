"""A converted checkpoint computes what the released inference code computes."""

import numpy as np
import pytest
import soundfile
import torch

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.inference import AudioLanguageModel

NAMES = ("base_no_text_enc_seed0", "base_seed0")


class Case:
    """A converted model, what the released code says, and the same recordings."""

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
            np.testing.assert_array_equal(wave[: len(head)], head)
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
    if not case.expected["text_embedding"].size:
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


def test_the_best_hypothesis_scores_at_least_what_the_released_search_found(case):
    """By average log-probability per token, the end mark included if there is one."""
    searcher = PrefixBeamSearcher(
        case.model.mods.pengi.lm,
        case.golden["stop_id"],
        case.golden["beam_size"],
        case.golden["max_len"],
    )
    _, _, scores, _ = searcher(case.prefix)
    released = [beam["avg_log_probs"][0] for beam in case.golden["beam"]]
    assert all(ours > theirs - 1e-4 for ours, theirs in zip(scores.tolist(), released))


def test_the_default_prompt_normalization_is_that_of_training(convert_golden):
    text = (convert_golden(NAMES[0])[1] / "hyperparams.yaml").read_text()
    assert "\nnormalize_prompt: True" in text
