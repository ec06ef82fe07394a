"""Rows or texts in, their embeddings out: clips by the model's audio encoder, kept on
disk, texts by its text encoder."""

import base64
from collections.abc import Callable, Sequence

import numpy as np
import torch

from pengi_plugin.protocols.answer_log import error_line
from pengi_plugin.protocols.session import Session

#: Texts embedded at a time.
TEXT_BATCH = 256


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
