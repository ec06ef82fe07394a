"""Any folder of clips beside a table that says what they are; both in, manifests out.

For a corpus of your own, and for FindSounds of the paper, of which nothing is
published: findsounds.com is a search engine for files on others' sites, so a mixture
without it is not the paper's. For example::

    pengi prepare clips FOLDER MANIFESTS --csv clips.csv --wav_column file_name \\
        --text_column text --task captioning

The table has a header and a line for each thing that is said of a clip; a clip may have
several. Columns are named by options, and ``--fields`` names columns of tasks whose
answer or prompt has several parts: ``--task question_answering --fields
question=QuestionText answer=answer``. Files are found by the path in the table, below
``FOLDER``, with or without an ending, else by their name anywhere in it.

Traps: ``Bark,Dog`` is one label unless ``--separator ,``, or a column that is named
``label[,]``, says that it is two; ``pengi check`` warns where neither does. Texts are
taken as they stand; lines without a text are left out and counted.

Certain of FindSounds: its name in the paper alone. The rest is as you say.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    AUDIO_SUFFIXES,
    TEXT_FIELDS,
    Clip,
    Corpus,
    find_audio,
    read_table,
    write_corpus,
)
from pengi_plugin.data.separators import declared_separator

logger = logging.getLogger(__name__)

CORPUS = Corpus(
    name="clips",
    title="Clips",
    tasks=("metadata",),
    clips={"train": None},
    hours=None,
    licence="your own",
    home="a folder and a table of yours (FindSounds: https://www.findsounds.com)",
    use="train",
    citation="none",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 2

#: Task -> the field that ``text_column`` fills, where it needs but one.
FIELDS = {
    **TEXT_FIELDS,
    "sound_events": "labels",
    "acoustic_scene": "scene",
    "speech_emotion": "emotion",
    "speech_sentiment": "sentiment",
    "music_analysis": "attributes",
}
#: Fields that hold a list.
LISTS = ("labels", "attributes")
#: What tables call the splits.
SPLITS = {
    **dict.fromkeys(("train", "training", "dev", "development"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def prepare_clips(
    data_folder: str,
    manifest_folder: str,
    csv: str = "clips.csv",
    wav_column: str = "file_name",
    text_column: str = "text",
    task: str = "metadata",
    fields: tuple[str, ...] = (),
    separator: str | None = None,
    split_column: str | None = None,
    source_column: str | None = None,
    delimiter: str = ",",
) -> None:
    """Write the manifests of the splits that the table names; else ``train.json``.

    Arguments
    ---------
    data_folder : str
        Where the audio is.
    manifest_folder : str
        Where the manifests are written.
    csv : str
        The table: a path, or one below ``data_folder``.
    wav_column : str
        Its column of audio files.
    text_column : str
        Its column of texts, classes or answers; not read if ``fields`` is given.
    task : str
        Of ``pengi_plugin/tasks.py``, or one of yours.
    fields : tuple of str
        Field of the task and column, as ``question=QuestionText``.
    separator : str
        Between two labels in a cell; None: what the column's name declares, as
        ``label[;]``, or a cell is one label.
    split_column : str
        Its column of splits: train, valid, test, or other names of theirs.
    source_column : str
        Its column of where a recording comes from, such as ``freesound:123``.
    delimiter : str
        Between two columns; ``tab`` for a tabulator.

    Raises
    ------
    FileNotFoundError
        If there is no such table.
    ValueError
        If a column is missing, an option or a split is unknown, or no clip is there.
    """
    data_folder = Path(data_folder)
    path = find_table(data_folder, csv)
    columns = task_columns(task, text_column, fields)
    separators = {
        field: separator or declared_separator(column)
        for field, column in columns.items()
    }
    arguments = {"corpus": "clips", "version": VERSION, "csv": str(path.resolve())}
    arguments |= {"changed": path.stat().st_mtime_ns, "wav_column": wav_column}
    arguments |= {"columns": columns, "task": task}
    arguments |= {"separators": {field: separators.get(field) for field in LISTS}}
    arguments |= {"split_column": split_column, "source_column": source_column}
    arguments |= {"delimiter": delimiter, "data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    needed = [wav_column, split_column, source_column, *columns.values()]
    lines = read_table(
        path,
        [name for name in needed if name],
        "\t" if delimiter == "tab" else delimiter,
    )
    audio = find_audio(data_folder)
    clips, n_empty = {}, 0
    for line in lines:
        row = read_row(line, task, columns, separators)
        if row is None:
            n_empty += 1
            continue
        name = line[wav_column]
        split = read_split(line[split_column], path) if split_column else "train"
        found = find_clip(data_folder, name, audio)
        source = line[source_column] or "" if source_column else ""
        clip = clips.setdefault((split, name), Clip(name, split, found, {}, source))
        clip.rows[f"{task}_{len(clip.rows) + 1}"] = row
    if n_empty:
        logger.warning("%s: %d lines have no text and are left out.", path, n_empty)
    splits = {split for split, _ in clips} or {"train"}
    corpus = replace(
        CORPUS, tasks=(task,), clips=dict.fromkeys(splits), title=path.stem
    )
    write_corpus(corpus, clips.values(), data_folder, manifest_folder, arguments)


def find_table(folder: Path, name: str) -> Path:
    """Return the table, below the folder or as a path of its own."""
    for path in (folder / name, Path(name)):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"There is no {folder / name} and no {name}; give the table by csv (--csv)."
    )


def task_columns(task: str, text_column: str, fields: tuple) -> dict[str, str]:
    """Return field of the task -> column of the table.

    Example
    -------
    >>> task_columns("sound_events", "class", ())
    {'labels': 'class'}
    """
    pairs = [pair.partition("=")[::2] for pair in fields]
    if not all(field and column for field, column in pairs):
        raise ValueError(
            f"fields must be pairs as question=QuestionText; got {[*fields]}."
        )
    if pairs:
        return dict(pairs)
    if task not in FIELDS:
        raise ValueError(
            f"The task {task!r} needs its columns by fields (--fields field=column "
            f"...); text_column is enough for {[*FIELDS]}."
        )
    return {FIELDS[task]: text_column}


def read_row(
    line: Mapping, task: str, columns: Mapping, separators: Mapping
) -> dict | None:
    """Return the row of a line; None if a field is empty.

    Example
    -------
    >>> line, columns = {"class": "Bark,Dog"}, {"labels": "class"}
    >>> read_row(line, "sound_events", columns, {"labels": ","})
    {'task': 'sound_events', 'labels': ['Bark', 'Dog']}
    """
    row = {"task": task}
    for field, column in columns.items():
        text = line[column] or ""
        if not text.strip():
            return None
        if field in LISTS:
            separator = separators[field]
            parts = text.split(separator) if separator else [text]
            row[field] = [part.strip() for part in parts if part.strip()]
        else:
            row[field] = text
    return row


def read_split(word: str, path: Path) -> str:
    """Return the split that a word of a table stands for."""
    if (word or "").strip().lower() not in SPLITS:
        raise ValueError(f"{path} has the split {word!r}; known are {[*SPLITS]}.")
    return SPLITS[word.strip().lower()]


def find_clip(folder: Path, name: str, audio: Mapping[str, Path]) -> Path | None:
    """Return the file of a clip; None if it is not there."""
    for suffix in ("", *AUDIO_SUFFIXES):
        path = folder / (name + suffix)
        if path.is_file():
            return path
    file = Path(name).name
    return audio.get(file, audio.get(Path(name).stem))
