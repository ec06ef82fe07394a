"""Probes: embeddings and labels in, the accuracy of small classifiers out.

How much a frozen audio embedding tells is measured by training a linear classifier
(L1) or one of three layers (L3) on it (Deshmukh et al., NeurIPS 2023, section 4),
with the folds that a data set prescribes, and again with other seeds.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pengi_plugin.metrics.classification import mean_average_precision
from pengi_plugin.protocols.close_ended import class_targets, occurring_classes
from pengi_plugin.protocols.embeddings import audio_embeddings
from pengi_plugin.protocols.score import Score, mean_score, share_score
from pengi_plugin.protocols.session import Session

D_HIDDEN = 512
#: A probe is trained for this many epochs, and steps at least.
N_EPOCHS = 50
N_STEPS = 800
BATCH_SIZE = 128
#: mAP is computed anew for every resample.
N_MAP_RESAMPLES = 100
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2


def linear_probe(d_in: int, n_class: int) -> nn.Module:
    """Return L1: one layer."""
    return nn.Linear(d_in, n_class)


def three_layer_probe(d_in: int, n_class: int) -> nn.Module:
    """Return L3: three layers with ReLU and dropout between them."""
    return nn.Sequential(
        nn.Linear(d_in, D_HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(D_HIDDEN, D_HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(D_HIDDEN, n_class),
    )


#: Name -> function of the widths.
PROBES = {"L1": linear_probe, "L3": three_layer_probe}


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
    outputs, chosen = probe_outputs(embeddings, targets, folds, kind, seeds, way)
    n_fold = len({str(fold) for fold in np.asarray(folds)[chosen]})
    n_fold = "1 split" if n_fold == 1 else f"{n_fold} folds"
    clips = np.arange(len(chosen)) if clips is None else np.asarray(clips)
    score = _scored(outputs, np.asarray(targets)[chosen], clips[chosen].tolist())
    score.way, score.note = way, f"{n_fold}, {len(seeds)} seeds, {score.note}"
    return score


def probe_outputs(
    embeddings: np.ndarray,
    targets: np.ndarray,
    folds: Sequence,
    kind: str = "L1",
    seeds: Sequence[int] = (0, 1, 2),
    way: str = "",
) -> tuple[np.ndarray, np.ndarray]:
    """Return what trained probes say about the tested clips.

    Arguments and errors are those of ``probe``.

    Returns
    -------
    outputs : numpy.ndarray
        [seed, tested clip, class]
    chosen : numpy.ndarray
        True for the clips that are tested [clip].
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
    runs = [
        _test_all_folds(embeddings, targets, folds, tested, kind, seed)
        for seed in tqdm(seeds, desc=way or kind, unit="seed")
    ]
    chosen = np.isin(folds, tested)
    return np.stack(runs)[:, chosen], chosen


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


def _test_all_folds(embeddings, targets, folds, tested, kind, seed) -> np.ndarray:
    """Return the output for each tested clip [clip, class]; NaN for the others."""
    n_class = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    outputs = np.full((len(targets), n_class), np.nan, dtype=np.float32)
    is_read = np.isfinite(embeddings).all(1)
    for fold in tested:
        train, test = (folds != fold) & is_read, (folds == fold) & is_read
        mean, spread = embeddings[train].mean(0), embeddings[train].std(0)
        spread = np.maximum(spread, 1e-3 * spread.max())  # no noise blown up
        points = torch.from_numpy((embeddings - mean) / spread).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = PROBES[kind](points.shape[1], n_class)
            fit(model, points[train], torch.from_numpy(targets[train]))
        with torch.no_grad():
            outputs[test] = model(points[test]).numpy()
    return outputs


def fit(model: nn.Module, points: Tensor, targets: Tensor) -> None:
    """Train a probe with AdamW at a rate that falls to zero; leave it in eval mode.

    Arguments
    ---------
    model : torch.nn.Module
        [batch, d_embedding] -> [batch, class].
    points : torch.Tensor
        Embeddings [clip, d_embedding].
    targets : torch.Tensor
        Class indices [clip], or 1 where a class is present [clip, class].
    """
    if targets.dim() == 1:
        loss_of = nn.functional.cross_entropy
    else:
        loss_of, targets = (
            nn.functional.binary_cross_entropy_with_logits,
            targets.float(),
        )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    n_batch = -(-len(points) // BATCH_SIZE)
    n_epoch = max(N_EPOCHS, -(-N_STEPS // n_batch))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epoch * n_batch)
    model.train()
    for _ in range(n_epoch):
        for batch in torch.randperm(len(points)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss_of(model(points[batch]), targets[batch]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
