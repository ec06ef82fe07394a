"""The small classifiers of probes: embeddings in, trained ones out.

A probe is trained with AdamW at a rate that falls to zero; its first rate is the best
of ``LEARNING_RATES`` on validation clips.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pengi_plugin.metrics.classification import mean_average_precision

#: Width of the hidden layers of L3.
D_HIDDEN = 512
#: A probe is trained for this many epochs, and steps at least.
N_EPOCHS = 50
N_STEPS = 800
#: Clips of a step.
BATCH_SIZE = 128
#: The best on validation clips is taken.
LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
#: PyTorch's default of AdamW.
WEIGHT_DECAY = 1e-2
#: Share of the training clips on which the learning rate is chosen.
VALID_SHARE = 0.15


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


def choose_rate(
    kind: str,
    points: Tensor,
    targets: Tensor,
    n_class: int,
    clips: Sequence[Hashable],
    rates: Sequence[float] = LEARNING_RATES,
) -> float:
    """Return the learning rate that is best on validation clips.

    Arguments
    ---------
    kind : str
        Of ``PROBES``.
    points : torch.Tensor
        Embeddings of the training clips [row, d_embedding].
    targets : torch.Tensor
        Class indices [row], or 1 where a class is present [row, class].
    n_class : int
        Classes.
    clips : list
        The clip of each row: all rows of one are on the same side.
    rates : list of float
        To choose from.

    Returns
    -------
    rate : float
        The one with the highest accuracy (or mAP) on ``VALID_SHARE`` of the clips,
        trained on the others; of equal ones the first.
    """
    names = sorted(set(clips), key=str)
    order = np.random.default_rng(0).permutation(len(names))
    n_valid = max(1, round(VALID_SHARE * len(names)))
    chosen = {names[index] for index in order[:n_valid]}
    is_valid = torch.tensor([clip in chosen for clip in clips])
    if is_valid.all():
        return rates[0]
    scores = []
    for rate in rates:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = PROBES[kind](points.shape[1], n_class)
            fit(model, points[~is_valid], targets[~is_valid], rate)
        with torch.no_grad():
            outputs = model(points[is_valid])
        scores.append(_validation_score(outputs, targets[is_valid]))
    return rates[int(np.argmax(scores))]


def _validation_score(outputs: Tensor, targets: Tensor) -> float:
    """Return the accuracy, or the mAP over classes that occur."""
    if targets.dim() == 1:
        return (outputs.argmax(-1) == targets).float().mean().item()
    if not targets.any():
        return 0.0
    return mean_average_precision(targets.numpy(), outputs.numpy())


def fit(model: nn.Module, points: Tensor, targets: Tensor, rate: float) -> None:
    """Train a probe with AdamW at a rate that falls to zero; leave it in eval mode.

    Arguments
    ---------
    model : torch.nn.Module
        [batch, d_embedding] -> [batch, class].
    points : torch.Tensor
        Embeddings [clip, d_embedding].
    targets : torch.Tensor
        Class indices [clip], or 1 where a class is present [clip, class].
    rate : float
        The first learning rate.
    """
    if targets.dim() == 1:
        loss_of = nn.functional.cross_entropy
    else:
        loss_of, targets = (
            nn.functional.binary_cross_entropy_with_logits,
            targets.float(),
        )
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=rate, weight_decay=WEIGHT_DECAY
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
