"""Text-to-audio retrieval: clips and queries in, recall and mAP out.

Pengi retrieves by its captions (Deshmukh et al., NeurIPS 2023, section 4): every
clip is captioned once, and a query is matched with the captions in the text
encoder's space. For comparison, a clip's score is how likely the LM finds the query
given the clip: every query is scored about every clip (5.4 million scorings for
Clotho's 1045 clips), or only about the best by captions (``rerank``). The two combined
are the mean of both scores, each standardized over the clips of a query. Captions and
audio embeddings are saved, so that a further query reads no audio.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pengi_plugin.metrics.retrieval import (
    average_precision_at,
    ranked_relevance,
    recall_at,
)
from pengi_plugin.protocols.answer_log import digest, rank_and_world, wait_for_all
from pengi_plugin.protocols.embeddings import contrastive_scores, embed_answers
from pengi_plugin.protocols.likelihoods import answer_likelihoods
from pengi_plugin.protocols.score import Score, mean_score
from pengi_plugin.protocols.session import Session, generated_answers
from pengi_plugin.storage.atomic import new_folder

INDEX_FILE, POINTS_FILE = "index.json", "index.safetensors"
#: Mean of the two standardized scores of a query.
COMBINED = "captions and likelihood"
WAYS = ("captions", "projected captions", "likelihood", COMBINED)
RERANKED = "likelihood of the best {n} by captions"
#: The way of a CLAP: the cosine of the query and the clip.
CONTRASTIVE = "contrastive"


class CaptionIndex:
    """Captions of clips as points in the text encoder's space.

    Arguments
    ---------
    ids : list of str
        Clips.
    captions : list of str
        What the model says about each.
    points : torch.Tensor
        The captions' embeddings, unit norm [clip, d_text].
    key : str
        Digest of all that the points depend on.
    """

    def __init__(
        self, ids: list[str], captions: list[str], points: Tensor, key: str = ""
    ):
        self.ids = ids
        self.captions = captions
        self.points = points
        self.key = key

    @classmethod
    def build(
        cls, session: Session, rows: Sequence[dict], folder: Path, projected=False
    ) -> "CaptionIndex":
        """Caption every clip (``id``, ``wav``, ``prompt``) and embed the captions.

        The index is saved in ``folder``, and read from there if the same captions
        have been embedded by the same model.
        """
        captions = generated_answers(session, rows)
        ids = [row["id"] for row in rows]
        key = digest([ids, captions, projected, session.settings])
        if (folder / INDEX_FILE).exists():
            found = cls.load(folder)
            if found.key == key:
                return found
        points = embed_answers(session.model, captions, projected)
        points = torch.from_numpy(np.nan_to_num(points))  # no caption: far from all
        index = cls(ids, captions, points, key)
        wait_for_all()  # nobody writes before everybody has read
        if rank_and_world()[0] == 0:
            index.save(folder)
        return index

    def save(self, folder: Path) -> None:
        """Write the index into a folder, whole or not at all."""
        words = {"key": self.key, "ids": self.ids, "captions": self.captions}
        with new_folder(folder, replaces=INDEX_FILE) as unfinished:
            save_file({"points": self.points}, unfinished / POINTS_FILE)
            (unfinished / INDEX_FILE).write_text(json.dumps(words) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "CaptionIndex":
        """Read what ``save`` wrote."""
        words = json.loads((Path(folder) / INDEX_FILE).read_text())
        points = load_file(Path(folder) / POINTS_FILE)["points"]
        return cls(words["ids"], words["captions"], points, words.get("key", ""))

    def similarity(self, model, queries: Sequence[str], projected: bool = False):
        """Return the cosine of each query and each caption [query, clip]."""
        points = model.embed_texts(list(queries), projected).float().cpu()
        return (points @ self.points.T).numpy()

    def best(self, model, query: str, n: int = 10, projected: bool = False) -> list:
        """Return the ``n`` nearest clips as (ID, caption, cosine), best first."""
        cosines = self.similarity(model, [query], projected)[0]
        order = np.argsort(-cosines, kind="stable")[:n]
        return [(self.ids[i], self.captions[i], float(cosines[i])) for i in order]


def text_to_audio(
    session: Session,
    rows: Sequence[dict],
    ways: Sequence[str] = WAYS,
    rerank: int | None = None,
) -> list[Score]:
    """Find clips by what they sound like: every reference caption is a query.

    Arguments
    ---------
    session : Session
        The model and where answers and the index of captions go.
    rows : list of dict
        The clips, with ``id``, ``wav``, ``prompt`` and ``references`` (list of
        str). A query is answered by every clip that it is a reference of.
    ways : list of str
        Of ``WAYS``, or ``contrastive`` for a CLAP.
    rerank : int
        Compute likelihoods of so many clips for each query, the best by captions, which
        are put in the order of their likelihoods; the others follow by captions, and
        nothing is combined. None: likelihoods of all clips.

    Returns
    -------
    scores : list of Score
        R@1, R@5, R@10 and mAP@10 for each way, over queries; intervals are over clips
        (a query goes with the first clip that answers it).
    """
    if rerank is not None:
        check_rerank(rerank)
    texts, relevance = queries(rows)
    clips = relevance.argmax(axis=1).tolist()
    scores = []
    for way in ways:
        if way == COMBINED and rerank is not None:
            continue  # most likelihoods are not computed
        if way == "likelihood" and rerank is not None:
            values = reranked_scores(session, rows, texts, rerank)
            way = RERANKED.format(n=min(rerank, len(rows)))
        else:
            values = query_scores(session, rows, texts, way)
        note = f"{len(texts)} queries among {len(rows)} clips"
        scores += _ranked_scores(values, relevance, way, note, clips)
    return scores


def audio_to_text(session: Session, rows: Sequence[dict]) -> list[Score]:
    """Find the captions of clips among those of all clips, with a CLAP.

    Arguments
    ---------
    session : Session
        Its model is an ``AudioTextModel``.
    rows : list of dict
        The clips, with ``id``, ``wav`` and ``references`` (list of str).

    Returns
    -------
    scores : list of Score
        R@1, R@5, R@10 and mAP@10 over clips.
    """
    texts, relevance = queries(rows)
    values = contrastive_scores(session, rows, texts)
    note = f"{len(rows)} clips among {len(texts)} texts"
    clips = list(range(len(rows)))
    return _ranked_scores(values, relevance.T, CONTRASTIVE, note, clips)


def queries(rows: Sequence[dict]) -> tuple[list[str], np.ndarray]:
    """Return the distinct references, and which clip each is one of [query, clip].

    Example
    -------
    >>> rows = [{"references": ["rain"]}, {"references": ["a dog", "rain"]}]
    >>> queries(rows)[1].tolist()
    [[False, True], [True, True]]
    """
    texts = sorted({text for row in rows for text in row["references"]})
    relevance = np.zeros((len(texts), len(rows)), dtype=bool)
    index_of = {text: index for index, text in enumerate(texts)}
    for clip, row in enumerate(rows):
        relevance[[index_of[text] for text in row["references"]], clip] = True
    return texts, relevance


def _ranked_scores(
    values: np.ndarray, relevance: np.ndarray, way: str, note: str, clips: list
) -> list[Score]:
    """Return R@1, R@5, R@10 and mAP@10 of scores [query, item]; NaN is last."""
    ranked = ranked_relevance(values, relevance)
    scores = [
        mean_score(f"R@{k}", recall_at(ranked, k), way, note, clips) for k in (1, 5, 10)
    ]
    precision = average_precision_at(ranked, 10)
    return [*scores, mean_score("mAP@10", precision, way, note, clips)]


def check_rerank(rerank: int) -> None:
    """Raise ValueError if ``rerank`` is no number of clips."""
    if isinstance(rerank, bool) or not isinstance(rerank, int) or rerank < 1:
        raise ValueError(
            f"rerank is the number of clips per query whose likelihood is computed, 1 "
            f"or more; got {rerank!r}."
        )


def reranked_scores(
    session: Session, rows: Sequence[dict], texts: Sequence[str], n: int
) -> np.ndarray:
    """Return scores by which the best ``n`` by captions are ordered by likelihood.

    Returns
    -------
    scores : numpy.ndarray
        [query, clip]: of the best ``n`` clips of a query the log-probabilities, above
        all of the others, which keep their order by captions.
    """
    by_captions = query_scores(session, rows, texts, "captions")
    best = np.argsort(-by_captions, axis=1, kind="stable")[:, :n]
    queries_of = [[] for _ in rows]
    for query, clips in enumerate(best.tolist()):
        for clip in clips:
            queries_of[clip].append(query)
    asked = [clip for clip, queries in enumerate(queries_of) if queries]
    found = answer_likelihoods(
        session,
        [rows[clip] for clip in asked],
        [[texts[query] for query in queries_of[clip]] for clip in asked],
    )
    likelihoods = np.full(by_captions.shape, -np.inf)
    for clip, log_probs in zip(asked, found, strict=True):
        likelihoods[queries_of[clip], clip] = log_probs
    # Ranks in place of values: the two kinds of scores have no common scale.
    likelihoods[np.isnan(likelihoods)] = -np.inf
    order = np.lexsort((-by_captions, -likelihoods), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(len(rows))[None], axis=1)
    return -ranks.astype(float)


def combined_scores(*scores: np.ndarray) -> np.ndarray:
    """Return the mean of scores [query, clip], each standardized over a query's clips.

    Cosines and log-probabilities have no common scale, and how far the latter lie apart
    depends on the query's length. A clip that one of them lacks (NaN) stays NaN.

    Example
    -------
    >>> combined_scores(np.array([[0.0, 2.0]]), np.array([[-10.0, -90.0]])).tolist()
    [[0.0, 0.0]]
    """
    total = 0.0
    for values in scores:
        mean = np.nanmean(values, axis=1, keepdims=True)
        spread = np.nanstd(values, axis=1, keepdims=True)
        # Scores that differ by rounding alone tell nothing.
        is_told = spread > 1e-6 * np.maximum(1.0, np.abs(mean))
        total = total + np.where(
            is_told, (values - mean) / np.where(is_told, spread, 1), 0 * values
        )
    return total / len(scores)


def query_scores(
    session: Session, rows: Sequence[dict], texts: Sequence[str], way: str
) -> np.ndarray:
    """Return how well each clip answers each query [query, clip] by one of the ways.

    What the model says of the clips is read from disk when it is there.
    """
    if way == CONTRASTIVE:
        return contrastive_scores(session, rows, texts).T
    if way not in WAYS:
        known = ", ".join((*WAYS, CONTRASTIVE))
        raise ValueError(f"Unknown way {way!r}; known are {known}.")
    if way == "likelihood":
        return answer_likelihoods(session, rows, texts).T
    if way == COMBINED:
        both = (
            query_scores(session, rows, texts, w) for w in ("captions", "likelihood")
        )
        return combined_scores(*both)
    projected = way == "projected captions"
    folder = Path(session.folder) / f"index_{way.replace(' ', '_')}"
    index = CaptionIndex.build(session, rows, folder, projected)
    return index.similarity(session.model, texts, projected)
