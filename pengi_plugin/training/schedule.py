"""Clips, batches and processes in, the number of updates of a whole run out."""

import logging
import math
from collections.abc import Mapping

logger = logging.getLogger(__name__)


def count_updates(
    n_rows: int,
    batch_size: int,
    n_epoch: int,
    grad_accumulation_factor: int = 1,
    n_process: int = 1,
    drop_last: bool = False,
) -> int:
    """Return the number of optimizer updates of a whole run.

    SpeechBrain drops the gradients left over at an epoch's end. With ``drop_last`` it
    also drops the rows that are left over when processes share them; without, some
    rows come twice.

    Example
    -------
    >>> count_updates(n_rows=100, batch_size=8, n_epoch=3, grad_accumulation_factor=4)
    9
    """
    if drop_last:
        n_batch = n_rows // n_process // batch_size
    else:
        n_batch = math.ceil(math.ceil(n_rows / n_process) / batch_size)
    return n_epoch * (n_batch // grad_accumulation_factor)


def check_updates(
    n_update: int, grad_accumulation_factor: int, hparams: Mapping
) -> None:
    """Refuse a run without updates; warn of a warm-up that is longer than the run."""
    n_warmup = hparams["n_warmup"]
    if n_update == 0:
        raise ValueError(
            "The run would make no update: in an epoch each process must see at least "
            f"batch_size={hparams['batch_size']} times grad_accumulation_factor="
            f"{grad_accumulation_factor} training clips, and number_of_epochs="
            f"{hparams['number_of_epochs']} must be at least 1. Give more clips, or "
            "lower batch_size or grad_accumulation_factor."
        )
    if n_warmup >= n_update:
        logger.warning(
            "n_warmup=%d is longer than the run, which makes %d updates: the learning "
            "rate never reaches lr=%g. Lower n_warmup.",
            n_warmup,
            n_update,
            hparams["lr"],
        )
