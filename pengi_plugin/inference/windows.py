"""A recording of any length in, answers about its windows out as they come.

``model`` is an ``AudioLanguageModel``, which has the functions as its methods.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch

from pengi_plugin.data.audio import read_windows
from pengi_plugin.decoders.limits import check_count


class Summary(NamedTuple):
    """An answer, about how many windows it was given, and when, in seconds."""

    answer: str
    count: int
    times: list[tuple[float, float]]


def answer_windows(
    model, path, prompt=None, batch_size: int = 8, overlap: float = 0.0, **options
) -> Iterator[tuple[float, float, str]]:
    """Yield the answer about each window of a recording as soon as it is known.

    Windows have ``clip_seconds``; a batch of them is in memory at a time, so a
    recording may be hours long.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    path : str
        Audio file.
    prompt : str
        ``default_prompt`` if None.
    batch_size : int
        Number of windows that are answered at a time.
    overlap : float
        Seconds that a window shares with the one before. The last window shares more,
        as it ends with the recording; see ``data.audio.window_starts``.
    **options : dict
        ``add_texts`` and search options; see ``generate_batch``.

    Yields
    ------
    start, end : float
        Of the window, in seconds.
    answer : str

    Raises
    ------
    ValueError
        At once, if an option cannot be used. Where it is met, if the file is damaged.
    """
    check_count("batch_size", batch_size)
    n_overlap = check_overlap(model, overlap)
    search = {name: options[name] for name in options if name != "add_texts"}
    model.make_searcher(**search)  # refuses wrong options before the file is read

    def answers():
        rate = model.hparams.sample_rate
        windows = read_windows(
            model.local_path(path), rate, model.n_sample, n_overlap=n_overlap
        )
        while batch := list(islice(windows, batch_size)):
            wavs = torch.stack([wav for _, wav in batch])
            found, _ = model.generate_batch(
                wavs, torch.ones(len(wavs)), prompt, **options
            )
            for (start, wav), answer in zip(batch, found, strict=True):
                yield start / rate, (start + len(wav)) / rate, answer

    return answers()


def check_overlap(model, overlap: float) -> int:
    """Return an overlap of windows in samples.

    Raises
    ------
    ValueError
        If it is negative, or not shorter than a window.
    """
    seconds, rate = model.hparams.clip_seconds, model.hparams.sample_rate
    if not (0 <= overlap < seconds and round(overlap * rate) < model.n_sample):
        raise ValueError(
            f"overlap must be at least 0 and less than the {seconds} s of a window; "
            f"got {overlap}."
        )
    return round(overlap * rate)


def summarize_file(
    model, path, prompt=None, batch_size: int = 8, overlap: float = 0.0, **options
) -> list[Summary]:
    """Return the answers about the windows of a recording, the commonest first.

    Arguments and errors are those of ``answer_windows``, and the result is that of
    ``summarize``.
    """
    return summarize(
        answer_windows(model, path, prompt, batch_size, overlap, **options)
    )


def summarize(answers: Iterable[tuple[float, float, str]]) -> list[Summary]:
    """Return each distinct answer once, the commonest first, the earlier one if equal.

    Arguments
    ---------
    answers : iterable of (float, float, str)
        Start and end of windows, in order of time, and the answer about each.

    Returns
    -------
    summaries : list of Summary
        Times of windows that touch or overlap are merged.

    Example
    -------
    >>> for line in summarize([(0, 5, "wind"), (5, 10, "rain"), (10, 15, "rain")]):
    ...     print(*line)
    rain 2 [(5, 15)]
    wind 1 [(0, 5)]
    """
    counts, times = {}, {}
    for start, end, answer in answers:
        counts[answer] = counts.get(answer, 0) + 1
        spans = times.setdefault(answer, [])
        if spans and start <= spans[-1][1]:
            start, _ = spans.pop()
        spans.append((start, end))
    ordered = sorted(counts, key=lambda answer: -counts[answer])  # stable
    return [Summary(answer, counts[answer], times[answer]) for answer in ordered]
