import pytest
import torch

from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.decoders.sampling import PrefixSampler
from tests.decoders.plain_search import next_log_probs, token_log_probs

EOS = 2


def shares(lm, prefix, **settings):
    """How often each token is the first one in 4000 samples [vocab]."""
    sampler = PrefixSampler(
        lm, EOS, max_new_tokens=1, n_samples=4000, seed=1, **settings
    )
    answers, lengths, _, _ = sampler(prefix[None])
    first = torch.where(lengths[0] == 0, EOS, answers[0, :, 0])
    return torch.bincount(first, minlength=lm.vocab_size) / 4000


def truncated(probs, keep):
    """Leave the ``keep`` most likely tokens of probs [vocab]."""
    kept = torch.zeros_like(probs)
    best = probs.argsort(descending=True)[:keep]
    kept[best] = probs[best]
    return kept / kept.sum()


def test_tokens_are_drawn_as_often_as_they_are_likely(lm, prefixes):
    prefix = prefixes[0][0]
    logits = next_log_probs(lm, prefix, ())
    assert (shares(lm, prefix) - logits.softmax(-1)).abs().max() < 0.03
    for temperature in (0.5, 3.0):
        expected = (logits / temperature).softmax(-1)
        found = shares(lm, prefix, temperature=temperature)
        assert (found - expected).abs().max() < 0.03
        assert (found - logits.softmax(-1)).abs().max() > 0.04


def test_top_k_draws_among_the_k_most_likely_tokens(lm, prefixes):
    prefix = prefixes[0][1]
    expected = truncated(next_log_probs(lm, prefix, ()).exp(), 3)
    found = shares(lm, prefix, top_k=3)
    assert ((found > 0) == (expected > 0)).all()
    assert (found - expected).abs().max() < 0.03


def test_top_p_draws_among_the_fewest_tokens_that_hold_the_mass(lm, prefixes):
    prefix = prefixes[0][1]
    logits = next_log_probs(lm, prefix, ()) / 2
    probs = logits.softmax(-1)
    masses = probs.sort(descending=True).values.cumsum(0)
    n = int((masses < 0.8).sum()) + 1
    assert 1 < n < lm.vocab_size
    found = shares(lm, prefix, top_p=0.8, temperature=2)
    expected = truncated(probs, n)
    assert ((found > 0) == (expected > 0)).all()
    assert (found - expected).abs().max() < 0.03


def test_a_seed_gives_the_same_answers_in_any_batch_and_another_seed_others(
    lm, prefixes
):
    def draw(seed, *inputs):
        return PrefixSampler(lm, EOS, 12, temperature=2, seed=seed)(*inputs)[0]

    answers = draw(1, *prefixes)
    assert draw(1, *prefixes) == answers
    assert draw(2, *prefixes) != answers
    assert draw(None, *prefixes) != draw(None, *prefixes)
    for i, (prefix, length) in enumerate(zip(*prefixes)):
        prefix = prefix[: int((length * len(prefix)).round())]
        assert draw(1, prefix[None]) == [answers[i]]


def test_sampling_leaves_the_global_random_numbers_alone(lm, prefixes):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    PrefixSampler(lm, EOS, 3)(*prefixes)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_of_several_samples_is_what_its_seed_gives_alone(lm, prefixes):
    several = PrefixSampler(lm, EOS, 8, temperature=2, n_samples=3, seed=10)
    answers, lengths, scores, log_probs = several(*prefixes)
    n_token = (lengths * answers.shape[-1]).round().long()
    for sample in range(3):
        one = PrefixSampler(lm, EOS, 8, temperature=2, seed=10 + sample)
        expected, _, expected_scores, _ = one(*prefixes)
        for i in range(5):
            assert answers[i, sample, : n_token[i, sample]].tolist() == expected[i]
            assert (answers[i, sample, n_token[i, sample] :] == EOS).all()
            assert (log_probs[i, sample, n_token[i, sample] + 1 :] == 0).all()
        torch.testing.assert_close(scores[:, sample], expected_scores)
    assert log_probs.shape == answers.shape


def test_scores_are_those_of_the_model_before_temperature_and_truncation(lm, prefixes):
    sampler = PrefixSampler(lm, EOS, 6, temperature=0.6, top_k=4, top_p=0.9, seed=3)
    answers, _, scores, log_probs = sampler(*prefixes)
    for i, (prefix, length) in enumerate(zip(*prefixes)):
        prefix = prefix[: int((length * len(prefix)).round())]
        tokens = answers[i] + [EOS] * (len(answers[i]) < 6)
        expected = token_log_probs(lm, prefix, tokens)
        torch.testing.assert_close(log_probs[i, : len(tokens)], expected)
        torch.testing.assert_close(scores[i], expected.mean())


def test_among_one_token_sampling_is_greedy(lm, prefixes):
    greedy = PrefixGreedySearcher(lm, EOS, 7)(*prefixes)
    for settings in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        assert PrefixSampler(lm, EOS, 7, **settings)(*prefixes)[0] == greedy[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": 0}, "above 0; got 0.*PrefixGreedySearcher"),
        ({"top_k": 0}, "top_k must be at least 1; got 0"),
        ({"top_p": 1.5}, r"top_p must be in \]0, 1\], or None; got 1.5"),
        ({"n_samples": 0}, "n_samples must be at least 1; got 0"),
    ],
)
def test_settings_that_cannot_be_drawn_from_are_refused(lm, setting, message):
    with pytest.raises(ValueError, match=message):
        PrefixSampler(lm, EOS, **setting)
