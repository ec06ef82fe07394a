import pytest
from speechbrain.decoders.scorer import LengthScorer, ScorerBuilder
from torch import nn

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.choose import as_searcher, choose_searcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.decoders.options import SearchOptions
from pengi_plugin.decoders.sampling import PrefixSampler
from tests.decoders.small_lms import small_lm

EOS = 2
LIMITS = {"max_new_tokens": 7, "min_new_tokens": 2}


class OneWord(SearchOptions, nn.Module):
    """A search of one file, which nothing else knows."""

    def __init__(self, lm, eos_index, max_new_tokens=30, word=1):
        super().__init__()
        self.lm, self.eos_index = lm, eos_index
        self.max_new_tokens, self.word = max_new_tokens, word


@pytest.fixture
def searchers():
    """Return the name of each kind of searcher -> a searcher with ``LIMITS``."""
    lm = small_lm("gpt2")
    return {
        "beam": PrefixBeamSearcher(lm, EOS, **LIMITS, length_normalization=False),
        "greedy": PrefixGreedySearcher(lm, EOS, **LIMITS),
        "sampler": PrefixSampler(lm, EOS, **LIMITS, temperature=3.0),
        "other": OneWord(lm, EOS, max_new_tokens=7, word=4),
    }


CHOICES = [
    # The class of the YAML's searcher has the options: a copy of this searcher.
    ("beam", {"beam_size": 3}, PrefixBeamSearcher),
    ("beam", {"beam_size": 1}, PrefixBeamSearcher),
    ("beam", {"max_new_tokens": 4}, PrefixBeamSearcher),
    ("greedy", {"max_new_tokens": 4}, PrefixGreedySearcher),
    ("sampler", {"max_new_tokens": 4}, PrefixSampler),
    ("sampler", {"top_p": 0.5}, PrefixSampler),
    ("other", {"max_new_tokens": 4}, OneWord),
    ("other", {"word": 5}, OneWord),
    # It has not: the search that has them.
    ("beam", {"temperature": 0.8}, PrefixSampler),
    ("beam", {"seed": 1, "max_new_tokens": 4}, PrefixSampler),
    ("greedy", {"beam_size": 5}, PrefixBeamSearcher),
    ("greedy", {"top_k": 5}, PrefixSampler),
    ("sampler", {"beam_size": 5}, PrefixBeamSearcher),
    ("other", {"beam_size": 5}, PrefixBeamSearcher),
    ("other", {"temperature": 2.0}, PrefixSampler),
]


@pytest.mark.parametrize(("name", "options", "expected"), CHOICES)
def test_options_choose_the_search_and_all_others_are_kept(
    searchers, name, options, expected
):
    searcher = searchers[name]
    chosen = choose_searcher(searcher, **options)
    assert type(chosen) is expected
    assert chosen is not searcher
    assert chosen.lm is searcher.lm
    assert chosen.eos_index == EOS
    shared = set(chosen.option_names()) & set(searcher.option_names())
    kept = {option: getattr(searcher, option) for option in shared} | options
    for option, value in kept.items():
        assert getattr(chosen, option) == value, option


def test_scorers_are_kept_by_a_beam_and_never_dropped_by_another_search(searchers):
    beam = searchers["beam"]
    lengths = LengthScorer(beam.lm.vocab_size)
    scorer = ScorerBuilder(full_scorers=[lengths], weights={"length": 0.5})
    beam = beam.with_options(scorer=scorer)
    assert choose_searcher(beam, beam_size=3).scorer is scorer
    message = "PrefixBeamSearcher has scorers, which PrefixSampler would leave out"
    with pytest.raises(ValueError, match=message):
        choose_searcher(beam, temperature=0.8)
    assert isinstance(
        choose_searcher(beam.with_options(scorer=None), temperature=0.8), PrefixSampler
    )


def test_without_options_the_searcher_is_the_yamls_own(searchers):
    for searcher in (*searchers.values(), nn.Identity()):
        assert choose_searcher(searcher) is searcher


@pytest.mark.parametrize("name", ["beam", "greedy", "sampler"])
def test_options_of_two_searches_are_refused_with_those_of_each(searchers, name):
    with pytest.raises(
        ValueError, match=r"beam_size=5, temperature=0\.8 together"
    ) as caught:
        choose_searcher(searchers[name], beam_size=5, temperature=0.8)
    for known in (
        "PrefixBeamSearcher has beam_size, max_new_tokens, min_new_tokens, scorer",
        "PrefixSampler has max_new_tokens, min_new_tokens, temperature, top_k",
    ):
        assert known in str(caught.value)


def test_an_unknown_option_is_refused_and_so_is_any_of_a_searcher_without(searchers):
    with pytest.raises(ValueError, match=r"options beams=5 together.*has beam_size"):
        choose_searcher(searchers["greedy"], beams=5)
    with pytest.raises(ValueError, match="Identity takes no options, got beam_size"):
        choose_searcher(nn.Identity(), beam_size=5)


@pytest.mark.parametrize("name", ["beam", "greedy", "sampler"])
@pytest.mark.parametrize("option", ["max_new_tokens", "beam_size", "temperature"])
def test_zero_is_not_the_default(searchers, name, option):
    with pytest.raises(ValueError, match=f"{option} must be .*; got 0"):
        choose_searcher(searchers[name], **{option: 0})


def test_a_searcher_of_the_class_is_taken_as_it_is(searchers):
    beam = searchers["beam"]
    assert as_searcher(PrefixBeamSearcher, beam) is beam
    sampler = as_searcher(PrefixSampler, beam)
    assert (sampler.max_new_tokens, sampler.min_new_tokens) == (7, 2)
    assert sampler.temperature == 1.0
