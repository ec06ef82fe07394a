"""Caption scores against published examples and a second library."""

import importlib.util
import shutil

import numpy as np
import pytest

from pengi_plugin.metrics import captioning, java_captions
from pengi_plugin.metrics.captioning import cider_d, score_captions, simple_tokenize

#: The example in the README of aac-metrics, with the scores that it prints there.
CANDIDATES = ["a man is speaking", "rain falls"]
REFERENCES = [
    [
        "a man speaks.",
        "someone speaks.",
        "a man is speaking while a bird is chirping in the background",
    ],
    ["rain is falling hard on a surface"],
]
PUBLISHED_CIDER_D = [1.3641, 0.5587]
PUBLISHED_BLEU_1 = 0.4278

needs_java = pytest.mark.skipif(
    shutil.which("java") is None or importlib.util.find_spec("pycocoevalcap") is None,
    reason="METEOR and the PTB tokenizer need Java and pycocoevalcap",
)


@pytest.fixture
def no_java(monkeypatch):
    monkeypatch.setattr(java_captions.shutil, "which", lambda name: None)


def test_cider_d_is_the_published_one_without_java(no_java):
    assert cider_d(CANDIDATES, REFERENCES) == pytest.approx(PUBLISHED_CIDER_D, abs=5e-5)


def test_what_needs_java_is_named_and_nothing_is_zero(no_java):
    scores = score_captions(CANDIDATES, REFERENCES)
    assert "Java" in scores.tokenizer
    for name in ("meteor", "spice", "spider"):
        assert "install a Java runtime" in scores.missing[name]
        assert name not in scores.corpus
    assert scores.missing.keys() | scores.corpus.keys() == captioning.SCORES.keys()
    assert scores.corpus["bleu_1"] == pytest.approx(PUBLISHED_BLEU_1, abs=5e-5)


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence(no_java):
    scores = score_captions(["a dog barks", "rain"], [["a big dog barks"], ["wind"]])
    precision, recall, beta = 1, 3 / 4, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert scores.clips["rouge_l"] == pytest.approx([expected, 0])


def test_every_score_lies_in_its_interval(no_java):
    scores = score_captions(CANDIDATES * 5, REFERENCES * 5)
    for name, (low, high) in scores.interval.items():
        assert low <= scores.corpus[name] <= high, name


def test_a_fluency_model_that_is_absent_is_named(no_java, monkeypatch, tmp_path):
    monkeypatch.setenv("FENSE_DATA", str(tmp_path))
    scores = score_captions(
        CANDIDATES, REFERENCES, ("sbert_sim", "fense"), sbert_model="nobody/has-this"
    )
    assert scores.corpus == {}
    assert "weights of nobody/has-this" in scores.missing["sbert_sim"]
    assert "aac-metrics-download" in scores.missing["fense"]


@pytest.mark.slow
@needs_java
def test_java_scores_agree_with_the_coco_code():
    from pycocoevalcap.cider.cider import Cider

    scores = score_captions(CANDIDATES, REFERENCES, ("cider_d", "meteor", "rouge_l"))
    tokenized = java_captions.ptb_tokenize(REFERENCES)
    _, expected = Cider().compute_score(
        dict(enumerate(tokenized)), {0: [CANDIDATES[0]], 1: [CANDIDATES[1]]}
    )
    assert scores.tokenizer == "PTB"
    assert scores.clips["cider_d"] == pytest.approx(expected)
    assert 0 < scores.corpus["meteor"] < 1


@pytest.mark.slow
@needs_java
def test_an_empty_caption_scores_nothing_and_shifts_no_other():
    scores = score_captions(
        ["", *CANDIDATES], [["a bell rings"], *REFERENCES], ("meteor", "cider_d")
    )
    alone = score_captions(CANDIDATES, REFERENCES, ("meteor",))
    assert scores.clips["meteor"][0] == scores.clips["cider_d"][0] == 0
    assert scores.clips["meteor"][1:] == pytest.approx(alone.clips["meteor"])


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A dog's 'bark'.", "a dog's bark"),
        ("rain,wind--and  thunder!", "rain wind and thunder"),
        ("", ""),
    ],
)
def test_simple_tokens_have_no_punctuation(caption, tokens):
    assert simple_tokenize(caption) == tokens


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        (["one"], [["one"]], "two or more"),
        (["one", "two"], [["one"], []], "number 1 has no reference"),
        (["one", "two"], [["one"]], "2 captions.* for 1"),
    ],
)
def test_captions_that_cannot_be_scored_say_why(candidates, references, message):
    with pytest.raises(ValueError, match=message):
        cider_d(candidates, references)


def test_an_unknown_score_is_an_error():
    with pytest.raises(ValueError, match=r"\['rouge'\]; known are bleu_1"):
        score_captions(CANDIDATES, REFERENCES, ("rouge",))


def test_scores_are_floats_so_that_json_takes_them(no_java):
    scores = score_captions(CANDIDATES, REFERENCES, ("cider_d",))
    assert type(scores.corpus["cider_d"]) is float
    assert all(type(end) is float for end in scores.interval["cider_d"])
    assert isinstance(scores.clips["cider_d"], np.ndarray)
