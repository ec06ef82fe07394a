"""A model and audio files in, answers about the files out, in the order of the files.

``model`` is an ``AudioLanguageModel``, which has these functions as its methods.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.choose import as_searcher
from pengi_plugin.decoders.limits import check_count
from pengi_plugin.decoders.sampling import PrefixSampler
from pengi_plugin.inference.sequences import (
    encode_recording,
    hear,
    prefixes,
    usual_window,
)
from pengi_plugin.inference.texts import broadcast_texts
from pengi_plugin.inference.windows import answer_windows

#: Prompts of ``describe_file``; the released code has the same.
DESCRIBE_PROMPTS = (
    "generate audio caption",
    "generate metadata",
    "this is a sound of",
)


class FileAnswer(NamedTuple):
    """The answer about one file, or the error that prevented it.

    The answer is a text, or the ranked labels of ``classify_files``; the prompt is
    None where the answer joins those to several prompts.
    """

    path: str
    prompt: str | None
    answer: str | list[tuple[str, float]] | None
    error: Exception | None


def each_file(
    paths: Sequence,
    prompts: Sequence[str | None],
    load: Callable,
    ask: Callable,
    batch_size: int,
    join: Callable = torch.stack,
) -> Iterator[FileAnswer]:
    """Yield the answer about each file in order; errors are yielded, not raised.

    A file that occurs several times in a batch is loaded and encoded once.

    Arguments
    ---------
    paths : list of str
        Audio files.
    prompts : list of str
        One per file.
    load : callable
        path -> clip [sample], or what else is heard of the file. It raises an
        OSError, ValueError or RuntimeError for a file that it cannot read.
    ask : callable
        (clips [clip, sample], clip_index [prompt], prompts) -> one answer per
        prompt; prompt n is about the clip ``clip_index[n]``.
    batch_size : int
        Number of files that are answered at a time.
    join : callable
        List of clips -> what ``ask`` takes; ``list`` if their lengths differ.

    Yields
    ------
    answer : FileAnswer

    Raises
    ------
    ValueError
        If ``batch_size`` is less than 1.

    Example
    -------
    >>> def load(path):
    ...     return torch.tensor([float(path)])
    >>> def ask(clips, clip_index, prompts):
    ...     return [2 * clips[i].item() for i in clip_index]
    >>> results = each_file(["1", "x", "3"], ["twice?"] * 3, load, ask, batch_size=2)
    >>> [answer for path, prompt, answer, error in results]
    [2.0, None, 6.0]
    """
    check_count("batch_size", batch_size)
    for start in range(0, len(paths), batch_size):
        batch = slice(start, start + batch_size)
        yield from _one_batch(paths[batch], prompts[batch], load, ask, join)


@torch.inference_mode()
def _one_batch(paths, prompts, load, ask, join) -> list[FileAnswer]:
    """Return the answers about the files of one batch; see ``each_file``."""
    paths = [str(path) for path in paths]
    clips, errors = {}, {}
    for path in dict.fromkeys(paths):
        try:
            clips[path] = load(path)
        except (OSError, ValueError, RuntimeError) as error:
            errors[path] = error
    answers = iter(())
    if clips:
        row = {path: index for index, path in enumerate(clips)}
        clip_index = torch.tensor([row[path] for path in paths if path in row])
        good_prompts = [prompt for path, prompt in zip(paths, prompts) if path in row]
        answers = iter(ask(join(list(clips.values())), clip_index, good_prompts))
    return [
        FileAnswer(path, prompt, None, errors[path])
        if path in errors
        else FileAnswer(path, prompt, next(answers), None)
        for path, prompt in zip(paths, prompts)
    ]


def check_paths(paths: Sequence) -> None:
    """Raise ValueError if a single path is given where a list is asked for.

    Example
    -------
    >>> check_paths("x.wav")
    Traceback (most recent call last):
    ...
    ValueError: Give a list of paths; got one: 'x.wav'. Write ['x.wav'].
    """
    if isinstance(paths, str | bytes | os.PathLike):
        name = os.fspath(paths)
        raise ValueError(f"Give a list of paths; got one: {name!r}. Write [{name!r}].")


def answers_only(results: Iterable[FileAnswer]) -> list:
    """Return the answers about files; raise the first error."""
    answers = []
    for result in results:
        if result.error is not None:
            raise result.error
        answers.append(result.answer)
    return answers


def generate_file(
    model,
    path,
    prompt=None,
    window=None,
    batch_size: int = 8,
    overlap: float = 0.0,
    **options,
):
    """Answer a prompt about a recording.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    path : str
        Audio file.
    prompt : str
        ``default_prompt`` if None.
    window : str
        ``"first"``: one answer, about the first ``clip_seconds``.
        ``"whole"``: one answer about all of a recording of at most ``max_windows``
        windows, by a model that reads sequences (``hparams/model/mini_sequence.yaml``).
        ``"all"``: one answer for each window of ``clip_seconds``; windows are
        adjacent, and the last one ends with the recording, unless less than a tenth
        of it would be new (then it is left out). ``batch_size`` windows are in memory
        at a time, so a recording may be hours long; ``answer_windows`` gives the
        answers as they come, and ``summarize_file`` the commonest.
        None: ``"whole"`` where that is possible, else ``"first"``.
    batch_size : int
        Number of windows that are encoded or answered at a time.
    overlap : float
        With ``"all"``: seconds that a window shares with the one before.
    **options : dict
        ``add_texts`` and search options; see ``generate_batch``.

    Returns
    -------
    answer : str or list of (float, float, str)
        With ``"all"``: start and end of each window, in seconds, and its answer.

    Raises
    ------
    ValueError
        If ``window``, ``batch_size``, ``overlap`` or an option is none of these, or
        ``"whole"`` is asked of a model that reads one vector, or of a recording that is
        too long.
    """
    if window not in (None, "first", "whole", "all"):
        raise ValueError(
            f"window must be 'first', 'whole', 'all' or None; got {window!r}."
        )
    check_count("batch_size", batch_size)
    if window == "all":
        found = answer_windows(model, path, prompt, batch_size, overlap, **options)
        return list(found)
    if overlap:
        raise ValueError(
            f"overlap needs window='all'; got overlap={overlap}, window={window!r}."
        )
    if window is None:
        window = usual_window(model, path)
    if window == "whole":
        features = encode_recording(model, path, batch_size)
        prefix = model.encode_embeddings(features, prompt)
        return model.generate_after(prefix, **options)[0][0]
    clips = model.load_clip(path)[None]
    return model.generate_batch(clips, torch.ones(1), prompt, **options)[0][0]


def generate_files(
    model, paths: Sequence, prompts=None, batch_size: int = 8, **options
) -> list[str]:
    """Answer prompts about files, in order; an unreadable file raises its error.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    paths : list of str
        Audio files.
    prompts : str or list of str
        One for all or one per file; ``default_prompt`` if None.
    batch_size : int
        Number of files that are answered at a time.
    **options : dict
        Search options; see ``generate_batch``.

    Returns
    -------
    answers : list of str
    """
    return answers_only(answer_files(model, paths, prompts, batch_size, **options))


def answer_files(
    model, paths: Sequence, prompts=None, batch_size: int = 8, **options
) -> Iterator[FileAnswer]:
    """Yield the answer about each file in order; errors are yielded, not raised.

    Arguments are those of ``generate_files``. A model that reads sequences hears all
    of a recording, up to ``max_windows``, as in ``generate_file``.

    Raises
    ------
    ValueError
        If ``paths`` is one path.
    """
    check_paths(paths)
    search = {name: options[name] for name in options if name != "add_texts"}
    model.make_searcher(**search)  # refuses wrong options before a file is read

    def ask(prefix, prompts):
        return model.generate_after(prefix, **options)[0]

    prompts = broadcast_texts(prompts, len(paths), model.hparams.default_prompt)
    return each_prefix(model, paths, prompts, ask, batch_size)


def each_prefix(
    model, paths: Sequence, prompts: Sequence[str], ask: Callable, batch_size: int
) -> Iterator[FileAnswer]:
    """Yield the answer about each file in order, as ``each_file`` does.

    Of a file all is heard that the model reads at once; see ``sequences.hear``.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    paths, prompts, batch_size
        As of ``each_file``.
    ask : callable
        (prefix [prompt, 2 * n_prefix, d_model], prompts) -> one answer per prompt.
    """

    def load(path):
        return hear(model, path, batch_size)

    def ask_all(heard, index, prompts):
        return ask(prefixes(model, heard, index, prompts), prompts)

    return each_file(paths, prompts, load, ask_all, batch_size, join=list)


def file_prefix(model, path, prompt=None) -> Tensor:
    """Return the prefix of a prompt about a file [1, 2 * n_prefix, d_model]."""
    prompts = broadcast_texts(prompt, 1, model.hparams.default_prompt)
    return prefixes(model, [hear(model, path)], torch.zeros(1).long(), prompts)


@torch.inference_mode()
def ranked_file(model, path, prompt=None, n_best: int = 5) -> list:
    """Return the best answers of one beam search about a recording.

    The search is that of the model's YAML if it is a beam search; else a beam search
    with the same limits.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    path : str
        Audio file.
    prompt : str
        ``default_prompt`` if None.
    n_best : int
        Number of answers, which is the beam size too.

    Returns
    -------
    answers : list of (str, float)
        Answers and scores, best first. A score is the average log-probability of
        the answer's tokens, the end mark included, if the searcher has
        ``length_normalization``; fewer answers if the beam finds fewer.

    Raises
    ------
    ValueError
        If ``n_best`` is less than 1.
    """
    check_count("n_best", n_best)
    prefix = file_prefix(model, path, prompt)
    searcher = as_searcher(PrefixBeamSearcher, model.mods.searcher)
    options = {"beam_size": n_best, "topk": n_best, "return_topk": True}
    searcher = searcher.with_options(**options)
    with model.inference_ctx:
        tokens, lengths, scores, _ = searcher(prefix)
    texts = _texts(model.tokenizer, tokens[0], lengths[0])
    ranked = zip(texts, scores[0].tolist())
    return [(text, score) for text, score in ranked if score > -float("inf")]


@torch.inference_mode()
def sample_file(model, path, prompt=None, n_samples: int = 5, **sampling) -> list:
    """Draw several answers to a prompt about a recording at random.

    The sampler is that of the model's YAML if it has one; else a ``PrefixSampler``
    with the limits of its searcher.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    path : str
        Audio file.
    prompt : str
        ``default_prompt`` if None.
    n_samples : int
        Number of answers.
    **sampling : dict
        Options of ``PrefixSampler``: ``temperature``, ``top_k``, ``top_p``,
        ``seed``, ``max_new_tokens``, ``min_new_tokens``.

    Returns
    -------
    answers : list of str

    Raises
    ------
    ValueError
        If an option is unknown or has a value that cannot be used.
    """
    prefix = file_prefix(model, path, prompt)
    sampler = as_searcher(PrefixSampler, model.mods.searcher)
    sampler = sampler.with_options(n_samples=n_samples, **sampling)
    with model.inference_ctx:
        tokens, lengths, *_ = sampler(prefix)
    if n_samples == 1:
        return [model.tokenizer.decode_ids(tokens[0]).strip()]
    return _texts(model.tokenizer, tokens[0], lengths[0])


def describe_file(model, path, **search) -> str:
    """Join the answers to ``DESCRIBE_PROMPTS`` about a file, which is encoded once."""
    return answers_only(describe_files(model, [path], **search))[0]


def describe_files(
    model, paths: Sequence, batch_size: int = 8, **search
) -> Iterator[FileAnswer]:
    """Yield the description of each file in order, as ``describe_file`` gives it.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    paths : list of str
        Audio files.
    batch_size : int
        Number of files that are described at a time, with three answers each.
    **search : dict
        Search options; see ``generate_batch``.

    Yields
    ------
    description : FileAnswer
        The answers to ``DESCRIBE_PROMPTS``, joined; or the error of a file that
        cannot be read, which stops no other file.
    """
    check_paths(paths)
    n = len(DESCRIBE_PROMPTS)

    def load(path):
        return hear(model, path, batch_size)

    def ask(heard, index, _):
        prompts = DESCRIBE_PROMPTS * len(index)
        prefix = prefixes(model, heard, index.repeat_interleave(n), prompts)
        answers, _ = model.generate_after(prefix, **search)
        return [". ".join(answers[i : i + n]) for i in range(0, len(answers), n)]

    return each_file(paths, [None] * len(paths), load, ask, batch_size, join=list)


def _texts(tokenizer, tokens: Tensor, lengths: Tensor) -> list[str]:
    """Return the texts of [answer, token] with relative lengths [answer]."""
    n_tokens = (lengths * tokens.shape[-1]).round().long().tolist()
    return [
        tokenizer.decode_ids(ids[:n]).strip()
        for ids, n in zip(tokens.tolist(), n_tokens)
    ]
