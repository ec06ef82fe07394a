"""Clotho: 5929 clips of Freesound with five captions each; the official files in.

The archives of Zenodo, extracted in one folder, or the tree of ``aac-datasets``
(``CLOTHO_v2.1/clotho_csv_files/`` and ``clotho_audio_files/``), or lists named
``csv_files/train.csv``, ``val.csv`` and ``test.csv``::

    clotho_captions_development.csv   clotho_metadata_development.csv   development/
    clotho_captions_validation.csv    clotho_metadata_validation.csv    validation/
    clotho_captions_evaluation.csv    clotho_metadata_evaluation.csv    evaluation/

Development is ``train``, evaluation is ``test``. Corpora are compared by the names of
clips and, from the metadata, their numbers at Freesound (``source``).
Version 1 has no validation. The extra files of DCASE (``test/``, ``clotho_analysis/``,
``retrieval_captions.csv``) have no ground truth and are not read.

Traps: names on disk hold HTML entities (``121006_rain&amp;storm.wav``), blanks in
front, commas and brackets, and are taken literally. 254 of the 473 test clips of
ClothoAQA are in the development split, 5.4 % of Clotho is in FSD50K's training part and
89 % in WavCaps.

Certain, from the published files: columns, names and counts. From memory: the hours of
validation and evaluation, and the licence of the captions.
"""

from pathlib import Path

from pengi_plugin.corpora.clothoaqa import clotho_source
from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    find_split_files,
    read_table,
    text_rows,
    write_corpus,
)

CORPUS = Corpus(
    name="clotho",
    title="Clotho v2.1",
    tasks=("captioning",),
    clips={"train": 3839, "valid": 1045, "test": 1045},
    hours=36.0,
    licence="captions non-commercial, Tampere University; clips CC0, CC BY, CC BY-NC "
    "or CC Sampling+",
    home="https://zenodo.org/records/4783391",
    use="train, test",
    citation="K. Drossos, S. Lipping and T. Virtanen, Clotho: an Audio Captioning "
    "Dataset, ICASSP 2020",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 2

#: Split -> its official name, and its name in the copy of WavCaps' repository.
NAMES = {
    "train": ("development", "train"),
    "valid": ("validation", "val"),
    "test": ("evaluation", "test"),
}
CAPTIONS = [f"caption_{n}" for n in range(1, 6)]


def prepare_clotho(
    data_folder: str, manifest_folder: str, audio_folder: str | None = None
) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where the captions are.
    manifest_folder : str
        Where the manifests are written.
    audio_folder : str
        Where the audio is; by default anywhere in ``data_folder``.

    Raises
    ------
    FileNotFoundError
        If no split has captions.
    ValueError
        If a list is not Clotho's, or no clip for training is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "clotho", "version": VERSION, "audio_folder": audio_folder}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    names = {
        split: [f"clotho_captions_{official}.csv", f"csv_files/{short}.csv"]
        for split, (official, short) in NAMES.items()
    }
    lists = find_split_files(data_folder, names, "Clotho")
    audio = find_audio(
        audio_folder or data_folder, lambda path: (path.parent.name, path.stem)
    )
    anywhere = {stem: path for (_, stem), path in audio.items()}
    clips = []
    for split, path in lists.items():
        official = NAMES[split][0]
        sources = read_sources(data_folder, f"clotho_metadata_{official}.csv")
        for line in read_table(path, ("file_name", *CAPTIONS)):
            stem = Path(line["file_name"]).stem
            clips.append(
                Clip(
                    name=stem,
                    split=split,
                    path=audio.get((official, stem), anywhere.get(stem)),
                    rows=text_rows([line[name] for name in CAPTIONS], split),
                    source=clotho_source(stem, sources.get(line["file_name"])),
                )
            )
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def read_sources(folder: Path, name: str) -> dict[str, str]:
    """Return file name -> source of the clips whose Freesound number is known."""
    try:
        path = find_file(folder, name, what="Clotho")
    except FileNotFoundError:
        return {}
    return {
        line["file_name"]: f"freesound:{line['sound_id']}"
        for line in read_table(path, ("file_name", "sound_id"))
        if (line["sound_id"] or "").isdecimal()  # else "Not found"
    }
