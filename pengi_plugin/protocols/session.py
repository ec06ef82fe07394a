"""What protocols ask a model: rows in, answers, likelihoods or embeddings out.

``model`` is an ``AudioLanguageModel`` or anything with the same methods:
``answer_files``, ``load_clip``, ``encode_audio``, ``encode_embeddings``,
``score_answers``, ``count_tokens``, ``silent_prefix`` and ``embed_texts``. Each row has
``id``, ``wav`` (a path) and, except for embeddings, ``prompt``.

A clip that cannot be read, or a question that cannot be asked, stops nothing: its
answer is empty, its likelihoods and embedding are NaN, and it stands in the session's
``unreadable``, of which tables tell the number.
"""

import base64
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from pengi_plugin.protocols.answer_log import (
    answer_rows,
    digest,
    error_line,
    rank_and_world,
)

logger = logging.getLogger(__name__)

#: Answers scored at a time, over one reading of a batch of clips: bounds the memory
#: of the LM's log-probabilities.
ANSWER_BATCH = 32
#: Scorings from which on it is said how many there are and how long they will take:
#: some minutes on a CPU.
MANY_SCORINGS = 100_000
#: Batches of clips after which the time is estimated; the first one is slower.
N_TIMED = 2
#: Texts embedded at a time.
TEXT_BATCH = 256


@dataclass
class Session:
    """A model that is being evaluated, and where its answers go.

    Arguments
    ---------
    model : object
        See the module's description.
    folder : Path
        Where answers are kept.
    settings : dict
        What tells this model from others.
    search : dict
        Options of ``generate_files``, such as ``beam_size``.
    batch_size : int
        Rows asked about at a time.
    source : callable
        Rows -> the text of an answer to each, in place of the model's; None: the
        model is asked.
    answers_folder : Path
        Where the model's answers are kept, if not in ``folder``.
    unreadable : set
        (wav, prompt) of the rows that could not be answered, and (wav, None) of clips
        that could not be read; filled by what is asked.
    """

    model: object
    folder: Path
    settings: dict = field(default_factory=dict)
    search: dict = field(default_factory=dict)
    batch_size: int = 8
    source: Callable[[Sequence[dict]], list[str]] | None = None
    answers_folder: Path | None = None
    unreadable: set = field(default_factory=set)

    def with_answers(
        self, source: Callable[[Sequence[dict]], list[str]], folder: Path | str
    ) -> "Session":
        """Return a session whose answers come from elsewhere.

        Arguments
        ---------
        source : callable
            Rows -> the text of an answer to each.
        folder : Path
            Where protocols write what they find, below the session's folder.
        """
        return replace(self.beside(folder), source=source)

    def beside(self, folder: Path | str) -> "Session":
        """Return a session that writes below this one's folder and shares its answers.

        What this session asked is not asked again: a clip and prompt have one answer.
        """
        kept = self.answers_folder or self.folder
        return replace(self, folder=Path(self.folder) / folder, answers_folder=kept)

    def n_unreadable(self, rows: Sequence[dict]) -> int:
        """Return how many of some rows could not be answered."""
        return sum(
            (row["wav"], None) in self.unreadable
            or (row["wav"], row.get("prompt")) in self.unreadable
            for row in rows
        )

    def ask(
        self, rows: Sequence[dict], ask: Callable, what: str, **settings
    ) -> list[dict]:
        """Return what ``ask`` says about each row; see ``answer_rows``."""
        found = answer_rows(
            rows,
            ask,
            Path(self.answers_folder or self.folder) / what,
            {**self.settings, **settings},
            self.batch_size,
            name=what,
        )
        for row, answer in zip(rows, found, strict=True):
            if "error" in answer:
                self.unreadable.add((row["wav"], row.get("prompt")))
        return found


def generated_answers(session: Session, rows: Sequence[dict]) -> list[str]:
    """Return the text of an answer to each row: the model's, or another source's.

    The answer to a row that cannot be answered is empty.
    """
    if session.source is not None:
        return session.source(rows)

    def ask(batch):
        answers = session.model.answer_files(
            [row["wav"] for row in batch],
            [row["prompt"] for row in batch],
            batch_size=len(batch),
            **session.search,
        )
        return [
            {
                "prompt": row["prompt"],
                "wav": str(row["wav"]),
                **(error_line(found.error) if found.error else {}),
                **({} if found.error else {"answer": found.answer}),
            }
            for row, found in zip(batch, answers, strict=True)
        ]

    found = session.ask(rows, ask, "answers", **session.search)
    return [answer.get("answer", "") for answer in found]


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


class Clock:
    """Say how many scorings there are, and after some batches how long they take.

    Arguments
    ---------
    n : int
        Scorings of all processes; nothing is said of fewer than ``MANY_SCORINGS``.
    """

    def __init__(self, n: int):
        rank, self.n_process = rank_and_world()
        self.n, self.speaks = n, n >= MANY_SCORINGS and rank == 0
        self.start, self.n_done, self.n_tick = time.monotonic(), 0, 0

    def tick(self, n: int) -> None:
        """Count the scorings of a batch."""
        self.n_done += n
        self.n_tick += 1
        if self.speaks and self.n_tick == N_TIMED:
            seconds = time.monotonic() - self.start
            hours = seconds / max(self.n_done, 1) * self.n / self.n_process / 3600
            logger.warning(
                "%d texts are scored about clips, unless answers are kept from an "
                "earlier run; at the speed of the first %d this takes %.1f hours. "
                "Retrieval with rerank: 100 scores the best 100 clips of each query.",
                *(self.n, self.n_done, hours),
            )


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


def audio_embeddings(
    session: Session, rows: Sequence[dict], embed: Callable | None = None, what=""
) -> np.ndarray:
    """Return one vector per row [row, d_embedding], each clip's kept on disk.

    Arguments
    ---------
    session : Session
        Whose model embeds.
    rows : list of dict
        With ``wav``.
    embed : callable
        wavs [batch, sample] -> [batch, ...]; the model's ``encode_audio`` if None.
    what : str
        Name of the folder that keeps them.

    Returns
    -------
    embeddings : numpy.ndarray
        Float32 [row, d_embedding]; NaN for a clip that cannot be read.
    """
    model = session.model
    embed = embed or (lambda wavs: model.encode_audio(wavs, torch.ones(len(wavs))))

    def load(path):
        try:
            return model.load_clip(path), None
        except (OSError, ValueError, RuntimeError) as error:
            return None, error

    def ask(batch):
        clips = [load(row["wav"]) for row in batch]
        good = [clip for clip, _ in clips if clip is not None]
        found = embed(torch.stack(good)).detach().float().cpu().numpy() if good else ()
        vectors = iter(found)
        return [
            error_line(error) if clip is None else _kept(next(vectors))
            for clip, error in clips
        ]

    wavs = list(dict.fromkeys(row["wav"] for row in rows))
    found = session.ask(
        [{"id": wav, "wav": wav} for wav in wavs], ask, what or "embeddings"
    )
    shape = next(answer["shape"] for answer in found if "shape" in answer)
    vectors = {wav: _vector(answer, shape) for wav, answer in zip(wavs, found)}
    return np.stack([vectors[row["wav"]] for row in rows])


def _kept(vector: np.ndarray) -> dict:
    """Return what the answer log keeps of a vector."""
    return {"base64": _packed(vector), "shape": list(vector.shape)}


def _vector(answer: dict, shape: list[int]) -> np.ndarray:
    if "error" in answer:
        return np.full(shape, np.nan, dtype=np.float32)
    return _unpacked(answer["base64"]).reshape(answer["shape"])


def embed_answers(model, answers: Sequence[str], projected: bool) -> np.ndarray:
    """Embed answers in the text encoder's space, each distinct one once.

    Arguments
    ---------
    model : object
        See the module's description.
    answers : list of str
        What the model wrote.
    projected : bool
        Whether to go on through the trained projection of prompts.

    Returns
    -------
    points : numpy.ndarray
        Unit norm [answer, d_text]; NaN for an answer without a letter or digit.
    """
    distinct = sorted({text for text in answers if says_something(text)} | {"a"})
    known = {}  # never empty, so that the width is known
    for start in range(0, len(distinct), TEXT_BATCH):
        batch = distinct[start : start + TEXT_BATCH]
        points = model.embed_texts(batch, projected).float().cpu().numpy()
        known.update(zip(batch, points, strict=True))
    nothing = np.full_like(known["a"], np.nan)
    return np.stack(
        [known[text] if says_something(text) else nothing for text in answers]
    )


def says_something(text: str) -> bool:
    """Tell whether an answer has a letter or a digit."""
    return any(letter.isalnum() for letter in text)


def _packed(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")
