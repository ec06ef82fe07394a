"""Questions of several users in, a reply or an error for each of them out.

What the page (``pengi demo``) and the server (``pengi serve``) share. Questions whose
search options agree are answered together; a question that cannot be answered harms
no other one. ``model`` is an ``AudioLanguageModel``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pengi_plugin.data.audio import Recording, repeat_or_trim, window_starts
from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.limits import check_count
from pengi_plugin.inference.sequences import encode_recording

#: How labels are scored; see ``AudioLanguageModel.classify_file``.
METHODS = ("similarity", "likelihood")

#: What a question is about: the beginning of its recording, or every window.
WINDOWS = ("first", "all")

#: Labels whose likelihoods are computed at a time, which bounds the memory.
LABELS_AT_A_TIME = 64


class TooLongError(ValueError):
    """A recording lasts longer than is allowed."""


@dataclass(frozen=True)
class Question:
    """A prompt about a recording, and how to answer it.

    Arguments
    ---------
    path : str
        Audio file.
    prompt : str
        Text given to the model.
    window : str
        ``"first"``: the first ``clip_seconds``; of a model that reads sequences, all
        of a recording of at most ``max_windows``. ``"all"``: an answer per window.
    labels : tuple of str
        Labels to rank beside the answer; none by default.
    method : str
        How they are scored: ``"similarity"`` or ``"likelihood"``.
    n_best : int
        Answers per window: as many hypotheses of the beam, where the search has one.
    search : dict
        Search options; see ``AudioLanguageModel.make_searcher``.
    max_seconds : float
        Longest recording; None: any.
    name : str
        What messages call the recording.

    Raises
    ------
    ValueError
        If ``window`` or ``method`` is none of these, or there is one label.
    """

    path: str
    prompt: str
    window: str = "first"
    labels: tuple[str, ...] = ()
    method: str = "similarity"
    n_best: int = 1
    search: Mapping[str, float] = field(default_factory=dict)
    max_seconds: float | None = None
    name: str = "The recording"

    def __post_init__(self):
        for name, known in (("window", WINDOWS), ("method", METHODS)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}; got {value!r}."
                )
        if len(self.labels) == 1 or not all(map(str.strip, self.labels)):
            raise ValueError(
                f"Give at least two labels, none empty; got {list(self.labels)}."
            )
        check_count("n_best", self.n_best)

    @property
    def group(self) -> tuple:
        """What questions that are searched together have in common."""
        return self.n_best, *sorted(self.search.items())


class Window(NamedTuple):
    """What was found about one window; ``start`` and ``end`` are in seconds.

    ``answers`` are texts with their scores, the best first: the average
    log-probability of a token, where the search normalizes lengths. ``labels`` are
    ranked as ``AudioLanguageModel.classify_file`` ranks them.
    """

    start: float
    end: float
    answers: list[tuple[str, float]]
    labels: list[tuple[str, float]]


class Reply(NamedTuple):
    """The windows that were answered, and how long the recording is in seconds."""

    seconds: float
    windows: list[Window]


def reason_for(question: Question, error: Exception) -> str:
    """Return what an error says, with the recording's name in place of its path.

    Who asks has sent a recording; where it lies is the server's own affair.
    """
    path = question.path
    is_whole = Path(path).is_absolute()  # else it may be a word of the message
    return str(error).replace(path, question.name) if is_whole else str(error)


def answer_questions(
    model, questions: Sequence[Question], batch_size: int = 8
) -> list[Reply | Exception]:
    """Return a reply to each question, or the error that prevented it.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    questions : list of Question
        They may differ in everything.
    batch_size : int
        Windows that are encoded and searched at a time.

    Returns
    -------
    replies : list of Reply or Exception
        In order. The first answer to a question about the first window is that of
        ``generate_file`` with the same options.
    """
    check_count("batch_size", batch_size)
    groups = {}
    for index, question in enumerate(questions):
        groups.setdefault(question.group, []).append(index)
    replies = [None] * len(questions)
    for indices in groups.values():
        group = [questions[index] for index in indices]
        for index, reply in zip(indices, _answer_group(model, group, batch_size)):
            replies[index] = reply
    return replies


def _answer_group(model, questions, batch_size) -> list[Reply | Exception]:
    """Answer together; if that fails, one by one, to find which question fails."""
    try:
        return _together(model, questions, batch_size)
    except Exception as error:  # of any kind: the other questions must be answered
        if len(questions) == 1:
            return [error]
    return [_answer_group(model, [one], batch_size)[0] for one in questions]


@torch.inference_mode()
def _together(model, questions, batch_size) -> list[Reply]:
    """Answer questions of one group, ``batch_size`` windows at a time."""
    n_best, search = questions[0].n_best, questions[0].search
    model.make_searcher(**search)  # refuses wrong options before a file is read
    replies = [Reply(_seconds(model, question), []) for question in questions]
    rows = (
        (question, reply, *row)
        for question, reply in zip(questions, replies)
        for row in _read(model, question)
    )
    while batch := list(islice(rows, batch_size)):
        prefix = _encode(model, batch)
        ranked = ranked_after(model, prefix, n_best, **search)
        for index, (question, reply, start, end, _) in enumerate(batch):
            _check_scores(question, ranked[index] or [("", math.nan)])
            labels = _rank(model, question, prefix[index], ranked[index])
            _check_scores(question, labels)
            reply.windows.append(Window(start, end, ranked[index], labels))
    return replies


def _check_scores(question: Question, ranking: Sequence[tuple[str, float]]) -> None:
    """Raise RuntimeError if a score is no number: JSON could not hold it either."""
    scores = [score for _, score in ranking]
    if not all(map(math.isfinite, scores)):
        raise RuntimeError(
            f"Texts about {question.name} have no probability; got {scores}."
        )


def _open(model, question: Question) -> Recording:
    return Recording(question.path, model.hparams.sample_rate, question.name)


def _seconds(model, question: Question) -> float:
    """Return how long a recording is; raise TooLongError if too long."""
    most = question.max_seconds
    with _open(model, question) as recording:
        if most is not None and recording.lasts_longer(most):
            raise TooLongError(
                f"{question.name} lasts longer than the {most:g} s that are allowed. "
                "Cut it, or use pengi ask --all-windows."
            )
        seconds = recording.n_sample / recording.sample_rate
    if not seconds:
        raise ValueError(f"{question.name} holds no samples; leave it out.")
    return seconds


def _read(model, question: Question) -> Iterator[tuple[float, float, Tensor | None]]:
    """Yield start and end of each window and its clip; None: the whole recording."""
    n, rate = model.n_sample, model.hparams.sample_rate
    with _open(model, question) as recording:
        starts = window_starts(recording.n_sample, n)
        if question.window == "first":
            n_window = -(-recording.n_sample // n)
            if model.reads_sequences and n_window <= model.max_windows:
                yield 0.0, recording.n_sample / rate, None
                return
            starts = [0]
        for start in starts:
            wav = recording.read(start, n)
            clip = repeat_or_trim(wav[None], torch.ones(1), n)[0]
            yield start / rate, (start + len(wav)) / rate, clip


def _encode(model, batch) -> Tensor:
    """Return the prefixes of windows [window, 2 * n_prefix, d_model]."""
    prompts = [question.prompt for question, *_ in batch]
    clips = [clip for *_, clip in batch]
    if all(clip is not None for clip in clips):
        return model.encode_batch(torch.stack(clips), torch.ones(len(clips)), prompts)
    parts = []
    for prompt, clip, (question, *_) in zip(prompts, clips, batch):
        if clip is None:
            features = encode_recording(model, question.path, name=question.name)
            parts.append(model.encode_embeddings(features, prompt))
        else:
            parts.append(model.encode_batch(clip[None], torch.ones(1), prompt))
    return torch.cat(parts)


def _rank(model, question: Question, prefix: Tensor, answers) -> list:
    """Return the labels of a question with their scores, the best first."""
    if not question.labels:
        return []
    labels = list(question.labels)
    if question.method == "likelihood":
        (scores,) = model.score_answers(
            prefix[None], labels, at_a_time=LABELS_AT_A_TIME
        )
    else:
        texts = model.embed_texts([answers[0][0], *labels])
        scores = texts[1:] @ texts[0]
    ranking = zip(labels, scores.tolist())
    return sorted(ranking, key=lambda item: item[1], reverse=True)


@torch.inference_mode()
def ranked_after(
    model, prefix: Tensor, n_best: int = 1, **search
) -> list[list[tuple[str, float]]]:
    """Return the answers that continue prefixes, with their scores.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    prefix : torch.Tensor
        [batch, 2 * n_prefix, d_model]
    n_best : int
        Answers per prefix: the best hypotheses of one beam search, which does not
        change for it, so fewer where the beam is smaller, and one of another search.
    **search : dict
        Search options; see ``AudioLanguageModel.make_searcher``.

    Returns
    -------
    answers : list of list of (str, float)
        Of each prefix, the best first.

    Raises
    ------
    ValueError
        If no search has these options.
    """
    searcher = model.make_searcher(**search)
    decode = model.tokenizer.decode_ids
    if not isinstance(searcher, PrefixBeamSearcher):
        with model.inference_ctx:
            tokens, _, scores, _ = searcher(prefix)
        return [
            [(decode(ids).strip(), score)]
            for ids, score in zip(tokens, scores.tolist(), strict=True)
        ]
    topk = min(n_best, searcher.beam_size)
    searcher = searcher.with_options(topk=topk, return_topk=True)
    with model.inference_ctx:
        tokens, lengths, scores, _ = searcher(prefix)
    n_token = (lengths * tokens.shape[-1]).round().long().tolist()
    return [
        [
            (decode(ids[:n]).strip(), score)
            for ids, n, score in zip(*row)
            if score > -float("inf")
        ]
        for row in zip(tokens.tolist(), n_token, scores.tolist())
    ]
