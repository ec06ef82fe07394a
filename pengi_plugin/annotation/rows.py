"""A model, recordings and prompts in; a row per recording, window and prompt out.

Windows of several recordings are answered in one batch. One batch of windows is in
memory at a time, so a recording may be hours long.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from pengi_plugin.data.audio import read_windows, repeat_or_trim

#: Which windows of a recording are answered.
WINDOWS = ("all", "first")


class Window(NamedTuple):
    """A part of a recording [sample], repeated to full length; or its error."""

    path: str
    start: float
    end: float | None
    wav: Tensor | None
    error: str | None


def answer_rows(
    model,
    paths: Sequence[str],
    prompts: Sequence[str],
    windows: str = "all",
    batch_size: int = 8,
    search: Mapping | None = None,
    on_recording: Callable[[], None] = lambda: None,
) -> Iterator[dict]:
    """Yield the rows of recordings, in order.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    paths : list of str
        Local audio files.
    prompts : list of str
        Each is asked about every window; a window is encoded once.
    windows : str
        ``"all"``, side by side as of ``generate_file(window="all")``, or ``"first"``.
    batch_size : int
        Windows that are encoded at a time.
    search : dict
        Search options; see ``AudioLanguageModel.make_searcher``.
    on_recording : callable
        Called when all of a recording was read.

    Yields
    ------
    row : dict
        Of ``output.COLUMNS``, in this order.
    """
    searcher = model.make_searcher(**(search or {}))
    found = _all_windows(model, paths, windows, on_recording)
    for batch in _batches(found, batch_size):
        answers = iter(_answers(model, searcher, batch, prompts))
        for window in batch:
            times = {"start": window.start, "end": window.end}
            if window.error is not None:
                values = dict.fromkeys(("prompt", "answer", "score"))
                yield {"path": window.path} | times | values | {"error": window.error}
                continue
            for prompt in prompts:
                answer, score = next(answers)
                values = {"prompt": prompt, "answer": answer, "score": score}
                yield {"path": window.path} | times | values | {"error": None}


def _all_windows(model, paths, windows, on_recording) -> Iterator[Window]:
    """Yield the windows of all recordings, and an error in place of what is bad."""
    for path in paths:
        end = 0.0
        try:
            for window in _windows(model, path, windows):
                end = window.end
                yield window
        except (OSError, ValueError) as error:  # of the file: see data.audio
            yield Window(path, end, None, None, str(error) or type(error).__name__)
        on_recording()


def _windows(model, path: str, windows: str) -> Iterator[Window]:
    rate, n = model.hparams.sample_rate, model.n_sample
    n_window = 1 if windows == "first" else None
    for start, wav in islice(read_windows(path, rate, n), n_window):
        end = (start + len(wav)) / rate
        if len(wav) < n:
            wav = repeat_or_trim(wav[None], torch.ones(1), n)[0]
        yield Window(path, round(start / rate, 3), round(end, 3), wav, None)


def _batches(windows: Iterator[Window], batch_size: int) -> Iterator[list[Window]]:
    """Yield up to ``batch_size`` windows at a time, with the errors among them."""
    batch, n_good = [], 0
    for window in windows:
        batch.append(window)
        n_good += window.error is None
        if n_good == batch_size:
            yield batch
            batch, n_good = [], 0
    if batch:
        yield batch


@torch.inference_mode()
def _answers(model, searcher, batch, prompts) -> list[tuple[str, float]]:
    """Return answers and scores, all prompts of a window before the next window."""
    wavs = [window.wav for window in batch if window.error is None]
    if not wavs:
        return []
    index = torch.arange(len(wavs)).repeat_interleave(len(prompts))
    prefix = model.encode_batch(
        torch.stack(wavs), torch.ones(len(wavs)), list(prompts) * len(wavs), index
    )
    with model.inference_ctx:
        tokens, _, scores, _ = searcher(prefix)
    texts = [model.tokenizer.decode_ids(ids).strip() for ids in tokens]
    return [
        (text, round(score, 6))
        for text, score in zip(texts, scores.float().tolist(), strict=True)
    ]
