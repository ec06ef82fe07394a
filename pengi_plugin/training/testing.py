"""An exported model and test rows in; its answers and the table of scores out."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from speechbrain.utils.distributed import if_main_process, infer_device

from pengi_plugin.data.manifest import Rows
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.pretrained.card import CARD_FILE
from pengi_plugin.protocols.rows import merge_references
from pengi_plugin.protocols.session import Session, generated_answers
from pengi_plugin.protocols.table import write_table
from pengi_plugin.protocols.task_scores import score_tasks
from pengi_plugin.storage.atomic import write_file
from pengi_plugin.storage.fingerprint import fingerprint
from pengi_plugin.tasks import apply, extend

logger = logging.getLogger(__name__)

#: Answers that ``test`` prints.
N_PRINTED = 12


def test(hparams: dict, run_opts: Mapping, rows: Mapping[str, Rows]) -> list[dict]:
    """Score the exported model on the test rows, beside the controls.

    Writes ``test_scores.{md,csv,json}`` and ``test_answers.jsonl`` to the output
    folder, and prints the table and some answers. Processes share the rows. A test
    that is interrupted continues from the answers in ``answers``.

    Arguments
    ---------
    hparams : dict
        Of ``run.load``; ``test_protocols`` says how each task is scored.
    run_opts : RunOptions
        Of ``run.load``.
    rows : dict
        Split -> ID -> manifest row.

    Returns
    -------
    table : list of dict
        See ``pengi_plugin.protocols.task_scores.score_tasks``.
    """
    if not rows["test"]:
        logger.warning("No corpus has test rows: the model is not scored.")
        return []
    session = open_session(hparams, run_opts)
    asked = test_items(hparams, rows)
    table = score_tasks(
        session,
        asked,
        hparams["test_protocols"],
        RowsWithTexts(hparams, rows["train"]),
        hparams["seed"],
    )
    answers = generated_answers(session, asked)
    table = with_model(table, hparams["export_folder"])
    if if_main_process():
        folder = Path(hparams["output_folder"])
        print(write_table(table, folder, "test_scores"))
        report_answers(folder / "test_answers.jsonl", asked, answers)
    return table


def with_model(table: list[dict], folder: str | Path) -> list[dict]:
    """Add to each line of a table the fingerprint of the model, without its card."""
    name = fingerprint(folder, without=[CARD_FILE])
    return [{**line, "model": name} for line in table]


def open_session(
    hparams: dict, run_opts: Mapping, model_class: type = AudioLanguageModel
) -> Session:
    """Load the exported model, to be asked by ``pengi_plugin.protocols``.

    Its answers are kept under its fingerprint: another model's are never taken.
    """
    source = hparams["export_folder"]
    name = fingerprint(source)
    device = run_opts.get("device") or infer_device()
    return Session(
        model_class.from_hparams(
            source=source, trust=True, run_opts={"device": device}
        ),
        Path(hparams["output_folder"]) / "answers" / name,
        settings={"model": name},
        batch_size=hparams["eval_batch_size"],
    )


class RowsWithTexts:
    """Manifest rows with their ``prompt``, ``answer`` and ``references``.

    References are the manifest's, or the answer alone. Rows are made as they are gone
    through, as often as wanted.

    Arguments
    ---------
    hparams : dict
        With ``tasks``.
    rows : Rows or dict
        ID -> manifest row.
    """

    def __init__(self, hparams: Mapping, rows: Mapping[str, Mapping]):
        self.templates, self.rows = extend(hparams["tasks"]), rows

    def __iter__(self) -> Iterator[dict]:
        for row_id, row in self.rows.items():
            row = {**row, "id": row_id}
            prompt, answer = apply(row["task"], row, self.templates)
            references = row.get("references") or [answer]
            if isinstance(references, str):  # of a CSV manifest
                references = [references]
            texts = {"prompt": prompt, "answer": answer, "references": references}
            yield {**row, **texts}


def test_items(hparams: dict, rows: Mapping[str, Rows]) -> list[dict]:
    """Return the test rows with their texts, as items that are searched once each.

    Rows of a corpus that ask the same about a clip (five captions of it) are one
    item, with the references of all.
    """
    return merge_references(RowsWithTexts(hparams, rows["test"]))


def report_answers(path: Path, rows: list[dict], answers: list[str]) -> None:
    """Write all answers, one JSON object a line, and print some."""
    fields = ("id", "wav", "task", "prompt", "references")
    answered = [
        {**{name: row[name] for name in fields}, "answer": answer}
        for row, answer in zip(rows, answers, strict=True)
    ]
    write_file(path, "".join(json.dumps(row) + "\n" for row in answered))
    for row in answered[:: max(1, len(answered) // N_PRINTED)]:
        prompt, answer, reference = row["prompt"], row["answer"], row["references"][0]
        print(f"{prompt} -> {answer} (reference: {reference})")
