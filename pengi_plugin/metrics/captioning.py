"""Caption scores: captions and their references in, the usual scores out.

Every score is computed by a library: BLEU (Papineni et al., 2002), ROUGE-L (Lin, 2004),
CIDEr-D (Vedantam et al., 2015), Sentence-BERT similarity and FENSE (Zhou et al.,
2022) of ``aac-metrics``; METEOR (Denkowski and Lavie, 2014), SPICE (Anderson et
al., 2016) and the Penn Treebank tokenizer of ``pycocoevalcap``. SPIDEr (Liu et
al., 2017) is the mean of CIDEr-D and SPICE. A score that this machine cannot
compute is listed with the reason, and no number takes its place.

``aac_metrics`` takes seconds to import, so it is imported when called.
"""

import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from pengi_plugin.metrics import java_captions
from pengi_plugin.metrics.bootstrap import bootstrap_interval, bootstrap_statistic
from pengi_plugin.metrics.java_captions import UnavailableError

#: Fewer than for other scores: every resample counts the n-grams of all its clips.
N_BLEU_RESAMPLES = 100
#: The models that aac-metrics takes by default (hub names); they are used if already
#: downloaded, and never downloaded here.
SBERT_MODEL = "paraphrase-TinyBERT-L6-v2"
FLUENCY_MODEL = "echecker_clotho_audiocaps_base"

_NOT_A_WORD = re.compile(r"[^\w\s']|(?<!\w)'|'(?!\w)")


@dataclass
class CaptionScores:
    """The result of ``score_captions``.

    Arguments
    ---------
    tokenizer : str
        ``PTB`` (as published scores use) or ``simple``, with the reason.
    corpus : dict
        Name -> score of the corpus.
    interval : dict
        Name -> (low, high), 95 %.
    clips : dict
        Name -> scores per clip [clip].
    missing : dict
        Name -> why it was not computed and what to do.
    """

    tokenizer: str
    corpus: dict[str, float] = field(default_factory=dict)
    interval: dict[str, tuple[float, float]] = field(default_factory=dict)
    clips: dict[str, np.ndarray] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def simple_tokenize(caption: str) -> str:
    """Lower the case and drop punctuation: the tokenizer that needs no Java.

    Example
    -------
    >>> simple_tokenize("A dog's bark, then rain.")
    "a dog's bark then rain"
    """
    return " ".join(_NOT_A_WORD.sub(" ", caption.lower()).split())


def cider_d(candidates: list[str], references: list[list[str]]) -> np.ndarray:
    """Return the CIDEr-D of each caption, without Java.

    Arguments
    ---------
    candidates : list of str
        One caption per clip.
    references : list of list of str
        The reference captions of each clip.

    Returns
    -------
    scores : numpy.ndarray
        [clip], 0 to 10; their mean is the corpus score. Words are weighted by how
        rare they are in these references: scores of two corpora are not comparable.

    Raises
    ------
    ValueError
        If there are fewer than two clips, or a clip has no reference.

    Example
    -------
    >>> cider_d(["rain falls", "a dog"], [["rain falls"], ["a cat"]]).round(2)
    array([5.  , 1.25])
    """
    _check(candidates, references)
    tokenized = _simple_tokenized(candidates, references)
    return _cider_d(_Captions(candidates, references, tokenized))[1]


def score_captions(
    candidates: list[str],
    references: list[list[str]],
    names: tuple[str, ...] | None = None,
    sbert_model: str = SBERT_MODEL,
) -> CaptionScores:
    """Compute the caption scores that this machine can; list the others as missing.

    Arguments
    ---------
    candidates : list of str
        One caption per clip.
    references : list of list of str
        The reference captions of each clip.
    names : tuple of str
        Which of ``SCORES`` to compute; None for all.
    sbert_model : str
        Sentence-BERT model: a local folder, or a hub name already downloaded.

    Returns
    -------
    scores : CaptionScores
        Scores, intervals, and the reasons for missing ones.

    Raises
    ------
    ValueError
        If a name is unknown, there are fewer than two clips, or a clip has no
        reference.
    """
    unknown = set(names or ()) - set(SCORES)
    if unknown:
        raise ValueError(
            f"Unknown caption scores {sorted(unknown)}; known are {', '.join(SCORES)}."
        )
    _check(candidates, references)
    try:
        tokenizer, tokenized = "PTB", _ptb_tokenized(candidates, references)
    except UnavailableError as reason:
        tokenizer = f"simple (PTB {reason})"
        tokenized = _simple_tokenized(candidates, references)
    captions = _Captions(candidates, references, tokenized, sbert_model)
    scores = CaptionScores(tokenizer)
    for name in names or SCORES:
        try:
            corpus, clips = SCORES[name](captions)
        except UnavailableError as reason:
            scores.missing[name] = str(reason)
            continue
        scores.corpus[name], scores.clips[name] = float(corpus), clips
        scores.interval[name] = _interval(name, captions, float(corpus), clips)
    return scores


class _Captions:
    """Captions and references; values that several scores need are computed once."""

    def __init__(self, candidates, references, tokenized, sbert_model=SBERT_MODEL):
        self.candidates = candidates
        self.references = references
        self.tokenized = tokenized
        self.sbert_model = sbert_model

    @cached_property
    def sbert(self):
        """The Sentence-BERT model."""
        from sentence_transformers import SentenceTransformer

        try:
            return SentenceTransformer(self.sbert_model, local_files_only=True)
        except OSError as error:
            raise UnavailableError(
                f"needs the weights of {self.sbert_model}, which are not on this "
                "machine; download them from the hub or give their folder"
            ) from error

    @cached_property
    def bleu_interval(self) -> np.ndarray:
        """Intervals of BLEU-1 to BLEU-4 [2, 4], from one set of resamples."""
        from aac_metrics.functional.bleu import bleu

        candidates, references = self.tokenized

        def of_clips(index: np.ndarray) -> np.ndarray:
            drawn = [candidates[i] for i in index], [references[i] for i in index]
            corpus, _ = bleu(*drawn, n=4, return_1_to_n=True)
            return corpus["bleu_1_to_4"].numpy()

        return bootstrap_statistic(of_clips, len(candidates), N_BLEU_RESAMPLES)

    @cached_property
    def spice(self):
        """SPICE of the corpus and of each clip."""
        return java_captions.spice(*self.tokenized)


def _simple_tokenized(candidates, references) -> tuple:
    return [simple_tokenize(caption) for caption in candidates], [
        [simple_tokenize(caption) for caption in several] for several in references
    ]


def _ptb_tokenized(candidates, references) -> tuple:
    tokenized = java_captions.ptb_tokenize(
        [[caption, *several] for caption, several in zip(candidates, references)]
    )
    return [several[0] for several in tokenized], [several[1:] for several in tokenized]


def _bleu(captions: _Captions, n: int) -> tuple:
    from aac_metrics.functional.bleu import bleu

    corpus, clips = bleu(*captions.tokenized, n=n)
    return corpus[f"bleu_{n}"], clips[f"bleu_{n}"].numpy()


def _rouge_l(captions: _Captions) -> tuple:
    from aac_metrics.functional.rouge_l import rouge_l

    corpus, clips = rouge_l(*captions.tokenized)
    return corpus["rouge_l"], clips["rouge_l"].numpy()


def _cider_d(captions: _Captions) -> tuple:
    from aac_metrics.functional.cider_d import cider_d

    corpus, clips = cider_d(*captions.tokenized)
    return corpus["cider_d"], clips["cider_d"].numpy()


def _spider(captions: _Captions) -> tuple:
    (spice, spice_clips), (cider, cider_clips) = captions.spice, _cider_d(captions)
    return (spice + cider) / 2, (spice_clips + cider_clips) / 2


def _sbert_sim(captions: _Captions) -> tuple:
    from aac_metrics.functional.sbert_sim import sbert_sim

    corpus, clips = sbert_sim(
        captions.candidates, captions.references, sbert_model=captions.sbert
    )
    return corpus["sbert_sim"], clips["sbert_sim"].cpu().numpy()


def _fense(captions: _Captions) -> tuple:
    from aac_metrics.functional.fense import fense

    home = os.environ.get("FENSE_DATA", os.path.join(torch.hub.get_dir(), "fense_data"))
    weights = Path(home).expanduser() / f"{FLUENCY_MODEL}.ckpt"
    if not weights.is_file():
        raise UnavailableError(
            f"needs the weights of {FLUENCY_MODEL}, which are not on this machine; "
            "aac-metrics-download gets them"
        )
    corpus, clips = fense(
        captions.candidates,
        captions.references,
        sbert_model=captions.sbert,
        echecker=FLUENCY_MODEL,
    )
    return corpus["fense"], clips["fense"].cpu().numpy()


#: Name -> function of the captions, in the order of the usual tables.
SCORES = {
    "bleu_1": lambda captions: _bleu(captions, 1),
    "bleu_2": lambda captions: _bleu(captions, 2),
    "bleu_3": lambda captions: _bleu(captions, 3),
    "bleu_4": lambda captions: _bleu(captions, 4),
    "rouge_l": _rouge_l,
    "meteor": lambda captions: java_captions.meteor(*captions.tokenized),
    "cider_d": _cider_d,
    "spice": lambda captions: captions.spice,
    "spider": _spider,
    "sbert_sim": _sbert_sim,
    "fense": _fense,
}


def _interval(name: str, captions: _Captions, corpus: float, clips: np.ndarray):
    """Return the 95 % interval of a corpus score."""
    if name.startswith("bleu"):
        low, high = captions.bleu_interval[:, int(name[-1]) - 1]
    else:
        # METEOR's corpus score is close to the mean over clips, but not equal.
        shift = corpus - clips.mean()
        low, high = np.array(bootstrap_interval(clips)) + shift
    return max(float(low), 0.0), float(high)


def _check(candidates: list[str], references: list[list[str]]) -> None:
    if len(candidates) != len(references):
        raise ValueError(
            f"Got {len(candidates)} captions and references for {len(references)} "
            "clips; give one caption and a list of references per clip."
        )
    if len(candidates) < 2:
        raise ValueError(
            f"Got {len(candidates)} clips; caption scores weigh words by how rare they "
            "are, which needs two or more."
        )
    for number, several in enumerate(references):
        if not several:
            raise ValueError(f"Clip number {number} has no reference caption.")
