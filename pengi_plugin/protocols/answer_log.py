"""Ask a model about many clips: rows in, answers out, on disk as they come.

A run that was interrupted goes on from the answers already written, also with
another number of processes. Every process writes lines of its own file, one JSON
object per clip, so that a reader can look at each answer.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import distributed
from tqdm import tqdm

FILE_PATTERN = "answers-*.jsonl"
SETTINGS_FILE = "settings.json"


def rank_and_world() -> tuple[int, int]:
    """Return this process's number and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def wait_for_all() -> None:
    """Wait until every process has come here."""
    if rank_and_world()[1] > 1:
        distributed.barrier()


def read_answers(folder: Path) -> dict[str, dict]:
    """Read what all processes have written: clip ID -> its line.

    A line that a killed process left unfinished is not read.

    Arguments
    ---------
    folder : Path
        Where ``answer_rows`` wrote.

    Returns
    -------
    answers : dict
        Empty if there is nothing yet.
    """
    answers = {}
    for path in sorted(Path(folder).glob(FILE_PATTERN)):
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                answer = json.loads(line)
                answers[answer["id"]] = answer
    return answers


def answer_rows(
    rows: Sequence[dict],
    ask: Callable[[list[dict]], list[dict]],
    folder: Path,
    settings: dict,
    batch_size: int = 8,
    name: str = "clips",
) -> list[dict]:
    """Ask about every row that has no answer yet; processes share the rows.

    Arguments
    ---------
    rows : list of dict
        Each with an ``id`` of its own.
    ask : callable
        Up to ``batch_size`` rows -> one dict each, of what JSON can hold.
    folder : Path
        Where answers are kept.
    settings : dict
        What the answers depend on (model, prompt, search): answers to other
        settings are never mixed in.
    batch_size : int
        Rows asked about at a time.
    name : str
        What the progress bar calls the rows.

    Returns
    -------
    answers : list of dict
        In the order of the rows: the row's ``id`` and what ``ask`` returned; the
        same in every process.

    Raises
    ------
    ValueError
        If the folder holds answers to other settings, or IDs are not unique.
    """
    if len({row["id"] for row in rows}) < len(rows):
        raise ValueError(f"{name}: two rows have the same ID; make IDs unique.")
    folder = Path(folder)
    rank, world = rank_and_world()
    if rank == 0:
        _claim(folder, settings)
    wait_for_all()
    done = read_answers(folder)
    wait_for_all()  # nobody writes before everybody has read
    mine = [row for row in rows if row["id"] not in done][rank::world]
    with _open_lines(folder / f"answers-{rank}.jsonl") as lines:
        for batch in _batches(mine, batch_size, name, hide=rank > 0):
            for row, answer in zip(batch, ask(batch), strict=True):
                _write_line(lines, {"id": row["id"], **answer})
    wait_for_all()
    done = read_answers(folder)
    return [done[row["id"]] for row in rows]


def _batches(rows, batch_size: int, name: str, hide: bool) -> Iterator[list[dict]]:
    with tqdm(total=len(rows), desc=name, unit="clip", disable=hide) as bar:
        for start in range(0, len(rows), batch_size):
            batch = list(rows[start : start + batch_size])
            yield batch
            bar.update(len(batch))


def _claim(folder: Path, settings: dict) -> None:
    """Write down what the answers in a folder depend on, or check that it is so."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SETTINGS_FILE
    if not path.exists():
        _replace(path, json.dumps(settings, indent=2, sort_keys=True) + "\n")
        return
    found = json.loads(path.read_text())
    if found != json.loads(json.dumps(settings)):
        changed = [
            f"{key}: {found.get(key)!r} then, {settings.get(key)!r} now"
            for key in sorted(found.keys() | settings.keys())
            if found.get(key) != settings.get(key)
        ]
        raise ValueError(
            f"{folder} holds answers to other settings ({'; '.join(changed)}). Delete "
            "it, or choose another output folder."
        )


def _replace(path: Path, text: str) -> None:
    """Write a file so that it is never seen half written."""
    draft = path.with_suffix(".part")
    draft.write_text(text)
    draft.replace(path)


def _open_lines(path: Path):
    """Open a file for appending, behind its last complete line."""
    if path.exists():
        written = path.read_bytes()
        if not written.endswith(b"\n"):
            os.truncate(path, written.rfind(b"\n") + 1)
    return open(path, "ab", buffering=0)


def _write_line(lines, answer: dict) -> None:
    """Append one line by one system call."""
    lines.write((json.dumps(answer) + "\n").encode())


def fingerprint(model: str) -> str:
    """Return what tells one model folder from another: a digest of its files.

    Arguments
    ---------
    model : str
        A folder, or the name of a hub repository, which is returned as it is.

    Returns
    -------
    digest : str
        Hexadecimal.
    """
    folder = Path(model)
    if not folder.is_dir():
        return str(model)
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
