"""NSynth: 305,979 notes of 4 s, of 1,006 instruments; its folders in, manifests out.

Layout: ``nsynth-train/``, ``nsynth-valid/`` and ``nsynth-test/`` as the three archives
(``nsynth-<split>.jsonwav.tar.gz``) unpack, each with ``examples.json`` and ``audio/``.
Any of the three will do; manifests are written of those that are there.

A note's row is of the task ``music_note``; its instrument is the family's name. The
fields ``family``, ``pitch``, ``velocity``, ``source_kind``, ``qualities`` (a list,
often empty), ``qualities_or_none`` (the same as text, ``none`` where it is empty) and
``instrument_id`` are there for templates and benchmarks. A fuller answer than ours is
a template in a YAML, here the sentence that the paper most likely used::

    tasks:
        music_note:
            prompt: this music note is
            answer: >-
                produced by {instrument}, pitch {pitch}, velocity {velocity}, source
                {source_kind}, and having qualities like {qualities_or_none}

Traps: family names contain ``_``, so that fields are read and names are not cut;
``synth_lead`` occurs in training only; pitches outside the piano's 21-108 occur.

Certain, from rows and code: all fields, and 305,979 notes. From memory: the counts per
split, and that the family of number 9 is synth lead. A reconstruction: the fuller
sentence.

Reference: J. Engel et al., *Neural Audio Synthesis of Musical Notes with WaveNet
Autoencoders*, ICML 2017. Home: https://magenta.tensorflow.org/datasets/nsynth

Licence: CC BY 4.0.
"""

import json
from dataclasses import replace
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import Clip, Corpus, write_corpus

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1
#: Length of every note.
SECONDS = 4.0

CORPUS = Corpus(
    name="nsynth",
    title="NSynth",
    tasks=("music_note",),
    clips={"train": 289_205, "valid": 12_678, "test": 4_096},
    hours=340.0,
    licence="CC BY 4.0",
    home="https://magenta.tensorflow.org/datasets/nsynth",
    use="train, test",
    citation="Engel et al., Neural Audio Synthesis of Musical Notes, ICML 2017",
)

#: Official family -> its name in answers.
FAMILIES = {
    "bass": "bass",
    "brass": "brass",
    "flute": "flute",
    "guitar": "guitar",
    "keyboard": "keyboard",
    "mallet": "mallet",
    "organ": "organ",
    "reed": "reed",
    "string": "string",
    "synth_lead": "synth lead",
    "vocal": "vocal",
}
CLASSES = list(FAMILIES.values())

#: Official quality -> its name in answers.
QUALITIES = {
    "bright": "bright",
    "dark": "dark",
    "distortion": "distortion",
    "fast_decay": "fast decay",
    "long_release": "long release",
    "multiphonic": "multiphonic",
    "nonlinear_env": "nonlinear env",
    "percussive": "percussive",
    "reverb": "reverb",
    "tempo-synced": "tempo-synced",
}
QUALITY_CLASSES = list(QUALITIES.values())


def prepare_nsynth(data_folder: str, manifest_folder: str) -> None:
    """Write a manifest of each split that is there; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``nsynth-train/``, ``nsynth-valid/`` and ``nsynth-test/`` are.
    manifest_folder : str
        Where the manifests are written.

    Raises
    ------
    FileNotFoundError
        If none of the three has an ``examples.json``.
    ValueError
        If a note has a family or quality that NSynth does not have.
    """
    data_folder = Path(data_folder)
    files = {
        split: data_folder / f"nsynth-{split}" / "examples.json"
        for split in CORPUS.clips
    }
    found = {split: path for split, path in files.items() if path.is_file()}
    if not found:
        names = " or ".join(
            str(path.relative_to(data_folder)) for path in files.values()
        )
        raise FileNotFoundError(
            f"There is no {names} in {data_folder}; give the folder that the archives "
            "of NSynth (json and wav) were unpacked in."
        )
    arguments = {"corpus": "nsynth", "version": VERSION, "splits": list(found)}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    clips = [clip for split, path in found.items() for clip in read_notes(path, split)]
    corpus = replace(CORPUS, clips={split: CORPUS.clips[split] for split in found})
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments, SECONDS)


def read_notes(path: Path, split: str) -> list[Clip]:
    """Read an ``examples.json``."""
    notes = json.loads(path.read_text(encoding="utf-8"))
    audio = path.parent / "audio"
    return [
        Clip(name, split, audio / f"{name}.wav", {"note": row_of(name, note)})
        for name, note in notes.items()
    ]


def row_of(name: str, note: dict) -> dict:
    """Return the row of a note of ``examples.json``.

    Example
    -------
    >>> note = {"instrument_family_str": "bass", "qualities_str": ["fast_decay"]}
    >>> note |= {"pitch": 49, "velocity": 25, "instrument_str": "bass_synthetic_068"}
    >>> row = row_of("bass_synthetic_068-049-025", note | {
    ...     "instrument_source_str": "synthetic"})
    >>> row["instrument"], row["qualities"]
    ('bass', ['fast decay'])
    """
    family, qualities = note["instrument_family_str"], note["qualities_str"]
    unknown = ({family} - FAMILIES.keys()) | (set(qualities) - QUALITIES.keys())
    if unknown:
        raise ValueError(
            f"Note {name!r} has the family or quality {', '.join(sorted(unknown))}, "
            "which NSynth does not have."
        )
    qualities = [QUALITIES[quality] for quality in qualities]
    return {
        "task": "music_note",
        "instrument": FAMILIES[family],
        "family": FAMILIES[family],
        "pitch": note["pitch"],
        "velocity": note["velocity"],
        "source_kind": note["instrument_source_str"],
        "qualities": qualities,
        "qualities_or_none": ", ".join(qualities) or "none",
        "instrument_id": note["instrument_str"],
    }
