"""AudioSet: 10 s of two million videos, 527 classes; lists and audio in, manifests out.

The lists are ``balanced_train_segments.csv``, ``unbalanced_train_segments.csv`` (or
its parts, ``unbalanced_train_segments_part00.csv`` and so on) and
``eval_segments.csv``, in the folder or up to two folders below; those that are there
are used. The first two are for training, the last is for the test.

The audio is not distributed. Whatever a user could get is searched for by the video's
id, in any folder and audio format; a file is named by one of::

    ID                 as it is, or after an added Y:
    YID                PANNs
    YID_30.000_40.000  DCASE
    ID_30.0-40.0       audioset-download, which copies a clip into folders of classes
    ID_30, ID_30_40, ID_30000_40000

An id has 11 characters, which may be ``Y``, ``_`` and ``-``. Each list has one segment
of a video, and no video is in both balanced training and test.

The labels of a row are in the order of the list, which is that of their ids. They are
the published names; ``audioset_classes.csv`` beside this file holds them and can be
edited. Which order and which writing Pengi was trained with is not known.

Certain, counted in the published lists: their form, counts and labels; from code of
others, the names of PANNs, DCASE and audioset-download. From memory: the other names,
and the licence of the lists.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import Clip, Corpus, find_audio, write_corpus

CORPUS = Corpus(
    name="audioset",
    title="AudioSet",
    tasks=("sound_events",),
    clips={"train": 22160 + 2041789, "test": 20371},
    hours=5800,  # from memory; 61.2 of balanced training and 56.3 of the test are known
    licence="lists CC BY 4.0, class names CC BY-SA 4.0, audio its uploaders'",
    home="https://research.google.com/audioset",
    use="train, test",
    citation="J. F. Gemmeke et al., Audio Set: An ontology and human-labeled dataset "
    "for audio events, ICASSP 2017",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

with Path(__file__).with_name("audioset_classes.csv").open(newline="") as _file:
    #: Official id of a class, such as /m/0bt9lr -> text.
    NAMES = {row["mid"]: row["text"] for row in csv.DictReader(_file)}

CLASSES = list(NAMES.values())

#: Name of a list -> split.
LISTS = (
    (re.compile(r"(un)?balanced_train_segments(_part\d+)?\.csv"), "train"),
    (re.compile(r"eval_segments\.csv"), "test"),
)
VIDEO = re.compile(r"[A-Za-z0-9_-]{11}")
#: Name of an audio file: the id, and when the clip begins and ends. An id that begins
#: with Y and one after an added Y cannot be confused: the former would need 12 letters.
AUDIO = re.compile(r"Y?([A-Za-z0-9_-]{11})(_\d+(\.\d+)?([_-]\d+(\.\d+)?)?)?")


def prepare_audioset(data_folder: str, manifest_folder: str) -> None:
    """Write ``train.json`` and ``test.json``, of the lists that are there.

    Arguments
    ---------
    data_folder : str
        Where the lists and the audio are.
    manifest_folder : str
        Where the manifests are written.

    Raises
    ------
    FileNotFoundError
        If there is no list.
    ValueError
        If a list is damaged.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "audioset", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    lists = find_lists(data_folder)
    audio = find_videos(data_folder)
    clips = read_clips(lists, audio)
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def read_clips(
    lists: Iterable[tuple[Path, str]], audio: Mapping[str, Path]
) -> Iterator[Clip]:
    """Yield the clips of lists; a whole list and its parts may both be there."""
    seen = set()
    for path, split in lists:
        for video, start, mids in read_segments(path):
            if (split, video) in seen:
                continue
            seen.add((split, video))
            labels = [NAMES[mid] for mid in mids]
            yield Clip(
                name=video,
                split=split,
                path=audio.get(video),
                rows={"events": {"task": "sound_events", "labels": labels}},
                source=f"youtube:{video}:{start:g}",
            )


def find_lists(folder: Path) -> list[tuple[Path, str]]:
    """Return the lists of segments and their splits."""
    found = [
        (path, split)
        for above in ("", "*/", "*/*/")
        for path in sorted(folder.glob(f"{above}*_segments*.csv"))
        for name, split in LISTS
        if name.fullmatch(path.name)
    ]
    if not found:
        raise FileNotFoundError(
            "There is no balanced_train_segments.csv, unbalanced_train_segments.csv or "
            f"eval_segments.csv in {folder} or up to two folders below; get them from "
            f"{CORPUS.home}."
        )
    return found


def find_videos(folder: Path) -> dict[str, Path]:
    """Return the audio files below a folder by the ids of their videos."""
    found = {}
    for name, path in find_audio(folder).items():
        match = AUDIO.fullmatch(name)
        if match:
            found.setdefault(match[1], path)
    return found


def read_segments(path: Path) -> Iterator[tuple[str, float, list[str]]]:
    """Read a list: the id of each video, where the clip begins in s, its classes' ids.

    Lines of comments may be missing, begin without ``#``, or be ``empty`` (as in
    PANNs' parts).
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        for cells in csv.reader(file, skipinitialspace=True):
            first = cells[0].strip() if cells else ""
            if first in ("", "empty", "YTID") or re.match(r"#(?!NAME)", first):
                continue
            mids = cells[3].split(",") if len(cells) > 3 else []
            if not VIDEO.fullmatch(first) or not mids or not NAMES.keys() >= {*mids}:
                raise ValueError(
                    f"{path} has the line {cells}, not a video's id, two times "
                    "and ids of AudioSet's classes. Programs for tables damage these "
                    f"lists; get it again from {CORPUS.home}."
                )
            yield first, float(cells[1]), mids
