import pytest
import torch
from speechbrain.decoders.scorer import LengthScorer, ScorerBuilder

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.decoders.sampling import PrefixSampler
from tests.decoders.small_lms import small_lm

EOS = 2


def length_scorer(lm):
    """Reward each token, which lengthens the answers."""
    return ScorerBuilder(
        full_scorers=[LengthScorer(lm.vocab_size)], weights={"length": 2.0}
    )


#: Searcher -> a function: LM -> options that all differ from the defaults.
OPTIONS = {
    PrefixBeamSearcher: lambda lm: {
        "beam_size": 4,
        "max_new_tokens": 7,
        "min_new_tokens": 2,
        "scorer": length_scorer(lm),
        "length_normalization": False,
        "topk": 3,
        "return_topk": True,
    },
    PrefixGreedySearcher: lambda lm: {"max_new_tokens": 7, "min_new_tokens": 2},
    PrefixSampler: lambda lm: {
        "max_new_tokens": 7,
        "min_new_tokens": 2,
        "temperature": 2.5,
        "top_k": 6,
        "top_p": 0.9,
        "n_samples": 2,
        "seed": 4,
    },
}


@pytest.fixture(params=OPTIONS)
def searcher_class(request):
    return request.param


def parts(result):
    """Return the answers, lengths, scores and log-probabilities as nested lists."""
    return [part.tolist() if torch.is_tensor(part) else part for part in result]


def test_a_copy_finds_what_a_searcher_built_with_all_its_options_finds(
    searcher_class, lm, prefixes
):
    options = OPTIONS[searcher_class](lm)
    searcher = searcher_class(lm, EOS, **options)
    before = parts(searcher(*prefixes))
    copy = searcher.with_options(max_new_tokens=4)
    built = searcher_class(lm, EOS, **options | {"max_new_tokens": 4})
    assert parts(copy(*prefixes)) == parts(built(*prefixes)) != before
    assert parts(searcher(*prefixes)) == before


def test_every_option_that_is_not_changed_is_kept(searcher_class, lm):
    options = OPTIONS[searcher_class](lm)
    copy = searcher_class(lm, EOS, **options).with_options(max_new_tokens=6)
    assert type(copy) is searcher_class
    assert set(copy.option_names()) == set(options)  # OPTIONS above is complete
    assert copy.eos_index == EOS
    for name, value in (options | {"max_new_tokens": 6}).items():
        assert getattr(copy, name) == value, name


def test_the_language_model_and_the_scorer_are_shared(searcher_class, lm):
    searcher = searcher_class(lm, EOS, **OPTIONS[searcher_class](lm))
    copy = searcher.with_options(max_new_tokens=4)
    assert copy.lm is lm
    assert getattr(copy, "scorer", None) is getattr(searcher, "scorer", None)


def test_a_copy_searches_in_the_middle_of_the_other_search(
    searcher_class, lm, prefixes, monkeypatch
):
    """Whatever a search keeps must not be changed by a search of its copy."""
    searcher = searcher_class(lm, EOS, **OPTIONS[searcher_class](lm))
    copy = searcher.with_options(max_new_tokens=5)
    expected = parts(searcher(*prefixes))
    expected_copy = parts(copy(prefixes[0][:3]))
    step, found = lm.step, []

    def search_and_step(*inputs):
        monkeypatch.setattr(lm, "step", step)
        found.append(parts(copy(prefixes[0][:3])))
        monkeypatch.setattr(lm, "step", search_and_step)
        return step(*inputs)

    monkeypatch.setattr(lm, "step", search_and_step)
    assert parts(searcher(*prefixes)) == expected
    assert len(found) > 2
    assert all(one == expected_copy for one in found)


def test_a_search_of_another_module_has_the_method_too():
    class LastToken(PrefixGreedySearcher):
        """Take the token with the highest index; stands for a search of one file."""

        def __init__(self, lm, eos_index, max_new_tokens=30, patience=1):
            super().__init__(lm, eos_index, max_new_tokens)
            self.patience = patience

    copy = LastToken(small_lm("gpt2"), EOS, patience=3).with_options(max_new_tokens=2)
    assert (type(copy), copy.patience, copy.max_new_tokens) == (LastToken, 3, 2)
    assert copy.with_options(patience=5).patience == 5


@pytest.mark.parametrize(
    ("searcher_class", "changes", "message"),
    [
        (
            PrefixBeamSearcher,
            {"temperature": 0.8},
            "PrefixBeamSearcher has no option temperature; its options are beam_size, ",
        ),
        (
            PrefixGreedySearcher,
            {"beam_size": 5, "max_new_tokens": 3},
            "no option beam_size; its options are max_new_tokens, min_new_tokens.$",
        ),
        (PrefixSampler, {"topk": 2}, "PrefixSampler has no option topk; .*n_samples"),
        (PrefixBeamSearcher, {"lm": None}, "has no option lm;"),
        (PrefixBeamSearcher, {"beam_size": 0}, "beam_size must be at least 1; got 0"),
        (PrefixBeamSearcher, {"beam_size": 2}, "got topk=3, beam_size=2"),
        (PrefixBeamSearcher, {"beam_size": None}, "a whole number; got None"),
        (PrefixBeamSearcher, {"topk": 0}, "topk must be at least 1; got 0"),
        (PrefixBeamSearcher, {"length_normalization": True}, "not compatible"),
        (PrefixGreedySearcher, {"max_new_tokens": 0}, "max_new_tokens .* 1; got 0"),
        (PrefixGreedySearcher, {"max_new_tokens": 2.5}, "a whole number; got 2.5"),
        (
            PrefixGreedySearcher,
            {"max_new_tokens": 1},
            "got min_new_tokens=2, max_new_tokens=1",
        ),
        (PrefixSampler, {"max_new_tokens": 0}, "max_new_tokens must be .* 1; got 0"),
        (PrefixSampler, {"temperature": 0}, "temperature must be above 0; got 0"),
        (PrefixSampler, {"top_k": 0}, "top_k must be at least 1; got 0"),
        (PrefixSampler, {"top_p": 0}, r"top_p must be in \]0, 1\], or None; got 0"),
        (PrefixSampler, {"n_samples": 0}, "n_samples must be at least 1; got 0"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(searcher_class, changes, message):
    lm = small_lm("gpt2")
    searcher = searcher_class(lm, EOS, **OPTIONS[searcher_class](lm))
    with pytest.raises(ValueError, match=message):
        searcher.with_options(**changes)
