"""pengi check MANIFEST_FOLDER [--model MODEL] [--held_out FOLDER ...]

Reads every audio file that the manifests of a folder and its subfolders name, and
prints what is wrong with files and rows: a line for each fault, then a table. Another
table says how many training rows hold recordings of which test sets; they are no fault,
as a training leaves them out. A warning is no fault either: it tells of labels that may
be several in one text, where no separator is declared.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from pengi_plugin.commands.model import find_model

if TYPE_CHECKING:  # the help of all commands need not import PyTorch
    from pengi_plugin.data.check import Report

#: Names that a line of the table shows.
N_NAMES = 3


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    command.add_argument("manifest_folder", help="train, valid and test of each corpus")
    command.add_argument(
        "--model",
        help="YAML of a model or of a training, or a model's folder: texts longer than "
        "it reads are listed; a training's own tasks are known",
    )
    command.add_argument(
        "--trust", action="store_true", help="the model's YAML may build anything"
    )
    command.add_argument(
        "--max-answer-words",
        type=int,
        help="without a model: the most words of an answer",
    )
    command.add_argument(
        "--held_out",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="manifests of further test sets, which training rows are compared with",
    )
    command.add_argument("--min-seconds", type=float)
    command.add_argument("--max-seconds", type=float)
    command.add_argument("--workers", type=int, help="files that are read at a time")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Read every file of a manifest folder and list what is wrong."""
    from pengi_plugin.data.check import LENGTHS, check_folder

    options = model_options(args.model, args.trust) if args.model else {}
    if args.max_answer_words is not None:
        options["answer_fault"] = partial(word_fault, n_word=args.max_answer_words)
    given = {"shortest": args.min_seconds, "longest": args.max_seconds}
    lengths = LENGTHS._replace(**{k: v for k, v in given.items() if v is not None})
    options |= {"n_worker": args.workers, "held_out": args.held_out}
    report = check_folder(args.manifest_folder, lengths, **options)
    print(as_json(report) if args.json else as_text(report))
    return 1 if report.faults else 0


def word_fault(text: str, n_word: int) -> str:
    """Return what is wrong with a text of too many words; else an empty text.

    Example
    -------
    >>> word_fault("rain on a roof", 3)
    "4 words, more than 3: 'rain on a roof'"
    """
    length = len(text.split())
    return (
        f"{length} words, more than {n_word}: {text[:60]!r}" if length > n_word else ""
    )


def model_options(source: str, trust: bool = False) -> dict:
    """Return what ``check_folder`` needs to know of a model.

    Arguments
    ---------
    source : str
        A folder or ``hub:owner/name``; the YAML of a model; or that of a training,
        of which ``model`` and ``tasks`` are read.
    trust : bool
        Whether a folder's YAML may build anything. A YAML that is given by itself
        is the user's own.
    """
    from hyperpyyaml import load_hyperpyyaml
    from ruamel.yaml import YAML

    from pengi_plugin.data.check import token_fault
    from pengi_plugin.pretrained.folder import load_folder
    from pengi_plugin.tasks import extend
    from pengi_plugin.training.hparams import YamlText, read_tree

    tasks = None
    if Path(source).suffix in (".yaml", ".yml"):
        tree = read_tree(Path(source))
        if "model" in tree:
            tasks = tree.get("tasks")
            tree = {"model": tree["model"]}
        text = StringIO()
        YAML().dump(tree, text)
        model = load_hyperpyyaml(YamlText(text.getvalue(), source))
        model = model.get("model", model)
    else:
        model = load_folder(find_model(source), trust)
    options = {"templates": extend(tasks), "prompt_fault": prompt_fault_of(model)}
    if model["lm"].max_positions is not None:
        n_prefix = model["audio_mapper"].n_prefix + model["text_mapper"].n_prefix
        options["answer_fault"] = partial(
            token_fault,
            tokenizer=model["tokenizer"],
            n_end=len(model["tokenizer"].encode_as_ids(model["answer_end"])),
            n_token=model["lm"].max_positions - n_prefix,
        )
    return options


def prompt_fault_of(model: dict) -> Callable[[str], str]:
    """Return a function: prompt -> why the model's text encoder cannot read it."""

    def fault(prompt):
        try:
            model["text_encoder"].check([prompt])
        except ValueError as error:
            return str(error)
        return ""

    return fault


def as_text(report: "Report") -> str:
    """Return a line for each fault, then the table."""
    from pengi_plugin.data.overlap import overlap_table

    lines = [
        f"{fault.kind}: {' '.join(fault.message.split())}" for fault in report.faults
    ]
    cells = [
        (
            *(line["kind"], str(line["count"]), f"{line['share']:.2%} of {line['of']}"),
            ", ".join(line["names"][:N_NAMES])
            + (", ..." if line["count"] > N_NAMES else ""),
        )
        for line in report.summary()
    ]
    cells = [("kind", "count", "share", "first"), *cells] if cells else []
    widths = [max(map(len, column)) for column in zip(*cells)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in cells
    ]
    checked = ", ".join(f"{count} {unit}" for unit, count in report.counts.items())
    n_fault = len(report.faults)
    lines += [f"warning: {' '.join(text.split())}" for text in report.warnings]
    verdict = f"{n_fault} faults." if n_fault else "Nothing is wrong."
    shared = []
    if report.overlaps:
        shared = overlap_table(report.overlaps, "rows that training leaves out")
    return "\n".join([*lines, *table, *shared, f"{checked} were read. {verdict}"])


def as_json(report: "Report") -> str:
    """Return all of a report as one object."""
    faults = [fault._asdict() for fault in report.faults]
    found = {"counts": report.counts, "faults": faults, "summary": report.summary()}
    found["overlaps"] = [
        {"training_corpus": corpus, "test_set": test_set, "rows": n}
        for (corpus, test_set), n in sorted(report.overlaps.items())
    ]
    found["warnings"] = list(report.warnings)
    return json.dumps(found, indent=1, ensure_ascii=False)
