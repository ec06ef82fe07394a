"""A recording of several windows in, what a mapper of sequences reads of it out.

``model`` is an ``AudioLanguageModel``. One whose audio mapper reads a sequence
(``hparams/model/mini_sequence.yaml``) answers about a whole recording, up to
``max_windows`` of its YAML.
"""

import logging

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pengi_plugin.data.audio import Recording

logger = logging.getLogger(__name__)


def usual_window(model, path) -> str:
    """Return the window that ``generate_file`` takes by itself."""
    if not model.reads_sequences:
        return "first"
    n_window = _count_windows(model, path)
    if n_window > model.max_windows:
        logger.warning(
            "%s has %d windows of %s s; the model reads %d at once. The answer is "
            "about the first; give window='all' for one answer per window.",
            *(path, n_window, model.hparams.clip_seconds, model.max_windows),
        )
        return "first"
    return "whole"


def hear(model, path, batch_size: int = 8) -> Tensor:
    """Return what a model hears of a file at once, for ``prefixes``.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    path : str
        Audio file.
    batch_size : int
        Number of windows that are encoded at a time.

    Returns
    -------
    heard : torch.Tensor
        The first clip [n_sample]. Of a model that reads sequences, the features
        [time, d_embedding] of the whole recording, or of its first clip if it is too
        long, which is logged.
    """
    if not model.reads_sequences:
        return model.load_clip(path)
    if usual_window(model, path) == "whole":
        return encode_recording(model, path, batch_size)[0]
    return model.encode_features(model.load_clip(path)[None], torch.ones(1))[0]


def prefixes(model, heard: list[Tensor], index: Tensor, prompts) -> Tensor:
    """Return the prefixes of prompts about what was heard of files.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    heard : list of torch.Tensor
        Of ``hear``, one per file.
    index : torch.Tensor
        Which file each prompt is about [prompt].
    prompts : list of str
        Questions.

    Returns
    -------
    prefix : torch.Tensor
        [prompt, 2 * n_prefix, d_model]
    """
    if not model.reads_sequences:
        clips = torch.stack(heard)
        return model.encode_batch(clips, torch.ones(len(clips)), prompts, index)
    parts = [
        model.encode_embeddings(heard[number][None], prompt)
        for number, prompt in zip(index.tolist(), prompts, strict=True)
    ]
    return torch.cat(parts)


def _open(model, path, name: str | None = None) -> Recording:
    return Recording(model.local_path(path), model.hparams.sample_rate, name)


def _count_windows(model, path, name: str | None = None) -> int:
    with _open(model, path, name) as recording:
        return -(-recording.n_sample // model.n_sample)


@torch.inference_mode()
def encode_recording(
    model, path, batch_size: int = 8, name: str | None = None
) -> Tensor:
    """Return the features of a whole recording, in order of time.

    Windows of ``clip_seconds`` are encoded one behind the other. The last one is
    repeated to full length, and of its features those of the recording are kept.

    Arguments
    ---------
    model : AudioLanguageModel
        One that ``reads_sequences``.
    path : str
        Audio file.
    batch_size : int
        Number of windows that are encoded at a time.
    name : str
        What messages call the file; by default its path.

    Returns
    -------
    features : torch.Tensor
        [1, time, d_embedding], for ``encode_embeddings``.

    Raises
    ------
    ValueError
        If the model reads one vector per clip, or the recording has more windows
        than ``max_windows``.
    """
    if not model.reads_sequences:
        raise ValueError(
            "window='whole' needs a model whose audio mapper reads a sequence, such as "
            "hparams/model/mini_sequence.yaml; give window='first' or 'all'."
        )
    n_window = _count_windows(model, path, name)
    if n_window > model.max_windows:
        raise ValueError(
            f"{name or path} has {n_window} windows of {model.hparams.clip_seconds} s; "
            f"the model reads {model.max_windows} at once. Give window='all' for an "
            "answer per window, or cut the recording."
        )
    parts, n = [], model.n_sample
    with _open(model, path, name) as recording:
        starts = range(0, recording.n_sample, n)
        for first in range(0, len(starts), batch_size):
            wavs = [
                recording.read(start, n) for start in starts[first : first + batch_size]
            ]
            lengths = torch.tensor([len(wav) / n for wav in wavs])
            padded = pad_sequence(wavs, batch_first=True)
            relative = lengths * n / padded.shape[1]
            for features, length in zip(
                model.encode_features(padded, relative), lengths.tolist()
            ):
                n_time = max(1, round(length * len(features)))
                parts.append(features if length == 1 else features[:n_time])
    return torch.cat(parts)[None]
