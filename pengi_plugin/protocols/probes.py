"""Probes: embeddings and labels in, the accuracy of small classifiers out.

How much a frozen audio embedding tells is measured by training a linear classifier
(L1) or one of three layers (L3) on it (Deshmukh et al., NeurIPS 2023, section 4),
with the folds that a data set prescribes, and again with other seeds. The learning rate
is chosen on a part of the training clips, as in HEAR (Turian et al., PMLR 176, 2022).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pengi_plugin.metrics.classification import mean_average_precision
from pengi_plugin.protocols.close_ended import class_targets, occurring_classes
from pengi_plugin.protocols.embeddings import audio_embeddings
from pengi_plugin.protocols.probe_training import PROBES, choose_rate, fit
from pengi_plugin.protocols.score import Score, mean_score, share_score
from pengi_plugin.protocols.session import Session

#: mAP is computed anew for every resample.
N_MAP_RESAMPLES = 100


def log_mel_statistics(
    wavs: Tensor, sample_rate: int, n_mels: int = 64, n_fft: int = 1024
) -> Tensor:
    """Embed clips without any learning: what a probe must beat.

    Arguments
    ---------
    wavs : torch.Tensor
        [batch, sample]
    sample_rate : int
        In Hz.
    n_mels : int
        Mel bands.
    n_fft : int
        Window in samples; windows overlap by half.

    Returns
    -------
    embedding : torch.Tensor
        Mean and standard deviation over time of each band in dB [batch, 2 n_mels].

    Example
    -------
    >>> log_mel_statistics(torch.randn(3, 16000), 16000).shape
    torch.Size([3, 128])
    """
    from torchaudio.transforms import MelSpectrogram

    mel = MelSpectrogram(
        sample_rate, n_fft, hop_length=n_fft // 2, n_mels=n_mels, f_min=50.0
    ).to(wavs.device)
    decibels = 10 * mel(wavs).clamp(min=1e-10).log10()
    return torch.cat([decibels.mean(-1), decibels.std(-1)], dim=-1)


def probes(
    session: Session,
    rows: Sequence[dict],
    classes: Sequence[str] | None = None,
    kinds: Sequence[str] = ("L1", "L3"),
    seeds: Sequence[int] = (0, 1, 2),
    n_folds: int | None = None,
) -> list[Score]:
    """Probe the model's audio embedding, and a log-mel summary beside it.

    Arguments
    ---------
    session : Session
        The model and where embeddings are kept.
    rows : list of dict
        With ``id``, ``wav``, ``fold`` (see ``probe``) and ``label`` or ``labels``.
    classes : list of str
        All class names; None for those that occur in the rows.
    kinds : list of str
        Of ``PROBES``.
    seeds : list of int
        One probe each.
    n_folds : int
        Folds that the set prescribes; None: any number.

    Returns
    -------
    scores : list of Score
        For each kind, of the model's embedding and of the log-mel summary.

    Raises
    ------
    ValueError
        If the rows have another number of folds.
    """
    found = sorted({str(row["fold"]) for row in rows})
    if n_folds is not None and len(found) != n_folds:
        raise ValueError(
            f"This set is probed over {n_folds} folds; its rows are of {len(found)}: "
            f"{', '.join(found)}. Prepare all of them."
        )
    rate = session.model.hparams.sample_rate
    targets = class_targets(rows, classes or occurring_classes(rows))
    folds = [row["fold"] for row in rows]
    spaces = {
        "audio embedding": audio_embeddings(session, rows),
        "log-mel": audio_embeddings(
            session, rows, lambda wavs: log_mel_statistics(wavs, rate), "log-mel"
        ),
    }
    return [
        probe(
            *(points, targets, folds, kind, seeds, f"{kind} on {space}"),
            clips=[row["wav"] for row in rows],
        )
        for kind in kinds
        for space, points in spaces.items()
    ]


def probe(
    embeddings: np.ndarray,
    targets: np.ndarray,
    folds: Sequence,
    kind: str = "L1",
    seeds: Sequence[int] = (0, 1, 2),
    way: str = "",
    clips: Sequence | None = None,
) -> Score:
    """Train and test a probe on every fold with every seed.

    Arguments
    ---------
    embeddings : numpy.ndarray
        [clip, d_embedding]. A clip of NaN is not trained on, and wrong.
    targets : numpy.ndarray
        Class indices [clip], or 1 where a class is present [clip, class].
    folds : list
        The fold of each clip. Each fold is tested by a probe trained on all the
        others; clips whose fold is ``"train"`` are never tested.
    kind : str
        Of ``PROBES``.
    seeds : list of int
        One probe each.
    way : str
        What the embeddings are, for the table.
    clips : list
        The clip of each row, where several rows are of one; None: each its own.

    Returns
    -------
    score : Score
        Accuracy (or mAP) averaged over seeds; the note has the spread over them.

    Raises
    ------
    ValueError
        If the kind is unknown, or there is nothing to train on or to test.
    """
    found = probe_outputs(embeddings, targets, folds, kind, seeds, way, clips)
    outputs, chosen, rates = found
    n_fold = "1 split" if len(rates) == 1 else f"{len(rates)} folds"
    clips = np.arange(len(chosen)) if clips is None else np.asarray(clips)
    score = _scored(outputs, np.asarray(targets)[chosen], clips[chosen].tolist())
    about = f"{n_fold}, {len(seeds)} seeds, learning rate {rates_text(rates)}"
    score.way, score.note = way, f"{about}, {score.note}"
    return score


def rates_text(rates: Sequence[float]) -> str:
    """Say which learning rates the validation clips chose, one per fold.

    Example
    -------
    >>> rates_text([0.003, 0.001, 0.003])
    '0.003 (2 of 3), 0.001 (1 of 3)'
    """
    counts = Counter(rates).most_common()
    if len(counts) == 1:
        return f"{rates[0]:g}"
    return ", ".join(f"{rate:g} ({n} of {len(rates)})" for rate, n in counts)


def probe_outputs(
    embeddings: np.ndarray,
    targets: np.ndarray,
    folds: Sequence,
    kind: str = "L1",
    seeds: Sequence[int] = (0, 1, 2),
    way: str = "",
    clips: Sequence | None = None,
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return what trained probes say about the tested clips.

    Arguments and errors are those of ``probe``.

    Returns
    -------
    outputs : numpy.ndarray
        [seed, tested clip, class]
    chosen : numpy.ndarray
        True for the clips that are tested [clip].
    rates : list of float
        The learning rate of each tested fold, chosen on training clips.
    """
    if kind not in PROBES:
        raise ValueError(f"Unknown probe {kind!r}; known are {', '.join(PROBES)}.")
    targets, folds = np.asarray(targets), np.asarray([str(fold) for fold in folds])
    tested = [fold for fold in np.unique(folds) if fold != "train"]
    if not tested or len(np.unique(folds)) < 2:
        raise ValueError(
            f"A probe needs two folds, or 'train' and another; got "
            f"{sorted(set(folds.tolist()))}."
        )
    clips = list(range(len(targets)) if clips is None else clips)
    is_read = np.isfinite(embeddings).all(1)
    n_class = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    outputs = np.full((len(seeds), len(targets), n_class), np.nan, dtype=np.float32)
    rates = []
    for fold in tqdm(tested, desc=way or kind, unit="fold"):
        train, test = (folds != fold) & is_read, (folds == fold) & is_read
        mean, spread = embeddings[train].mean(0), embeddings[train].std(0)
        spread = np.maximum(spread, 1e-3 * spread.max())  # else noise is amplified
        points = torch.from_numpy((embeddings - mean) / spread).float()
        learned = points[train], torch.from_numpy(targets[train])
        trained_on = [clips[row] for row in np.flatnonzero(train)]
        rates.append(choose_rate(kind, *learned, n_class, trained_on))
        for run, seed in enumerate(seeds):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = PROBES[kind](points.shape[1], n_class)
                fit(model, *learned, rates[-1])
            with torch.no_grad():
                outputs[run, test] = model(points[test]).numpy()
    chosen = np.isin(folds, tested)
    return outputs[:, chosen], chosen, rates


def _scored(outputs: np.ndarray, targets: np.ndarray, clips: Sequence) -> Score:
    """Score outputs [seed, clip, class]; NaN is wrong."""
    outputs = np.nan_to_num(outputs, nan=np.finfo(np.float32).min)
    if targets.ndim == 1:
        unread = (outputs == outputs[..., :1]).all(-1)
        right = ((outputs.argmax(-1) == targets) & ~unread).astype(float)
        values = right.mean(1)
        score = mean_score("accuracy", right.mean(0), clips=clips)
    else:

        def mean_map(rows: np.ndarray) -> float:
            present = targets[rows]
            return np.mean(
                [mean_average_precision(present, run[rows]) for run in outputs]
            )

        values = np.array([mean_average_precision(targets, run) for run in outputs])
        score = share_score("mAP", mean_map, clips, n_resamples=N_MAP_RESAMPLES)
    score.note = f"standard deviation over seeds {values.std():.4f}"
    return score
