"""Log-probabilities of given answers."""

import numpy as np
import pytest
import torch


def test_added_text_conditions_scores_too(model, noise):
    wavs, ones = torch.from_numpy(noise(1.0))[None], torch.ones(1)
    tokenizer = model.tokenizer
    head, tail = "a dog", "barks"
    joined = tokenizer.encode_as_ids(head) + tokenizer.encode_as_ids(tail)
    ids = torch.tensor([joined + tokenizer.encode_as_ids(model.hparams.answer_end)])
    prefix = model.encode_batch(wavs, ones, "who?")
    whole = model.mods.pengi.lm.answer_log_probs(prefix, ids)
    n_head = len(tokenizer.encode_as_ids(head))
    score = model.score_batch(wavs, ones, "who?", [tail], add_texts=[head])
    torch.testing.assert_close(score, whole[:, n_head:].sum(1), rtol=1e-4, atol=1e-4)


def test_scores_are_the_log_probabilities_of_answer_and_end_mark(model, noise):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(3)]))
    ones, answers = torch.ones(3), ["a dog barks", "rain", "a dog and rain on a roof"]
    per_token = model.score_batch(wavs, ones, "who?", answers, per_token=True)
    totals = model.score_batch(wavs, ones, "who?", answers)
    pengi = model.mods.pengi
    for row, answer in enumerate(answers):
        ids = model.tokenizer.encode_as_ids(answer + model.hparams.answer_end)
        prefix = model.encode_batch(wavs[row : row + 1], ones[:1], "who?")
        logits, expected = None, []
        for position, token in enumerate(ids):  # one token after the other
            read = pengi.lm.embed(torch.tensor([ids[:position]], dtype=torch.long))
            logits = pengi.lm.model(inputs_embeds=torch.cat([prefix, read], 1)).logits
            expected.append(logits[0, -1].log_softmax(-1)[token].item())
        ours = per_token[row].tolist()
        assert ours[: len(ids)] == pytest.approx(expected, abs=1e-4)
        assert ours[len(ids) :] == [0.0] * (len(ours) - len(ids))
        assert totals[row].item() == pytest.approx(sum(expected), abs=1e-3)


def test_all_answers_are_scored_behind_every_prefix(model, noise):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(3)]))
    ones, answers = torch.ones(3), ["a dog barks", "rain"]
    scores = model.score_answers(model.encode_batch(wavs, ones, "who?"), answers)
    for column, answer in enumerate(answers):
        expected = model.score_batch(wavs, ones, "who?", answer)
        torch.testing.assert_close(scores[:, column], expected, rtol=1e-4, atol=1e-4)
    assert (scores[0] - scores[1]).abs().min() > 1e-3


def test_another_end_takes_the_place_of_the_end_mark(model, noise):
    wavs, ones = torch.from_numpy(noise(1.0))[None], torch.ones(1)
    prefix = model.encode_batch(wavs, ones, "who?")
    answers = ["a dog", "rain"]
    per_token = model.score_batch(
        wavs.expand(2, -1), torch.ones(2), "who?", answers, per_token=True
    )
    counts = [len(model.tokenizer.encode_as_ids(answer)) for answer in answers]
    expected = [row[:n].sum().item() for row, n in zip(per_token, counts)]
    found = model.score_answers(prefix, answers, end="")[0].tolist()
    assert found == pytest.approx(expected, abs=1e-4)
    assert model.count_tokens(answers, end="").tolist() == counts
    assert model.count_tokens(answers).tolist() == [
        n + len(model.end_ids) for n in counts
    ]


def test_answers_scored_in_parts_read_the_prefix_once(model, noise, monkeypatch):
    wavs, ones = torch.from_numpy(noise(1.0))[None], torch.ones(1)
    prefix = model.encode_batch(wavs, ones, "who?")
    answers = ["a dog barks", "rain", "a siren", "wind", "people talking"]
    whole = model.score_answers(prefix, answers)
    lm, read = model.mods.pengi.lm, []
    prefill = lm.prefill
    monkeypatch.setattr(lm, "prefill", lambda p: read.append(len(p)) or prefill(p))
    parts = model.score_answers(prefix, answers, at_a_time=2)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)
    assert read == [1]
