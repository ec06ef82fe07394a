"""What protocols ask a model: rows in, answers, likelihoods or embeddings out.

``model`` is an ``AudioLanguageModel`` or anything with the same methods:
``generate_files``, ``load_clip``, ``encode_audio``, ``encode_embeddings``,
``score_answers`` and ``embed_texts``; for ``contrastive_scores``, an
``AudioTextModel``. Each row has ``id``, ``wav`` (a path) and,
except for embeddings, ``prompt``.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from pengi_plugin.protocols.answer_log import answer_rows, digest

#: Answers scored at a time, over one reading of a batch of clips: bounds the memory
#: of the LM's log-probabilities.
ANSWER_BATCH = 32
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
    """

    model: object
    folder: Path
    settings: dict = field(default_factory=dict)
    search: dict = field(default_factory=dict)
    batch_size: int = 8
    source: Callable[[Sequence[dict]], list[str]] | None = None

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
        return replace(self, source=source, folder=Path(self.folder) / folder)

    def ask(
        self, rows: Sequence[dict], ask: Callable, what: str, **settings
    ) -> list[dict]:
        """Return what ``ask`` says about each row; see ``answer_rows``."""
        return answer_rows(
            rows,
            ask,
            Path(self.folder) / what,
            {**self.settings, **settings},
            self.batch_size,
            name=what,
        )


def generated_answers(session: Session, rows: Sequence[dict]) -> list[str]:
    """Return the text of an answer to each row: the model's, or another source's."""
    if session.source is not None:
        return session.source(rows)

    def ask(batch):
        answers = session.model.generate_files(
            [row["wav"] for row in batch],
            [row["prompt"] for row in batch],
            batch_size=len(batch),
            **session.search,
        )
        return [
            {"prompt": row["prompt"], "answer": answer, "wav": str(row["wav"])}
            for row, answer in zip(batch, answers, strict=True)
        ]

    found = session.ask(rows, ask, "answers", **session.search)
    return [answer["answer"] for answer in found]


def answer_likelihoods(
    session: Session, rows: Sequence[dict], answers: Sequence[str]
) -> np.ndarray:
    """Return the log-probability of every answer about every row [row, answer].

    Each clip is encoded once and its embedding kept, and the LM reads its prefix
    once for ``ANSWER_BATCH`` answers.

    Raises
    ------
    ValueError
        If the session's answers are not the model's: there are no likelihoods then.
    """
    prefixes = clip_prefixes(session, rows)

    def ask(batch):
        prefix = prefixes(batch)
        parts = [
            session.model.score_answers(
                prefix, list(answers[start : start + ANSWER_BATCH])
            )
            for start in range(0, len(answers), ANSWER_BATCH)
        ]
        scores = torch.cat(parts, dim=1).float().cpu()
        return [{"log_probs": clip} for clip in scores.tolist()]

    what = f"likelihoods-{digest(list(answers))}"
    found = session.ask(rows, ask, what, answers=list(answers))
    return np.array([answer["log_probs"] for answer in found])


def clip_prefixes(session: Session, rows: Sequence[dict]) -> Callable:
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
    index_of = {row["id"]: index for index, row in enumerate(rows)}

    def prefixes(batch):
        heard = torch.from_numpy(embeddings[[index_of[row["id"]] for row in batch]])
        return model.encode_embeddings(heard, [row["prompt"] for row in batch])

    return prefixes


def audio_embeddings(
    session: Session,
    rows: Sequence[dict],
    embed: Callable | None = None,
    what="",
    skip_unreadable: bool = False,
) -> np.ndarray:
    """Return one vector per row [row, d_embedding], kept on disk.

    Arguments
    ---------
    session : Session
        Whose model embeds.
    rows : list of dict
        With ``id`` and ``wav``.
    embed : callable
        wavs [batch, sample] -> [batch, ...]; the model's ``encode_audio`` if None.
    what : str
        Name of the folder that keeps them.
    skip_unreadable : bool
        Whether a clip that cannot be read has NaN for an embedding; else it raises.

    Returns
    -------
    embeddings : numpy.ndarray
        Float32 [row, d_embedding].
    """
    model = session.model
    embed = embed or (lambda wavs: model.encode_audio(wavs, torch.ones(len(wavs))))

    def load(path):
        try:
            return model.load_clip(path)
        except (OSError, ValueError, RuntimeError):
            if not skip_unreadable:
                raise

    def ask(batch):
        clips = [load(row["wav"]) for row in batch]
        good = [clip for clip in clips if clip is not None]
        found = embed(torch.stack(good)).detach().float().cpu().numpy() if good else ()
        vectors = iter(found)
        return [_kept(None if clip is None else next(vectors)) for clip in clips]

    clips = [{"id": row["id"], "wav": row["wav"]} for row in rows]  # prompt: no matter
    found = session.ask(clips, ask, what or "embeddings")
    shape = next((answer["shape"] for answer in found if answer["shape"]), [0])
    return np.stack([_vector(answer, shape) for answer in found])


def _kept(vector: np.ndarray | None) -> dict:
    """Return what the answer log keeps of a vector, or of a clip without one."""
    if vector is None:
        return {"base64": None, "shape": None}
    return {"base64": _packed(vector), "shape": list(vector.shape)}


def _vector(answer: dict, shape: list[int]) -> np.ndarray:
    if answer["base64"] is None:
        return np.full(shape, np.nan, dtype=np.float32)
    return _unpacked(answer["base64"]).reshape(answer["shape"])


def contrastive_scores(
    session: Session, rows: Sequence[dict], texts: Sequence[str]
) -> np.ndarray:
    """Return the cosine of every row's clip and every text [row, text].

    Arguments
    ---------
    session : Session
        Its model is an ``AudioTextModel``, which embeds both in one space.
    rows : list of dict
        With ``id`` and ``wav``.
    texts : list of str
        Captions or class names.

    Raises
    ------
    ValueError
        If the session's model has no such space.
    """
    if not hasattr(session.model, "encode_text"):
        raise ValueError(
            "'contrastive' needs a model that embeds clips and texts in one space (an "
            f"AudioTextModel); got a {type(session.model).__name__}."
        )
    clips = audio_embeddings(session, rows)
    points = [
        session.model.encode_text(texts[start : start + TEXT_BATCH])
        for start in range(0, len(texts), TEXT_BATCH)
    ]
    return clips @ torch.cat(points).float().cpu().numpy().T


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
