"""MuChoMusic: 1187 questions of multiple choice about 644 pieces of music.

``data/muchomusic.csv`` and the audio of Song Describer and MusicCaps, found by their
IDs anywhere in the folder::

    sdd/audio/<..>/<track>.2min.mp3
    musiccaps/audio/[<video>]-[<start>-<end>].wav    the brackets are real

The authors shuffle the options anew in each run; here the order of each question is
drawn once from ``seed`` and kept in the manifest. ``kind`` says whether a question is
of musical knowledge, reasoning or both. ``source`` is the video and second of
MusicCaps, whose clips are of AudioSet, or the track of Song Describer, ``sdd:<track>``.

Certain, from the authors' code: columns and names of MusicCaps' files. Not seen: the
CSV. From memory: that a file of Song Describer is named after the track, and the
authors and title of the citation.
"""

import random
import re
from pathlib import Path

from pengi_plugin.corpora.choices import choice_clips, file_stem
from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Corpus,
    find_audio,
    find_file,
    read_table,
    write_corpus,
)

CORPUS = Corpus(
    name="muchomusic",
    title="MuChoMusic",
    tasks=("question_answering",),
    clips={"test": 1187},
    hours=None,
    licence="CC BY-SA 4.0; audio: of Song Describer and YouTube",
    home="https://doi.org/10.5281/zenodo.12709974",
    use="none",
    citation="B. Weck et al., MuChoMusic: Evaluating Music Understanding in Multimodal "
    "Audio-Language Models, ISMIR 2024",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

OPTIONS = ("correct_answer", *(f"distractor_{n}_answer" for n in (1, 2, 3)))


def prepare_muchomusic(data_folder: str, manifest_folder: str, seed: int = 0) -> None:
    """Write ``test.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``muchomusic.csv`` and the audio are.
    manifest_folder : str
        Where the manifest is written.
    seed : int
        Of the order of the options.

    Raises
    ------
    FileNotFoundError
        If there is no ``muchomusic.csv``.
    ValueError
        If it lacks a column, or no recording is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "muchomusic", "version": VERSION, "seed": seed}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(data_folder, "muchomusic.csv", what="MuChoMusic")
    lines = read_table(path, ("question", *OPTIONS, "dataset", "dataset_identifier"))
    audio = find_audio(data_folder, recording_of)
    items = [read_line(n, line, audio, seed) for n, line in enumerate(lines, start=1)]
    clips = choice_clips(items, CORPUS.title)
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def recording_of(path: Path) -> str:
    """Return what the table calls the recording of a file.

    Example
    -------
    >>> recording_of(Path("[a_-b]-[30-40].wav")), recording_of(Path("1/17.2min.mp3"))
    ('a_-b_30', '17')
    """
    match = re.fullmatch(r"\[(.+)\]-\[(\d+)-\d+\]", path.stem)
    return f"{match[1]}_{match[2]}" if match else path.stem.removesuffix(".2min")


def read_line(n: int, line: dict, audio: dict[str, Path], seed: int) -> dict:
    """Return the ``n``-th line of the table as ``choice_clips`` wants it."""
    recording = file_stem(line["dataset_identifier"])
    choices = [line[name] for name in OPTIONS if line[name]]
    random.Random(f"{seed} {n}").shuffle(choices)
    video, _, start = recording.rpartition("_")  # the ID may hold an underscore
    of_musiccaps = line["dataset"] == "musiccaps"
    return {
        "name": f"{n}_{recording}",
        "path": audio.get(recording),
        "question": line["question"],
        "choices": choices,
        "answer": line["correct_answer"],
        "kind": kind_of(line),
        "dataset": line["dataset"],
        "source": f"youtube:{video}:{start}" if of_musiccaps else f"sdd:{recording}",
    }


def kind_of(line: dict) -> str:
    """Return which of knowledge and reasoning a question is of.

    Example
    -------
    >>> kind_of({"music_knowledge": "['tempo']", "music_reasoning": "[]"})
    'knowledge'
    """
    named = {"knowledge": "music_knowledge", "reasoning": "music_reasoning"}
    found = [
        kind for kind, name in named.items() if (line.get(name) or "[]").strip() != "[]"
    ]
    return " and ".join(found) or "neither"
