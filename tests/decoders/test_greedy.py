import pytest
import torch

from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from tests.decoders.plain_search import next_log_probs, token_log_probs

EOS = 2


def plain_greedy(lm, prefix, limit, min_new=0):
    tokens = ()
    while len(tokens) < limit and EOS not in tokens:
        log_probs = next_log_probs(lm, prefix, tokens)
        if len(tokens) < min_new:
            log_probs[EOS] = -torch.inf
        tokens += (log_probs.argmax().item(),)
    return tokens


@pytest.mark.parametrize("min_new", [0, 2])
def test_each_token_is_the_most_likely_one_and_scores_are_the_models(
    lm, prefixes, min_new
):
    searcher = PrefixGreedySearcher(lm, EOS, 5, min_new)
    answers, lengths, scores, log_probs = searcher(*prefixes)
    for i, (prefix, length) in enumerate(zip(*prefixes)):
        prefix = prefix[: int((length * len(prefix)).round())]
        tokens = plain_greedy(lm, prefix, 5, min_new)
        expected = token_log_probs(lm, prefix, tokens)
        assert answers[i] == [token for token in tokens if token != EOS]
        torch.testing.assert_close(log_probs[i, : len(tokens)], expected)
        assert (log_probs[i, len(tokens) :] == 0).all()
        torch.testing.assert_close(scores[i], expected.mean())
        assert (lengths[i] * log_probs.shape[1]).round() == len(answers[i])


def test_an_answer_does_not_depend_on_the_rest_of_the_batch_or_on_padding(lm, prefixes):
    searcher = PrefixGreedySearcher(lm, EOS, max_new_tokens=7)
    answers, _, scores, _ = searcher(*prefixes)
    for i, (prefix, length) in enumerate(zip(*prefixes)):
        prefix = prefix[: int((length * len(prefix)).round())]
        alone, _, score, _ = searcher(prefix[None])
        assert alone == [answers[i]]
        torch.testing.assert_close(score, scores[i : i + 1])


def test_nothing_can_be_trained_through_a_search(lm, prefixes):
    prefix = prefixes[0].clone().requires_grad_()
    _, _, scores, log_probs = PrefixGreedySearcher(lm, EOS, 3)(prefix)
    assert not scores.requires_grad
    assert not log_probs.requires_grad
