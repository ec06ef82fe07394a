"""Rows and texts in, how likely the LM finds each text about each clip out.

Each clip is encoded once and its embedding kept on disk; the LM reads the prefix of a
clip and prompt once for all texts.
"""

from collections.abc import Sequence

import numpy as np
import torch

from pengi_plugin.protocols.answer_log import digest, error_line
from pengi_plugin.protocols.clock import Clock
from pengi_plugin.protocols.embeddings import audio_embeddings
from pengi_plugin.protocols.session import Session

#: Answers scored at a time, over one reading of a batch of clips: bounds the memory
#: of the LM's log-probabilities.
ANSWER_BATCH = 32


class Prefixes:
    """Some rows -> what the LM reads of them; see ``clip_prefixes``."""

    def __init__(self, model, rows: Sequence[dict], embeddings: np.ndarray):
        self.model, self.embeddings = model, embeddings
        self.index_of = {row["id"]: index for index, row in enumerate(rows)}

    def __call__(self, batch: Sequence[dict]) -> torch.Tensor:
        """Return the prefixes of rows whose clips were read."""
        index = [self.index_of[row["id"]] for row in batch]
        heard = torch.from_numpy(self.embeddings[index])
        return self.model.encode_embeddings(heard, [row["prompt"] for row in batch])

    def is_read(self, row: dict) -> bool:
        """Tell whether a row's clip could be read."""
        return bool(np.isfinite(self.embeddings[self.index_of[row["id"]]]).all())


def clip_prefixes(session: Session, rows: Sequence[dict]) -> Prefixes:
    """Return a function: some of the rows -> what the LM reads of them.

    Each clip is encoded once and its embedding kept.

    Raises
    ------
    ValueError
        If the session's answers are not the model's.
    """
    if session.source is not None:
        raise ValueError(
            "Likelihoods are of the model alone; this session's answers come from "
            "another source. Leave 'likelihood' out of the ways."
        )
    model = session.model
    # Of a model that reads sequences, one vector is not what its mapper reads.
    read = getattr(model, "encode_features", model.encode_audio)
    embeddings = audio_embeddings(
        session, rows, lambda wavs: read(wavs, torch.ones(len(wavs))), "features"
    )
    return Prefixes(model, rows, embeddings)


def answer_likelihoods(
    session: Session,
    rows: Sequence[dict],
    answers: Sequence[str] | Sequence[Sequence[str]],
    end: str | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Return the log-probability of every answer about every row [row, answer].

    Each clip is encoded once and its embedding kept, and the LM reads its prefix
    once for all answers.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav`` and ``prompt``.
    answers : list of str
        Texts that are scored about every row; or a list of texts for each row.
    end : str
        What ends an answer; see ``inference.likelihood.score_answers``.

    Returns
    -------
    log_probs : numpy.ndarray or list of numpy.ndarray
        [row, answer]; or [answer] of each row. NaN where a clip cannot be read.

    Raises
    ------
    ValueError
        If the session's answers are not the model's: there are no likelihoods then.
    """
    answers = list(answers)
    shared = not answers or isinstance(answers[0], str)
    several = [answers] * len(rows) if shared else [list(texts) for texts in answers]
    n_scoring = sum(map(len, several))
    prefixes = clip_prefixes(session, rows)
    score, clock = session.model.score_answers, Clock(n_scoring)

    def ask(batch):
        good = [row for row in batch if prefixes.is_read(row)]
        scores = iter(())
        if good and shared:
            found = score(prefixes(good), answers, end, ANSWER_BATCH)
            scores = iter(found.float().cpu().tolist())
        elif good:
            scores = iter(
                score(prefix[None], row["answers"], end, ANSWER_BATCH)[0].tolist()
                for row, prefix in zip(good, prefixes(good), strict=True)
            )
        clock.tick(sum(len(row.get("answers", answers)) for row in good))
        unread = error_line(ValueError("the clip cannot be read"))
        return [
            {"log_probs": next(scores)} if prefixes.is_read(row) else unread
            for row in batch
        ]

    what = {} if shared else {"each": "row"}
    if shared:
        asked, name = rows, f"likelihoods-{digest(answers)}"
        what["answers"] = answers
    else:
        asked = [
            {**row, "answers": texts} for row, texts in zip(rows, several, strict=True)
        ]
        name = "likelihoods"
    if end is not None:
        what["end"] = end
    found = session.ask(asked, ask, name, **what)
    log_probs = [
        np.array(answer.get("log_probs", [np.nan] * len(texts)), dtype=float)
        for answer, texts in zip(found, several, strict=True)
    ]
    return np.stack(log_probs) if shared else log_probs


def normalized_likelihoods(
    session: Session,
    rows: Sequence[dict],
    answers: Sequence[str] | Sequence[Sequence[str]],
    normalize: str = "none",
    end: str | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Return ``answer_likelihoods`` per token, or less those about a silent clip.

    Arguments
    ---------
    session, rows, answers, end
        As of ``answer_likelihoods``.
    normalize : str
        ``none``, ``token`` or ``prior``; see ``inference.likelihood``. The model is
        asked about clips once for all three.
    """
    log_probs = answer_likelihoods(session, rows, answers, end)
    if normalize == "none" or not len(rows):
        return log_probs
    answers, model = list(answers), session.model
    shared = isinstance(answers[0], str)
    if normalize == "token":
        if shared:
            return log_probs / model.count_tokens(answers, end).numpy()
        return [
            found / model.count_tokens(texts, end).numpy()
            for found, texts in zip(log_probs, answers, strict=True)
        ]
    if normalize != "prior":
        raise ValueError(f"normalize must be none, token or prior; got {normalize!r}.")
    known = {}

    def prior(prompt: str, texts: tuple) -> np.ndarray:
        if (prompt, texts) not in known:
            silent = model.silent_prefix([prompt])
            found = model.score_answers(silent, list(texts), end, ANSWER_BATCH)
            known[prompt, texts] = found[0].float().cpu().numpy()
        return known[prompt, texts]

    texts = [answers] * len(rows) if shared else answers
    less = [
        found - prior(row["prompt"], tuple(several))
        for found, row, several in zip(log_probs, rows, texts, strict=True)
    ]
    return np.stack(less) if shared else less
