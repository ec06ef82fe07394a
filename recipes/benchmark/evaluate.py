#!/usr/bin/env python3
"""Score a model on the sets of a benchmark, beside what was published.

    python recipes/benchmark/evaluate.py hparams/benchmark.yaml --model FOLDER \
        --tasks esc50 general_midi_notes [--key value ...]

Without ``--tasks``, all sets of the YAML are scored. Several processes share the
clips: put ``torchrun --nproc_per_node=N`` in place of ``python``. A run that was
interrupted continues from the answers already written. A set that fails has a line with
the error, the others are scored, and the exit status is 1; sets without data are told.
A model whose YAML builds classes of its own needs ``--trust``.
"""

import argparse
import io
import logging
import sys
from pathlib import Path

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from speechbrain.utils.distributed import if_main_process, infer_device, run_on_main

from pengi_plugin.commands.model import add_trust, find_model
from pengi_plugin.data.manifest import check_options, manifests_of, read_manifests
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.pretrained.card import CARD_FILE
from pengi_plugin.protocols.benchmark import score_entry, unscored_line
from pengi_plugin.protocols.entries import check_entry
from pengi_plugin.protocols.session import Session
from pengi_plugin.protocols.table import markdown, with_earlier, write_table
from pengi_plugin.storage.fingerprint import fingerprint
from pengi_plugin.tasks import extend
from pengi_plugin.training.hparams import YamlText, read_tree
from pengi_plugin.training.run import join_processes

logger = logging.getLogger(__name__)

#: How the note of a set begins that has its data and could not be scored.
FAILED = "failed:"


def read_benchmark(path: str) -> YamlText:
    """Return a YAML and the files of the folder of its name as one, for HyperPyYAML.

    The keys of ``benchmark/*.yaml`` are read as if they stood in ``benchmark.yaml``;
    the entries of their ``sets:`` are added to those there.
    """
    path, tree = Path(path), {"sets": {}}
    for file in (path, *sorted(path.with_suffix("").glob("*.yaml"))):
        found = read_tree(file)
        sets = found.pop("sets", {})
        twice = (tree.keys() & found.keys()) | (tree["sets"].keys() & sets.keys())
        if twice:
            raise ValueError(f"{file}: {sorted(twice)} stand in another file already.")
        tree = {**tree, **found, "sets": {**tree["sets"], **sets}}
    text = io.StringIO()
    YAML().dump(tree, text)
    return YamlText(text.getvalue(), path)


def evaluate_set(name: str, entry: dict, session: Session, templates: dict):
    """Return the lines of one set; if it cannot be scored, one that says why."""
    try:
        check_entry(name, entry)
        absent = prepare_set(entry)
        if absent:
            note = f"no data: {absent[0]} is absent. {entry['get']}"
            return [unscored_line(name, entry, note)]
        rows = read_manifests(entry["manifests"])
        return score_entry(name, entry, rows, session, templates)
    except Exception as error:  # the next set is scored all the same
        logger.exception("%s could not be scored.", name)
        note = f"{FAILED} {type(error).__name__}: {error}"
        return [unscored_line(name, entry, note)]


def prepare_set(entry: dict) -> list[str]:
    """Make a set's manifests if they can be made, and return those that are absent.

    Where its source is given, or a manifest is absent, they are prepared; that does
    nothing if they are prepared already, from the same options.

    Raises
    ------
    ValueError
        If manifests that cannot be made anew were prepared with other options.
    """

    def absent():
        paths = map(Path, entry["manifests"])
        return [str(path) for path in paths if not manifests_of(path.parent, path.stem)]

    def prepare():  # an error raised on one process would leave the others waiting
        try:
            entry["prepare"]()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    if "prepare" not in entry:
        return absent()
    source = entry.get("source", "none")  # one without a source needs none
    if source is not None and ("source" in entry or absent()):
        error = run_on_main(prepare)
        if error:
            raise RuntimeError(f"its preparation failed with {error}")
    for path in entry["manifests"]:
        check_options(Path(path).parent, entry["prepare"].keywords)
    return absent()


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Divide what this script reads from what SpeechBrain reads."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--model", required=True, help="folder, or hub:owner/name")
    parser.add_argument("--tasks", nargs="+", default=["all"], help="sets, or 'all'")
    add_trust(parser)
    return parser.parse_known_args(arguments)


def choose(names: list[str], sets: dict) -> list[str]:
    """Return the chosen sets; ``all`` stands for every one."""
    unknown = set(names) - set(sets) - {"all"}
    if unknown:
        raise ValueError(
            f"Unknown sets {sorted(unknown)}; hparams list {', '.join(sets)}."
        )
    return list(sets) if "all" in names else names


def own_templates(hparams: dict) -> dict:
    """Return the templates of all tasks, with those of the YAML."""
    own = [hparams.get(key) or {} for key in ("tasks", "templates")]
    return extend({**own[0], **own[1]})


def open_session(
    name: str, hparams: dict, known_as: str, precision: str, model=None
) -> Session:
    """Return the session of a set: where the answers of a model are kept.

    Arguments
    ---------
    name : str
        Of the set.
    hparams : dict
        The benchmark's.
    known_as : str
        The model's fingerprint.
    precision : str
        In which it answers.
    model : AudioLanguageModel
        None, to read what it has answered.
    """
    settings = {} if precision == "fp32" else {"precision": precision}
    return Session(
        model,
        Path(hparams["output_folder"]) / known_as.replace("/", "--") / name,
        settings={"model": known_as, **settings},
        search=hparams["search"],
        batch_size=hparams["batch_size"],
    )


def main(arguments: list[str]) -> list[dict]:
    """Evaluate; return the lines of the table."""
    options, rest = parse(arguments)
    hparams_file, run_opts, overrides = sb.parse_arguments(rest)
    join_processes(run_opts)
    hparams = load_hyperpyyaml(read_benchmark(hparams_file), overrides)
    names = choose(options.tasks, hparams["sets"])
    templates = own_templates(hparams)
    source = find_model(options.model)
    model = AudioLanguageModel.from_hparams(
        source=source,
        trust=options.trust,
        run_opts={
            "device": run_opts["device"] or infer_device(),
            "precision": run_opts["precision"],
        },
    )
    precision = model.precision
    known_as = fingerprint(source)
    settings = {} if precision == "fp32" else {"precision": precision}
    search = hparams["search"]
    shown = ", ".join(f"{key}={value}" for key, value in (search | settings).items())
    of_model = fingerprint(source, without=[CARD_FILE])
    folder = Path(hparams["output_folder"]) / known_as.replace("/", "--")
    lines = []
    for name in names:
        session = open_session(name, hparams, known_as, precision, model)
        found = evaluate_set(name, hparams["sets"][name], session, templates)
        columns = {"settings": shown, "model": of_model}
        lines += [{**line, **columns} for line in found]
        if if_main_process():
            write_table(with_earlier(lines, folder), folder)
    if if_main_process():
        print(markdown(lines))
        print(f"Answers and tables: {folder}")
    return lines


def n_failed(lines: list[dict]) -> int:
    """Return how many sets failed, not counting those without data."""
    return len({line["set"] for line in lines if str(line["note"]).startswith(FAILED)})


if __name__ == "__main__":
    sys.exit(1 if n_failed(main(sys.argv[1:])) else 0)
