"""MACS: 3930 urban recordings, two to five captions each; captions and TAU's audio in.

Both parts in one folder, as published, or the tree of ``aac-datasets``
(``MACS/{MACS.yaml, audio/}``)::

    MACS.yaml                                                 the captions
    TAU-urban-acoustic-scenes-2019-development/audio/*.wav    parts 1-3 and 9-13 of 21

Traps: the recordings are those of the scene data of TAU 2019 (airport, public square,
park): a test on those scenes must not follow training on these captions. There are no
splits. ``MACS_competence.csv``, how far each annotator agrees with others, is not read.

Certain, from the code of two other readers: the form of the YAML; the file itself was
not seen. From memory: the licence. That Pengi learned the captions under the prompt of
metadata is the paper's grouping; ``task`` changes it.
"""

from dataclasses import replace
from pathlib import Path

from ruamel.yaml import YAML

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    read_text,
    text_rows,
    write_corpus,
)

CORPUS = Corpus(
    name="macs",
    title="MACS",
    tasks=("metadata",),
    clips={"train": 3930},
    hours=10.9,
    licence="non-commercial, Tampere University (captions and audio)",
    home="https://zenodo.org/records/5114771",
    use="train",
    citation="I. Martin-Morato and A. Mesaros, Diversity and Bias in Audio Captioning "
    "Datasets, DCASE 2021",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1


def prepare_macs(
    data_folder: str, manifest_folder: str, task: str = "metadata"
) -> None:
    """Write ``train.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``MACS.yaml`` and the audio are.
    manifest_folder : str
        Where the manifest is written.
    task : str
        ``metadata`` or ``captioning``.

    Raises
    ------
    FileNotFoundError
        If there is no ``MACS.yaml``.
    ValueError
        If it has another form, the task is unknown, or no clip is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "macs", "version": VERSION, "task": task}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(data_folder, "MACS.yaml", what="MACS")
    # All values are text, so that a caption "12" is no number; in C, for speed.
    content = YAML(typ="base").load(read_text(path))
    if not isinstance(content, dict) or "files" not in content:
        raise ValueError(f"{path} has no list 'files'; it is not MACS'.")
    audio = find_audio(data_folder)
    clips = []
    for file in content["files"]:
        stem = Path(file["filename"]).stem
        captions = [one["sentence"] for one in file["annotations"]]
        rows = text_rows(captions, "train", task)
        clips.append(Clip(stem, "train", audio.get(stem), rows, f"tau2019:{stem}"))
    corpus = replace(CORPUS, tasks=(task,))
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments)
