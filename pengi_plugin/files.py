"""A model and audio files in, answers about the files out, in their order.

``model`` is an ``AudioLanguageModel``, which has these functions as its methods, or
whatever has its ``load_clip``, ``load_audio``, ``encode_batch``, ``generate_batch``
and ``make_searcher``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pengi_plugin.clips import window_starts
from pengi_plugin.texts import one_each

#: What ``describe_file`` asks, as the released code does.
DESCRIBE_PROMPTS = (
    "generate audio caption",
    "generate metadata",
    "this is a sound of",
)

#: How many windows of a long recording are answered at a time.
WINDOW_BATCH = 8


class FileAnswer(NamedTuple):
    """What became of one file: an answer, or the error that stopped it."""

    path: str
    prompt: str
    answer: str | None
    error: Exception | None


def generate_file(model, path, prompt=None, window="first", **options):
    """Answer a prompt about a recording.

    Arguments
    ---------
    model : AudioLanguageModel
        Who answers.
    path : str
        Audio file.
    prompt : str
        ``default_prompt`` if None.
    window : str
        ``"first"``: what the model hears is the first ``clip_seconds``.
        ``"all"``: one answer for each window of ``clip_seconds``; windows lie
        side by side, the last one ends with the recording.
    **options : dict
        ``add_texts`` and search options; see ``generate_batch``.

    Returns
    -------
    answer : str or list of (float, float, str)
        With ``"all"``: start and end of each window, in seconds, and its answer.
    """
    if window not in ("first", "all"):
        raise ValueError(f"window must be 'first' or 'all'; got {window!r}.")
    if window == "first":
        clips = model.load_clip(path)[None]
        return model.generate_batch(clips, torch.ones(1), prompt, **options)[0][0]
    wav = model.load_audio(path)
    rate, n = model.hparams.sample_rate, model.n_sample
    starts = window_starts(len(wav), n)
    answers = []
    for first in range(0, len(starts), WINDOW_BATCH):
        batch = starts[first : first + WINDOW_BATCH]
        wavs = torch.stack([wav[start : start + n] for start in batch])
        lengths = torch.ones(len(wavs))
        answers += model.generate_batch(wavs, lengths, prompt, **options)[0]
    ends = [min(start + n, len(wav)) for start in starts]
    return [(a / rate, b / rate, text) for a, b, text in zip(starts, ends, answers)]


def generate_files(
    model, paths: Sequence, prompts=None, batch_size: int = 8, **options
) -> list[str]:
    """Answer prompts about files, in their order; the first bad file raises.

    Arguments
    ---------
    model : AudioLanguageModel
        Who answers.
    paths : list of str
        Audio files.
    prompts : str or list of str
        One for all or one each; ``default_prompt`` if None.
    batch_size : int
        How many are answered at a time.
    **options : dict
        Search options; see ``generate_batch``.
    """
    answers = []
    for result in answer_files(model, paths, prompts, batch_size, **options):
        if result.error is not None:
            raise result.error
        answers.append(result.answer)
    return answers


def answer_files(
    model, paths: Sequence, prompts=None, batch_size: int = 8, **options
) -> Iterator[FileAnswer]:
    """Yield the answer about each file in order; errors are yielded, not raised.

    Arguments are those of ``generate_files``.
    """
    prompts = one_each(prompts, len(paths), model.hparams.default_prompt)
    for start in range(0, len(paths), batch_size):
        batch = slice(start, start + batch_size)
        yield from _answer_some(model, paths[batch], prompts[batch], options)


def _answer_some(model, paths, prompts, options) -> list[FileAnswer]:
    """Answer one batch of files; a file that occurs twice is heard once."""
    clips, errors = {}, {}
    for path in dict.fromkeys(map(str, paths)):
        try:
            clips[path] = model.load_clip(path)
        except (OSError, ValueError, RuntimeError) as error:
            errors[path] = error
    asked = [(p, q) for p, q in zip(map(str, paths), prompts) if p in clips]
    answers = iter(())
    if asked:
        place = {path: index for index, path in enumerate(clips)}
        found, _ = model.generate_batch(
            torch.stack(list(clips.values())),
            torch.ones(len(clips)),
            [prompt for _, prompt in asked],
            clip_index=torch.tensor([place[path] for path, _ in asked]),
            **options,
        )
        answers = iter(found)
    return [
        FileAnswer(
            str(path),
            prompt,
            None if str(path) in errors else next(answers),
            errors.get(str(path)),
        )
        for path, prompt in zip(paths, prompts)
    ]


@torch.inference_mode()
def ranked_file(model, path, prompt=None, n_best: int = 5) -> list:
    """Return the best answers of one beam search: [(answer, score)], best first.

    A score is the average log-probability of the answer's tokens, the end mark
    included. ``n_best`` is the width of the beam too.
    """
    prefix = model.encode_batch(model.load_clip(path)[None], torch.ones(1), prompt)
    searcher = model.make_searcher(beam_size=n_best)
    searcher.topk, searcher.return_topk = n_best, True
    with model.inference_ctx:
        tokens, lengths, scores, _ = searcher(prefix)
    texts = _texts(model.tokenizer, tokens[0], lengths[0])
    ranked = zip(texts, scores[0].tolist())
    return [(text, score) for text, score in ranked if score > -float("inf")]


@torch.inference_mode()
def sample_file(model, path, prompt=None, n_samples: int = 5, **sampling) -> list:
    """Draw several answers to a prompt about a recording.

    Arguments
    ---------
    model : AudioLanguageModel
        Who answers.
    path : str
        Audio file.
    prompt : str
        ``default_prompt`` if None.
    n_samples : int
        How many answers.
    **sampling : dict
        ``temperature``, ``top_k``, ``top_p``, ``seed`` and ``max_new_tokens``;
        see ``PrefixSampler``.

    Returns
    -------
    answers : list of str
    """
    prefix = model.encode_batch(model.load_clip(path)[None], torch.ones(1), prompt)
    sampler = model.make_searcher(n_samples=n_samples, **sampling)
    with model.inference_ctx:
        tokens, lengths, *_ = sampler(prefix)
    if n_samples == 1:
        return [model.tokenizer.decode_ids(tokens[0]).strip()]
    return _texts(model.tokenizer, tokens[0], lengths[0])


def describe_file(model, path, **search) -> str:
    """Join the answers to ``DESCRIBE_PROMPTS`` about a file; it is heard once."""
    answers, _ = model.generate_batch(
        model.load_clip(path)[None],
        torch.ones(1),
        DESCRIBE_PROMPTS,
        clip_index=torch.zeros(len(DESCRIBE_PROMPTS), dtype=torch.long),
        **search,
    )
    return ". ".join(answers)


def _texts(tokenizer, tokens: Tensor, lengths: Tensor) -> list[str]:
    """Return the texts of [answer, token] with relative lengths [answer]."""
    n_tokens = (lengths * tokens.shape[-1]).round().long().tolist()
    return [
        tokenizer.decode_ids(ids[:n]).strip()
        for ids, n in zip(tokens.tolist(), n_tokens)
    ]
