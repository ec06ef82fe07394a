"""Ask a model about many clips: rows in, answers out, on disk as they come.

A run that was interrupted goes on from the answers already written, also with
another number of processes. Every process writes lines of its own file, one JSON
object per row, so that a reader can look at each answer. An answer is used again only
if all that it depends on is the same; see ``answer_key``. A row that could not be
answered has a line with its ``error``, and is asked about again by the next run.
"""

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from torch import distributed
from tqdm import tqdm

from pengi_plugin.storage.atomic import write_file

logger = logging.getLogger(__name__)

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


def digest(value) -> str:
    """Return 16 hexadecimal digits that tell a JSON value from others.

    Example
    -------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def answer_key(row: Mapping, settings: Mapping) -> str:
    """Return a digest of all that an answer depends on.

    Rows that ask the same about the same clip have one key, whatever their IDs.

    Arguments
    ---------
    row : dict
        Its ``wav`` (``id``, if it has none), ``prompt`` and ``answers`` (the texts
        that are scored) count, and the size and time of change of the audio file; of
        a clip in a shard (``clips.tar::member``), those of the shard.
    settings : dict
        The model and how it is asked; what JSON can hold.

    Returns
    -------
    key : str
    """
    wav = row.get("wav")
    try:
        shard, is_member, _ = str(wav).rpartition(".tar::")
        found = os.stat(f"{shard}.tar" if is_member else wav)
        state = [found.st_size, found.st_mtime_ns]
    except (OSError, TypeError):  # a web address, or a row without a clip
        state = None
    clip = row["id"] if wav is None else str(wav)
    return digest([clip, state, row.get("prompt"), row.get("answers"), settings])


def read_answers(folder: Path) -> dict[str, dict]:
    """Read what all processes have written: key -> its line.

    A line that a killed process left unfinished is not read. An answer counts before an
    error of another run.

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
                key = answer.get("key")
                if "error" not in answer or "error" in answers.get(key, answer):
                    answers[key] = answer
    return answers


def answer_rows(
    rows: Sequence[dict],
    ask: Callable[[list[dict]], list[dict]],
    folder: Path,
    settings: dict,
    batch_size: int = 8,
    name: str = "clips",
) -> list[dict]:
    """Ask about every row that has no answer yet; processes share the clips.

    Rows of one clip are asked about together, so that a model that reads each
    file of a batch once reads it once.

    Arguments
    ---------
    rows : list of dict
        Each with an ``id`` of its own, ``wav`` and, if it counts, ``prompt``.
    ask : callable
        Up to ``batch_size`` rows -> one dict each, of what JSON can hold.
    folder : Path
        Where answers are kept.
    settings : dict
        What the answers depend on besides the row (model, search). Answers to other
        settings may be in the folder; they are not used.
    batch_size : int
        Rows asked about at a time.
    name : str
        What the progress bar calls the rows.

    Returns
    -------
    answers : list of dict
        In the order of the rows: ``key``, ``id``, ``settings`` (a key of
        ``settings.json``) and what ``ask`` returned; the same in every process. A row
        that ``ask`` cannot answer (it raises a ValueError or IndexError about the row
        alone too) has ``error`` in place of that.

    Raises
    ------
    ValueError
        If IDs are not unique.
    RuntimeError
        If none of the rows could be answered; and in every process, if ``ask`` failed
        in another one.
    """
    if len({row["id"] for row in rows}) < len(rows):
        raise ValueError(f"{name}: two rows have the same ID; make IDs unique.")
    folder = Path(folder)
    rank, world = rank_and_world()
    keys = [answer_key(row, settings) for row in rows]
    if rank == 0:
        _note_settings(folder, settings)
    done = read_answers(folder)
    wait_for_all()  # nobody writes before everybody has read
    clips = defaultdict(list)
    first = dict(zip(reversed(keys), reversed(rows)))  # what is asked twice, once
    for key in dict.fromkeys(keys):
        row = first[key]
        if "error" in done.get(key, {"error": "not asked yet"}):
            clips[row.get("wav", row["id"])].append((key, row))
    mine = [pair for several in list(clips.values())[rank::world] for pair in several]
    failure = None
    try:
        _ask_all(
            mine, ask, folder / f"answers-{rank}.jsonl", settings, batch_size, name
        )
    except Exception as error:
        failure = error
    _fail_together(failure)
    done = read_answers(folder)
    answers = [{**done[key], "id": row["id"]} for key, row in zip(keys, rows)]
    if answers and all("error" in answer for answer in answers):
        raise RuntimeError(
            f"{name}: none of {len(answers)} rows could be answered; the first says: "
            f"{answers[0]['error']}"
        )
    return answers


def _ask_all(pairs, ask, path: Path, settings, batch_size: int, name: str) -> None:
    """Ask about (key, row) pairs, and append a line for each."""
    used = digest(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open_lines(path) as lines:
        for batch in _batches(pairs, batch_size, name):
            answers = _ask_each(ask, [row for _, row in batch])
            for (key, row), answer in zip(batch, answers, strict=True):
                line = {"key": key, "id": row["id"], "settings": used, **answer}
                lines.write((json.dumps(line) + "\n").encode())  # by one system call


def _ask_each(ask: Callable, rows: list[dict]) -> list[dict]:
    """Ask about a batch; if that fails for what is in it, about each row alone."""
    try:
        return ask(rows)
    except (ValueError, IndexError) as error:
        if len(rows) > 1:
            return [answer for row in rows for answer in _ask_each(ask, [row])]
        logger.warning("%s cannot be answered: %s", rows[0]["id"], error)
        return [error_line(error)]


def error_line(error: Exception) -> dict:
    """Return the line of a row that cannot be answered."""
    return {"error": f"{type(error).__name__}: {error}"}


def _batches(pairs, batch_size: int, name: str) -> Iterator[list]:
    hide = rank_and_world()[0] > 0 or not pairs
    with tqdm(total=len(pairs), desc=name, unit="row", disable=hide) as bar:
        for start in range(0, len(pairs), batch_size):
            batch = pairs[start : start + batch_size]
            yield batch
            bar.update(len(batch))


def _fail_together(failure: Exception | None) -> None:
    """Raise in all processes if one failed: the others would wait for it forever."""
    rank, world = rank_and_world()
    failures = [None if failure is None else f"{type(failure).__name__}: {failure}"]
    if world > 1:
        failures *= world
        distributed.all_gather_object(failures, failures[rank])
    if failure is not None:
        raise failure
    for other, message in enumerate(failures):
        if message is not None:
            raise RuntimeError(f"Process {other} failed: {message}")


def _note_settings(folder: Path, settings: dict) -> None:
    """Write down, for readers, what the ``settings`` of a line stand for."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SETTINGS_FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    if digest(settings) not in known:
        known[digest(settings)] = settings
        write_file(path, json.dumps(known, indent=2, sort_keys=True) + "\n")


def _open_lines(path: Path):
    """Open a file for appending, behind its last complete line."""
    if path.exists():
        written = path.read_bytes()
        if not written.endswith(b"\n"):
            os.truncate(path, written.rfind(b"\n") + 1)
    return open(path, "ab", buffering=0)
