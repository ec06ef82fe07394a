"""A corpus as it was read from its metadata in, checked manifests out.

Every module of ``corpora`` reads its metadata into ``Clip``s and hands them to
``write_corpus``, which looks at the audio files, says what was found, what is missing
and what was expected, and writes the manifests.
"""

import csv
import io
import itertools
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from pengi_plugin.data.kept_clips import KeptClips
from pengi_plugin.data.manifest import (
    AUDIO_SUFFIXES,
    SPLITS,
    check_audio,
    write_manifests,
)

logger = logging.getLogger(__name__)

#: Headers that are read at a time; reading waits for the disk more than for the CPU.
N_WORKER = 8

#: Files that are handed to the workers at a time.
N_CHECKED = 4096

#: How many missing files a message names.
N_NAMED = 3

#: Task whose answer is a text of its own -> the field that holds it.
TEXT_FIELDS = {"captioning": "caption", "metadata": "metadata"}

#: Words in a licence that a user must be told of.
RESTRICTIONS = ("noncommercial", "non-commercial", "-nc", "academic", "research")


@dataclass(frozen=True)
class Corpus:
    """What a user wants to know of a corpus before preparing it.

    Arguments
    ---------
    name : str
        As in ``pengi prepare``.
    title : str
        As it is published.
    tasks : tuple of str
        Tasks of its rows, as in ``pengi_plugin.tasks``.
    clips : dict
        Split -> how many clips the complete corpus has; None where unknown.
    hours : float
        Of all splits; None where unknown.
    licence : str
        Of the annotations and the audio.
    home : str
        Where to get it.
    use : str
        In the paper: ``train``, ``test``, ``train, test`` or ``none``.
    citation : str
        Authors, title, venue, year.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    clips: Mapping[str, int | None]
    hours: float | None
    licence: str
    home: str
    use: str
    citation: str = field(repr=False)

    @property
    def is_restricted(self) -> bool:
        """Whether the licence limits who may use it or for what."""
        return any(word in self.licence.lower() for word in RESTRICTIONS)


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip of a corpus and the rows about it.

    Arguments
    ---------
    name : str
        Unique in the corpus; the first part of its rows' IDs.
    split : str
        ``train``, ``valid`` or ``test``.
    path : Path
        Audio file; None if it was not found.
    rows : dict
        Name of the row (``caption``, ``events``, ``question_3``) -> its ``task`` and
        the task's fields.
    source : str
        Where the recording comes from, for comparing corpora that share recordings:
        ``youtube:ID:START SECONDS``, ``freesound:ID``, several with blanks between, or
        empty; see ``data/overlap.py``.
    fields : dict
        Further fields of all its rows, such as ``fold``.
    """

    name: str
    split: str
    path: Path | None
    rows: Mapping[str, Mapping]
    source: str = ""
    fields: Mapping = field(default_factory=dict)


def find_file(folder: str | Path, *names: str, what: str) -> Path:
    """Return the first of several files or folders that is there.

    Each is looked for in the folder, in its folders and in the folders of these.

    Arguments
    ---------
    folder : str
        Of the corpus.
    names : str
        Paths below the folder, in the order in which they are tried.
    what : str
        What the folder should be, for the message.

    Raises
    ------
    FileNotFoundError
        If none is there.
    """
    for name in names:
        for above in ("", "*/", "*/*/"):
            found = sorted(Path(folder).glob(above + name))
            if found:
                return found[0]
    raise FileNotFoundError(
        f"There is no {' or '.join(names)} in {folder}; give the folder of {what}."
    )


def find_split_files(
    folder: str | Path, names: Mapping[str, Iterable[str]], what: str
) -> dict[str, Path]:
    """Return the file of each split; a split without one is left out and named.

    Arguments
    ---------
    folder : str
        Of the corpus.
    names : dict
        Split -> paths below the folder, in the order in which they are tried.
    what : str
        What the folder should be, for the message.

    Raises
    ------
    FileNotFoundError
        If no split has one.
    """
    found, errors = {}, []
    for split, several in names.items():
        try:
            found[split] = find_file(folder, *several, what=what)
        except FileNotFoundError as error:
            errors.append(f"The split {split} is left out. {error}")
    if not found:
        every = [name for several in names.values() for name in several]
        find_file(folder, *every, what=what)  # raises, and names all of them
    for error in errors:
        logger.warning(error)
    return found


def text_rows(
    texts: Iterable[str], split: str, task: str = "captioning"
) -> dict[str, dict]:
    """Return the rows of a clip that several texts describe.

    Arguments
    ---------
    texts : list of str
        What is said of the clip, one or more; empty ones are left out.
    split : str
        In ``train`` each text is a row, else there is one row with all of them.
    task : str
        ``captioning`` or ``metadata``.

    Example
    -------
    >>> text_rows(["a dog", "barks"], "test")["caption"]
    {'task': 'captioning', 'caption': 'a dog', 'references': ['a dog', 'barks']}
    """
    if task not in TEXT_FIELDS:
        raise ValueError(f"task must be one of {[*TEXT_FIELDS]}; got {task!r}.")
    field = TEXT_FIELDS[task]
    texts = [text for text in texts if text and text.strip()]
    rows = [{"task": task, field: text, "references": texts} for text in texts]
    if split == "train":
        return {f"{field}_{n}": row for n, row in enumerate(rows, start=1)}
    return {field: rows[0]} if rows else {}


def read_table(
    path: Path, columns: Iterable[str], delimiter: str = ","
) -> list[dict[str, str]]:
    """Read a CSV file with a header: one dict per line, all values text.

    The file is UTF-8, with or without a byte order mark, else Windows-1252.

    Arguments
    ---------
    path : Path
        The file.
    columns : iterable of str
        Those that it must have.
    delimiter : str
        Between two columns.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    text = io.StringIO(read_text(path), newline="")
    reader = csv.DictReader(text, delimiter=delimiter)
    missing = set(columns) - set(reader.fieldnames or ())
    if missing:
        raise ValueError(
            f"{path} has no column {', '.join(sorted(missing))}; its columns are "
            f"{', '.join(reader.fieldnames or ())}."
        )
    return list(reader)


def read_text(path: Path) -> str:
    """Read a file of UTF-8, with or without a byte order mark, else Windows-1252."""
    content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def find_audio(folder: str | Path, key: Callable | None = None) -> dict[str, Path]:
    """Return the audio files below a folder by their names without ending.

    Where a name occurs several times, the first in sorted order is taken.

    Arguments
    ---------
    folder : str
        Searched with all folders below it.
    key : callable
        Path below the folder -> by what the file is returned, None to leave it out;
        by default its name without ending.

    Example
    -------
    >>> find_audio("no such folder")
    {}
    """
    found = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                path = Path(parent, name)
                found.setdefault(key(path.relative_to(folder)) if key else stem, path)
    found.pop(None, None)
    return found


def require_audio(found: Mapping, folder: str | Path, what: str) -> None:
    """Raise an error that says what to do if a folder has no audio files.

    Arguments
    ---------
    found : dict
        What ``find_audio`` returned.
    folder : str
        Where it searched.
    what : str
        The files that were expected, for the message.

    Raises
    ------
    FileNotFoundError
        If nothing was found.
    """
    if found:
        return
    n_video = sum(1 for _ in Path(folder).rglob("*.mp4"))
    hint = (
        f" It has {n_video} videos: extract their sound, for instance by ffmpeg -i "
        "NAME.mp4 -vn -ac 1 -ar 16000 NAME.wav"
        if n_video
        else ""
    )
    raise FileNotFoundError(f"There is no audio below {folder}: {what}.{hint}")


def write_corpus(
    corpus: Corpus,
    clips: Iterable[Clip],
    data_folder: str | Path,
    manifest_folder: str | Path,
    arguments: Mapping,
    seconds: float | None = None,
) -> None:
    """Check a corpus' audio files and write its manifests.

    A missing or broken file is left out, counted and listed in ``left_out.csv``. Where
    no audio of the training split is there, but some of another, as of someone who only
    evaluates, only splits with audio are written.

    Arguments
    ---------
    corpus : Corpus
        Whose ``clips`` name the splits to write.
    clips : iterable of Clip
        What the metadata say.
    data_folder : str
        Paths in the manifests are relative to it (``{data_root}``).
    manifest_folder : str
        Where the manifests go.
    arguments : dict
        All that they depend on; see ``is_prepared``.
    seconds : float
        How long each file should be, within a tenth of a second; None: any length.

    Raises
    ------
    ValueError
        If no clip can be used, two clips or rows have the same name, or a split is
        unknown.
    """
    Path(manifest_folder).mkdir(parents=True, exist_ok=True)
    kept = KeptClips(clips, manifest_folder)
    _check_names(corpus, kept)
    if corpus.is_restricted:
        logger.warning(
            "%s: its licence is restricted: %s.", corpus.title, corpus.licence
        )
    kept.check(lambda paths: check_many(paths, seconds, kept.n_file))
    there = kept.splits_with_audio
    splits = [split for split in SPLITS if split in corpus.clips]
    if there and "train" in splits and "train" not in there:
        logger.warning(
            "%s: no audio file for training was found; there will be no train.json.",
            corpus.title,
        )
        splits = [split for split in splits if split in there]
    n_used, left_out = Counter(), {}
    for clip, _, reason in kept.checked():
        if reason:
            left_out[str(clip.path or clip.name)] = reason
        else:
            n_used[clip.split] += 1
    report(corpus, kept.n_listed, n_used, left_out)
    # Rows are made when they are written, so that they are never all in memory.
    rows = {split: _rows_of(kept, split, data_folder) for split in splits}
    write_manifests(manifest_folder, rows, data_folder, arguments, left_out)


def _rows_of(
    kept: KeptClips, split: str, data_folder: str | Path
) -> Iterator[tuple[str, dict]]:
    """Yield ID and row of the clips of a split that can be used."""
    for clip, duration, reason in kept.checked():
        if reason or clip.split != split:
            continue
        common = {"wav": _in_manifest(clip.path, data_folder), "duration": duration}
        common |= {"clip": clip.name, **clip.fields}
        if clip.source:
            common["source"] = clip.source
        for name, row in clip.rows.items():
            yield f"{clip.name}_{name}", {**common, **row}


def check_many(
    paths: Iterable[Path], seconds: float | None = None, n_path: int | None = None
) -> Iterator[tuple[float, str]]:
    """Look at the headers of many files: yield seconds and what is wrong with each.

    Arguments
    ---------
    paths : iterable of Path
        The files.
    seconds : float
        How long each should be; None: any length.
    n_path : int
        How many there are, for the progress bar.
    """
    paths = iter(paths)
    bar = tqdm(desc="checking audio", total=n_path, unit="file", leave=False)
    with ThreadPoolExecutor(N_WORKER) as pool, bar:
        while some := list(itertools.islice(paths, N_CHECKED)):
            for found in pool.map(lambda path: check_audio(path, seconds), some):
                bar.update()
                yield found


def report(corpus: Corpus, n_listed, n_used, left_out: Mapping[str, str]) -> None:
    """Log how many clips of each split were found, expected and left out."""
    for split, expected in corpus.clips.items():
        listed, used = n_listed[split], n_used[split]
        share = f" ({used / listed:.1%})" if listed else ""
        known = "" if expected is None else f"; the complete corpus has {expected:,}"
        logger.info(
            "%s, %s: %s of %s clips can be used%s%s.",
            *(corpus.title, split, f"{used:,}", f"{listed:,}", share, known),
        )
    reasons = defaultdict(list)
    for name, reason in left_out.items():
        reasons[reason].append(name)
    for reason, names in reasons.items():
        some = ", ".join(names[:N_NAMED]) + (", ..." if len(names) > N_NAMED else "")
        logger.warning("%s: %d %s: %s.", corpus.title, len(names), reason, some)


def _check_names(corpus: Corpus, clips: KeptClips) -> None:
    unknown = sorted(set(clips.n_listed) - set(corpus.clips))
    if unknown:
        raise ValueError(
            f"{corpus.title} has no split {unknown}; it has {sorted(corpus.clips)}."
        )
    twice = clips.twice()
    if twice:
        raise ValueError(
            f"{corpus.title}: {len(twice)} clips have the name of another one, for "
            f"instance {twice[0]!r}; names must be unique in a split."
        )


def _in_manifest(path: Path, data_folder: str | Path) -> str:
    """Return a path as a manifest holds it, below ``{data_root}`` where it is."""
    path, root = Path(path).absolute(), Path(data_folder).absolute()
    if path.is_relative_to(root):
        return f"{{data_root}}/{path.relative_to(root).as_posix()}"
    return str(path)
