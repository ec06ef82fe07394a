"""WavText5K: 4525 sound effects of two web sites and what is said of them there.

``WavText5K.csv`` and the audio as its ``process.py`` fetches it, anywhere in the folder
(``Webcrawl/download/<fname>``, ``Webcrawl/<rate>/audios/<fname>``); where a clip is
there at several rates, the folder that is first in alphabetical order is taken, so give
``audio_folder`` to choose. Dead links are common.

Traps: the file has CRLF, also inside two titles; all descriptions of SoundBible begin
with a blank (left as it is; templates strip it); five rows have no text and are left
out; ``tags`` is Python text that does not always parse, and is not read. 1225 clips are
also in WavCaps. There are no splits.

Certain, from the published file: all of this. From memory: that the paper's text is the
description, else the title.
"""

import re
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    read_table,
    text_rows,
    write_corpus,
)

CORPUS = Corpus(
    name="wavtext5k",
    title="WavText5K",
    tasks=("metadata",),
    clips={"train": 4520},
    hours=None,
    licence="MIT for the table; audio: the sites' own terms",
    home="https://github.com/microsoft/WavText5K",
    use="train",
    citation="S. Deshmukh, B. Elizalde and H. Wang, Audio Retrieval with WavText5K and "
    "CLAP Training, arXiv 2209.14275, 2022",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1


def prepare_wavtext5k(
    data_folder: str, manifest_folder: str, audio_folder: str | None = None
) -> None:
    """Write ``train.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``WavText5K.csv`` is.
    manifest_folder : str
        Where the manifest is written.
    audio_folder : str
        Where the audio is; by default anywhere in ``data_folder``.

    Raises
    ------
    FileNotFoundError
        If there is no ``WavText5K.csv``.
    ValueError
        If it lacks a column, or no clip is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "wavtext5k", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve()), "audio_folder": audio_folder}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(data_folder, "WavText5K.csv", what="WavText5K")
    audio = find_audio(audio_folder or data_folder)
    clips = []
    for line in read_table(path, ("view_link", "title", "description", "fname")):
        title = " ".join(line["title"].split())
        text = line["description"] if line["description"].strip() else title
        if not text:
            continue
        stem = Path(line["fname"]).stem
        rows = text_rows([text], "train", "metadata")
        source = source_of(line["view_link"], stem)
        clips.append(Clip(stem, "train", audio.get(stem), rows, source))
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def source_of(link: str, stem: str) -> str:
    """Return the site and the number of a clip.

    Example
    -------
    >>> source_of("https://soundbible.com/2219-Airplane-Landing.html", "airplane_0")
    'soundbible:2219'
    """
    number = re.search(r"soundbible\.com/(\d+)", link)
    return f"soundbible:{number[1]}" if number else f"bigsoundbank:{stem}"
