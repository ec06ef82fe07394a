"""Tables of scores in, the lines that are about one model out."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pengi_plugin.pretrained.card import CARD_FILE
from pengi_plugin.storage.fingerprint import fingerprint

#: What a training writes beside the folder of its model.
RUN_SCORES = "test_scores.json"


def scores_of(
    folder: Path, files: Sequence[str | os.PathLike] = ()
) -> tuple[list[dict], str]:
    """Return the scores of a model, and a remark where there are none.

    Lines of tables say of which model they are, by the digest of its files; the card
    does not count. Scores of other weights, of the same model in int8 too, are never
    taken.

    Arguments
    ---------
    folder : Path
        The model's.
    files : list of str
        ``test_scores.json`` of a training or ``table.json`` of a benchmark. If none is
        given, that of the training beside the folder is taken, if there is one.

    Returns
    -------
    lines : list of dict
        See ``protocols.table``; those that were not computed are left out.
    remark : str
        Why there are none; empty if there are.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If a file that was given is no table, or is of another model.
    """
    folder = Path(folder)
    model = fingerprint(folder, without=[CARD_FILE])
    lines = []
    for file in map(Path, files):
        found = read_lines(file)
        others = {str(line.get("model")) for line in found} - {model}
        if others or not found:
            raise ValueError(
                f"{file} has scores of {' and '.join(sorted(others)) or 'no model'}; "
                f"the model in {folder} is {model}. Score this folder with "
                "recipes/benchmark/evaluate.py and give its table.json."
            )
        lines += found
    if files:
        return computed(lines), ""
    beside = folder.resolve().parent / RUN_SCORES
    if not beside.is_file():
        return [], f"There is no {RUN_SCORES} beside {folder}."
    found = [line for line in read_lines(beside) if line.get("model") == model]
    remark = "" if found else f"{beside} has scores of another model, not of {folder}."
    return computed(found), remark


def read_lines(path: Path) -> list[dict]:
    """Return the lines of a table that ``protocols.table.write_table`` wrote."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        lines = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no table of scores: {error}") from error
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise ValueError(f"{path} is no table of scores: it is no list of lines.")
    return lines


def computed(lines: Sequence[dict]) -> list[dict]:
    """Leave out the lines without a score, such as those of sets without data."""
    return [line for line in lines if line.get("score") is not None]
