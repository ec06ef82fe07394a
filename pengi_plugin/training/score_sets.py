"""A trained CLAP and test rows in, the table of a YAML's ``test_sets`` out."""

import logging
from collections.abc import Mapping
from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from pengi_plugin.inference import AudioTextModel
from pengi_plugin.protocols.benchmark import score_entry
from pengi_plugin.protocols.table import write_table
from pengi_plugin.tasks import extend
from pengi_plugin.training.testing import open_session, with_model

logger = logging.getLogger(__name__)


def score_sets(hparams: dict, run_opts: Mapping, rows: dict[str, dict]) -> list[dict]:
    """Score the exported model on the test rows.

    Writes ``test_scores.{md,csv,json}`` to the output folder and prints the table.
    Processes share the clips.

    Arguments
    ---------
    hparams : dict
        Of ``pengi_plugin.training.run.load``; ``test_sets`` are entries as of a
        benchmark, see ``pengi_plugin.protocols.benchmark``. One of which the test rows
        have no task is left out.
    run_opts : RunOptions
        Of ``load``.
    rows : dict
        Split -> ID -> manifest row.

    Returns
    -------
    table : list of dict
        See ``pengi_plugin.protocols.table``.
    """
    session = open_session(hparams, run_opts, AudioTextModel)
    test_rows = [{**row, "id": row_id} for row_id, row in rows["test"].items()]
    tasks = {row["task"] for row in test_rows}
    table = []
    for name, entry in hparams["test_sets"].items():
        if entry["where"]["task"] in tasks:
            templates = extend(hparams["tasks"])
            table += score_entry(name, entry, test_rows, session, templates)
        else:
            logger.info("No test row is of the task of %r; it is left out.", name)
    table = [{**line, "prompt": ""} for line in table]  # CLAP reads no prompts
    table = with_model(table, hparams["export_folder"])
    if if_main_process():
        print(write_table(table, Path(hparams["output_folder"]), "test_scores"))
    return table
