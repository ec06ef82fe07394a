"""A folder of manifests in, what is wrong with them and their audio files out."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import soundfile
from tqdm import tqdm

from pengi_plugin.data.audio import (
    BLOCK,
    NotFiniteError,
    Recording,
    open_audio,
)
from pengi_plugin.data.file_state import file_state
from pengi_plugin.data.manifest import (
    SPLITS,
    Fault,
    Rows,
    check_audio,
    concatenate,
    manifest_path,
    read_record,
    read_rows,
)
from pengi_plugin.data.overlap import (
    HeldOut,
    count_overlaps,
    find_overlaps,
    folders_below,
    odd_sources,
    read_held_out,
)
from pengi_plugin.data.separators import undeclared_labels
from pengi_plugin.data.shards import AGAIN, expected_digest, is_member
from pengi_plugin.tasks import TASKS, Template, apply

#: Kind of fault -> what it is a share of, in the order of the summary.
KINDS = {
    "manifest": "manifests",
    "row": "rows",
    "duplicate ID": "rows",
    "long answer": "rows",
    "long prompt": "rows",
    "other duration": "rows",
    "missing": "files",
    "empty": "files",
    "not readable": "files",
    "truncated": "files",
    "altered": "files",
    "NaN": "files",
    "silent": "files",
    "too short": "files",
    "too long": "files",
    "odd rate": "files",
    "duplicate audio": "files",
    "shared between splits": "files",
}

#: How the reasons of ``check_audio`` begin -> kind.
REASONS = {
    "missing": "missing",
    "empty file": "empty",
    "holds no samples": "empty",
    "truncated": "truncated",
    "not readable": "not readable",
}

#: Hz that recorders, codecs and corpora use. Another rate is often a header of
#: another file, or a clip that plays at the wrong speed.
USUAL_RATES = {
    *(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    *(64000, 88200, 96000, 176400, 192000),
}

#: A waveform that never exceeds this is silent: the dither of 16-bit silence has two
#: steps of 2 ** -15 and stays below.
SILENCE = 2**-13

#: Seconds by which a duration may differ from the manifest's, as of ``check_audio``.
TOLERANCE = 0.1


class Lengths(NamedTuple):
    """How long a recording may be, in seconds."""

    #: Shorter ones are clicks: four frames of a spectrogram.
    shortest: float = 0.1
    #: Longer ones have not been cut into clips: the model hears one part of seconds.
    longest: float = 300.0


LENGTHS = Lengths()


class Heard(NamedTuple):
    """Result of reading all of an audio file: faults, seconds, digest of its bytes.

    ``duration`` is None where the file could not be read to its end, ``digest`` where
    there is none.
    """

    faults: list[Fault]
    duration: float | None
    digest: str | None


class Report(NamedTuple):
    """What was checked, and what is wrong."""

    counts: dict[str, int]  # "manifests", "rows" and "files" -> how many
    faults: list[Fault]
    #: (training corpus, test set) -> rows of the former that hold test recordings.
    overlaps: Mapping[tuple[str, str], int] = {}
    #: What may be meant otherwise than it is read; no fault.
    warnings: tuple[str, ...] = ()

    def summary(self) -> list[dict]:
        """Return for each kind of fault its ``count``, its ``share`` and ``names``.

        Example
        -------
        >>> (line,) = Report({"files": 4}, [Fault("silent", "a", "...")]).summary()
        >>> line
        {'kind': 'silent', 'count': 1, 'of': 'files', 'share': 0.25, 'names': ['a']}
        """
        lines = []
        for kind, unit in KINDS.items():
            names = [fault.name for fault in self.faults if fault.kind == kind]
            if names:
                share = len(names) / max(self.counts[unit], 1)
                line = {"kind": kind, "count": len(names), "of": unit, "share": share}
                lines.append({**line, "names": names})
        return lines


def check_folder(
    folder: str | Path,
    lengths: Lengths = LENGTHS,
    templates: Mapping[str, Template] = TASKS,
    answer_fault: Callable[[str], str] | None = None,
    prompt_fault: Callable[[str], str] | None = None,
    n_worker: int | None = None,
    held_out: Iterable[str | Path] = (),
) -> Report:
    """Check all manifests of a folder and its subfolders, and read all their files.

    Arguments
    ---------
    folder : str
        Holds ``train``, ``valid`` or ``test`` (.json or .csv); so may each subfolder,
        one per corpus.
    lengths : Lengths
        How long a recording may be.
    templates : dict
        Task -> Template.
    answer_fault, prompt_fault : callable
        Text -> why the model cannot read it, empty if it can. None: any text is right.
    n_worker : int
        Files that are read at a time; None: one for each processor.
    held_out : iterable of str
        Further test sets that training rows are compared with, beside those of the
        folder; see ``data.overlap.read_held_out``.

    Returns
    -------
    report : Report

    Raises
    ------
    FileNotFoundError
        If there is no manifest, or none of a set that is held out.
    """
    folder = Path(folder)
    paths, faults = find_manifests(folder)
    several, n_row, warnings = [], 0, []
    for path in paths:
        corpus = path.parent.relative_to(folder).as_posix()
        corpus = folder.resolve().name if corpus == "." else corpus
        try:
            found, wrong = read_rows(path, corpus)
        except ValueError as error:
            faults.append(Fault("manifest", str(path), str(error)))
            continue
        n_row += len(found) + len(wrong)
        prepared = read_record(path.parent).get("arguments")
        warnings += undeclared_labels(path, found.values(), prepared)
        warnings += source_warnings(path, found)
        faults += wrong
        several.append((path.stem, corpus, found))
    rows = CheckedRows(several)
    faults += text_faults(rows, templates, answer_fault, prompt_fault)
    heard = check_recordings(rows.paths(), lengths, n_worker)
    faults += [fault for one in heard.values() for fault in one.faults]
    faults += duration_faults(rows, heard)
    faults += duplicate_faults(rows, heard)
    counts = {"manifests": len(paths), "rows": n_row, "files": len(heard)}
    parents = {path.parent for path in paths}
    overlaps = overlaps_with_tests(rows, read_held_out(held_out, parents))
    return Report(counts, faults, overlaps, tuple(warnings))


def source_warnings(path: Path, rows: Rows) -> list[str]:
    """Return a warning of the sources that are found in no test set as they are."""
    odd = [
        word for (source,) in rows.cells("source") for word in odd_sources(source or "")
    ]
    if not odd:
        return []
    return [
        f"{path}: {len(odd)} sources have no known form, the first is {odd[0]!r}; they "
        "are found in no test set. Write freesound:NUMBER, youtube:VIDEO or "
        "youtube:VIDEO:START, or archive:ID as the test set has it."
    ]


class CheckedRows:
    """The rows of several manifests, one after another, each with where it is from.

    Arguments
    ---------
    several : list of (str, str, Rows)
        Split, corpus and rows of each manifest.
    """

    def __init__(self, several: Sequence[tuple[str, str, Rows]]):
        self.several = several

    def __iter__(self) -> Iterator[dict]:
        for split, corpus, rows in self.several:
            where = {"split": split, "where": f"{split} of {corpus}"}
            for row in rows.values():
                yield row | where

    def paths(self) -> set[str]:
        """Return the audio files of all rows."""
        return {wav for _, _, rows in self.several for (wav,) in rows.cells("wav")}


def overlaps_with_tests(
    rows: CheckedRows, test_sets: Iterable[tuple[str, Mapping]] = ()
) -> dict[tuple[str, str], int]:
    """Return (training corpus, test set) -> how many training rows they share.

    Arguments
    ---------
    rows : CheckedRows
        Of all splits.
    test_sets : iterable of (str, dict)
        Further ones: name and rows.
    """
    own = [(corpus, some) for split, corpus, some in rows.several if split == "test"]
    held_out = HeldOut()
    for name, some in [*own, *test_sets]:
        held_out.add(some.values(), name)
    train = concatenate(some for split, _, some in rows.several if split == "train")
    return count_overlaps(train, find_overlaps(train, held_out))


def find_manifests(folder: Path) -> tuple[list[Path], list[Fault]]:
    """Return the manifests of a folder and its subfolders."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    names = [f"{split}.{suffix}" for split in SPLITS for suffix in ("json", "csv")]
    there = {
        (path.parent, path.stem)
        for parent in (folder, *folders_below(folder))
        for path in parent.iterdir()
        if path.name in names
    }
    if not there:
        raise FileNotFoundError(
            f"{folder} holds no {', '.join(names)}, nor do its subfolders."
        )
    paths, faults = [], []
    for parent, split in sorted(there):
        try:
            paths.append(manifest_path(parent, split))
        except ValueError as error:
            faults.append(Fault("manifest", str(parent / split), str(error)))
            paths += [parent / f"{split}.csv", parent / f"{split}.json"]
    return paths, faults


def text_faults(
    rows: Iterable[Mapping],
    templates: Mapping[str, Template],
    answer_fault: Callable[[str], str] | None = None,
    prompt_fault: Callable[[str], str] | None = None,
) -> list[Fault]:
    """Return which rows have an unknown task, lack a field, or are too long."""
    faults = []
    for row in rows:
        try:
            prompt, answer = apply(row["task"], row, templates)
        except ValueError as error:
            faults.append(Fault("row", row["id"], str(error)))
            continue
        for kind, text, fault_of in (
            ("long answer", answer, answer_fault),
            ("long prompt", prompt, prompt_fault),
        ):
            message = fault_of(text) if fault_of else ""
            if message:
                faults.append(Fault(kind, row["id"], f"{row['id']}: {message}"))
    return faults


def token_fault(text: str, tokenizer, n_end: int, n_token: int) -> str:
    """Tell whether an answer with its end mark has more tokens than a model reads.

    Arguments
    ---------
    text : str
        The answer.
    tokenizer : object
        The language model's: ``encode_as_ids(text)``.
    n_end : int
        Tokens of the end mark.
    n_token : int
        Tokens that the language model reads after the prefix.
    """
    # A text has no more tokens than bytes, so most need no tokenizer.
    if len(text.encode()) + n_end <= n_token:
        return ""
    length = len(tokenizer.encode_as_ids(text)) + n_end
    if length <= n_token:
        return ""
    return (
        f"{length} tokens with the end mark, the model reads {n_token}: {text[:60]!r}"
    )


def check_recordings(
    paths: Iterable[str], lengths: Lengths = LENGTHS, n_worker: int | None = None
) -> dict[str, Heard]:
    """Read files, several at a time, with a progress bar: path -> what was heard."""
    paths = sorted(paths)
    # Threads: soundfile, NumPy and hashlib let others run while they work.
    with ThreadPoolExecutor(n_worker or os.cpu_count()) as pool:
        found = pool.map(lambda path: check_recording(path, lengths), paths)
        progress = tqdm(found, "reading audio", len(paths), unit="file", leave=False)
        return dict(zip(paths, progress, strict=True))


def check_recording(path: str | Path, lengths: Lengths = LENGTHS) -> Heard:
    """Read all of a file.

    Example
    -------
    >>> check_recording("no such file.wav").faults[0].kind
    'missing'
    """
    path = str(path)

    def fault(kind, message):
        return Fault(kind, path, f"{path}: {message}")

    try:
        declared, reason = check_audio(path)
        digest = digest_of(path)
        if digest and (alteration := altered(path, digest)):
            return Heard([fault("altered", alteration)], None, digest)
        if reason:
            kind = next(REASONS[key] for key in REASONS if reason.startswith(key))
            return Heard([fault(kind, reason)], None, digest)
        peak, n_frame = 0.0, 0
        with Recording(path, None) as recording:
            rate = recording.rate
            while len(wav := recording.read(n_frame, BLOCK)):
                peak, n_frame = max(peak, float(wav.abs().max())), n_frame + len(wav)
    except NotFiniteError as error:
        return Heard([Fault("NaN", path, str(error))], None, digest)
    except (OSError, ValueError, soundfile.LibsndfileError) as error:
        return Heard([fault("not readable", str(error))], None, None)
    duration, faults = n_frame / rate, []
    if duration < declared - TOLERANCE:
        message = f"ends after {duration:.2f} s, its header says {declared:.2f} s"
        faults.append(fault("truncated", message))
    if peak < SILENCE:
        faults.append(fault("silent", f"no sample is above {SILENCE:.2g}"))
    if duration < lengths.shortest:
        message = f"lasts {duration:.3f} s, less than {lengths.shortest:g} s"
        faults.append(fault("too short", message))
    if duration > lengths.longest:
        message = f"lasts {duration:.1f} s, more than {lengths.longest:g} s"
        faults.append(fault("too long", message))
    if rate not in USUAL_RATES:
        faults.append(fault("odd rate", f"{rate} Hz"))
    return Heard(faults, duration, digest)


def digest_of(path: str | Path) -> str | None:
    """Return the SHA-256 of a file's bytes; None for no file and an empty one."""
    if not file_state(path):
        return None
    found = hashlib.sha256()
    with open_audio(path) as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def altered(path: str, digest: str) -> str:
    """Tell whether a clip in a shard is not what was stored; empty if it is."""
    expected = expected_digest(path) if is_member(path) else ""
    if expected in ("", digest):
        return ""
    return f"its SHA-256 is {digest}, the shard's index says {expected}. {AGAIN}"


def duration_faults(rows: Iterable[Mapping], heard: Mapping[str, Heard]) -> list[Fault]:
    """Return which rows give another duration than their files have."""
    faults = []
    for row in rows:
        duration = heard[row["wav"]].duration
        if duration is not None and abs(duration - row["duration"]) > TOLERANCE:
            message = (
                f"{row['id']}: the manifest says {row['duration']:.2f} s, {row['wav']} "
                f"lasts {duration:.2f} s"
            )
            faults.append(Fault("other duration", row["id"], message))
    return faults


def duplicate_faults(
    rows: Iterable[Mapping], heard: Mapping[str, Heard]
) -> list[Fault]:
    """Return which clips have two names, and which are in more than one split."""
    clips = defaultdict(lambda: defaultdict(set))  # digest -> path -> where it is
    for row in rows:
        clip = heard[row["wav"]].digest or row["wav"]
        clips[clip][row["wav"]].add((row["split"], row["where"]))
    faults = []
    for names in clips.values():
        # Two corpora may write one path in two ways, or link to one file.
        first, *others = {os.path.realpath(name): name for name in names}.values()
        faults += [
            Fault("duplicate audio", other, f"{other} holds the same bytes as {first}")
            for other in others
        ]
        found_in = sorted(set().union(*names.values()))
        if len({split for split, _ in found_in}) > 1:
            where = ", ".join(where for _, where in found_in)
            message = f"{' = '.join(names)} is in {where}"
            faults.append(Fault("shared between splits", first, message))
    return faults
