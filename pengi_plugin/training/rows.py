"""A YAML's objects in; the rows that it trains on, validates and tests on out."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from speechbrain.utils.distributed import run_on_main

from pengi_plugin.data.dataset import with_weight
from pengi_plugin.data.manifest import (
    SPLITS,
    Rows,
    as_rows,
    concatenate,
    keep_manifests,
)
from pengi_plugin.data.overlap import RULES, read_held_out
from pengi_plugin.tasks import extend
from pengi_plugin.training.identity import is_under_way
from pengi_plugin.training.mixture import (
    check_failed,
    chosen_corpora,
    mixture_table,
    prepare_corpora,
    prepare_held_out,
    remarks_on,
    settle_shares,
)
from pengi_plugin.training.once import once
from pengi_plugin.training.selection import (
    hold_out_valid,
    keep_tasks,
    leave_out_test_clips,
)

logger = logging.getLogger(__name__)


def prepare(hparams: dict) -> dict[str, Rows]:
    """Prepare every corpus that is to be used, on one process, and read it.

    Training rows with recordings of test sets are left out (``keep_overlaps``: they are
    counted and stay). Test sets are the corpora's own, those that ``held_out`` names,
    and those of ``held_out_corpora`` that are in ``data_root``. Without validation
    rows, ``valid_share`` of the training clips are taken. Prints the mixture, with the
    corpora that are not trained on and why.

    A run that goes on keeps its manifests, although audio files have come or gone
    since it started: what cannot be read is replaced, see ``max_unreadable_share``.

    Arguments
    ---------
    hparams : dict
        ``save_folder`` is where checkpoints are; of ``corpora`` see
        ``training.mixture.chosen_corpora``. It is replaced by the corpora that have
        training rows, with their shares.

    Returns
    -------
    rows : dict
        Split -> Rows: ID -> manifest row, all corpora together.

    Raises
    ------
    ValueError
        If corpora could not be prepared, with all of them (``skip_failed_corpora``:
        only if no row is left), or there is nothing to train on.
    """
    corpora = chosen_corpora(hparams)
    with keep_manifests(is_under_way(hparams["save_folder"])):
        found, failed = prepare_corpora(corpora)
    rows = concatenate_splits(list(found.values()))
    n_row = sum(map(len, rows.values()))
    if not n_row and not failed:
        raise ValueError(
            "There is nothing to train on: every corpus of the YAML has "
            f"`source: null`. Say where one of {sorted(hparams['corpora'])} is; the "
            "YAML names the option for each."
        )
    remarks = remarks_on(hparams, corpora, failed)
    skip = n_row > 0 and hparams.get("skip_failed_corpora", False)
    corpora = {name: corpora[name] for name in found}
    if failed and not skip:
        log_mixture(hparams, with_shares(hparams, corpora, rows["train"]), remarks)
    check_failed(failed, skip)
    own = [corpus["manifest_folder"] for corpus in corpora.values()]
    others = [*hparams["held_out"], *prepare_held_out(hparams, corpora, failed)]
    run_on_main(read_held_out, args=[others, own])  # converts each manifest, once
    rows = choose_rows(hparams, rows, read_held_out(others, own))
    corpora = with_shares(hparams, corpora, rows["train"])
    log_mixture(hparams, corpora, remarks)
    hparams["corpora"] = corpora
    return rows


def with_shares(hparams: Mapping, corpora: Mapping, rows: Rows) -> dict[str, dict]:
    """Return the corpora with their shares, by the rows that are sampled."""
    if hparams.get("pairs_per_clip") is not None:
        rows = with_weight(rows, hparams["task_weights"])
    return settle_shares(corpora, rows, hparams["share_exponent"])


def concatenate_splits(of_corpora: list[dict[str, Rows]]) -> dict[str, Rows]:
    """Return split -> the rows of all corpora, chosen from the same parts."""
    splits = [concatenate(of[split] for of in of_corpora) for split in SPLITS]
    every = concatenate(splits)
    ends = np.cumsum([len(some) for some in splits])
    return {
        split: every.select(np.arange(end - len(some), end))
        for split, some, end in zip(SPLITS, splits, ends, strict=True)
    }


def choose_rows(
    hparams: Mapping, rows: dict[str, Rows], test_sets: list[tuple[str, Rows]]
) -> dict[str, Rows]:
    """Return the rows that are trained on, validated and tested on; see ``prepare``.

    They are chosen once, until manifests or options change, and kept in
    ``save_folder``.
    """
    options = ("keep_overlaps", "keep_tasks", "valid_share", "tasks")
    key = {
        "rules": RULES,
        "rows": {split: some.identity() for split, some in rows.items()},
        "test sets": [[name, some.identity()] for name, some in test_sets],
        "options": {name: str(hparams.get(name)) for name in options},
    }

    def choose() -> dict[str, np.ndarray]:
        chosen = dict(rows)
        leave_out_test_clips(chosen, test_sets, hparams["keep_overlaps"])
        known = extend(hparams.get("tasks"))
        chosen = keep_tasks(chosen, hparams.get("keep_tasks"), known)
        hold_out_valid(chosen, hparams["valid_share"])
        return {split: some.numbers for split, some in chosen.items()}

    found = once(Path(hparams["save_folder"], "chosen_rows"), key, choose)
    parts = rows["train"].parts
    return {split: Rows(parts, numbers) for split, numbers in found.items()}


def log_mixture(hparams: Mapping, corpora: Mapping, remarks: Mapping) -> None:
    """Print the table of the corpora that are known, of which some are trained on."""
    table = mixture_table(corpora, hparams["known_corpora"], remarks)
    logger.info("Corpora to train on:\n%s", "\n".join(table))


def describe(rows: Mapping[str, Mapping]) -> dict[str, str]:
    """Return split -> number of rows and their digest."""
    return {
        f"{split} rows": f"{len(some)} ({as_rows(some).digest()})"
        for split, some in rows.items()
    }
