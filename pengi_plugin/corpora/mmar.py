"""MMAR: 1000 questions of multiple choice on sound, music, speech and mixtures.

``MMAR-meta.jsonl`` (or the older ``MMAR-meta.json``) and ``audio/<ID>.wav``, found by
their IDs anywhere in the folder. ``kind`` is the modality, as ``mix-sound-speech``. The
rubrics, which a language model would have to judge, are not read. ``language`` may be
missing. ``source`` is the video and the second at which the recording starts, by its
ID or else its ``url`` and ``timestamp``; of one that is on neither YouTube nor
Bilibili, the ID, which finds other copies of MMAR alone.

Certain, from the published file: all of this. From memory: the licence,
and the authors and title of the citation.
"""

import json
import re
from pathlib import Path

from pengi_plugin.corpora.choices import choice_clips, file_stem
from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Corpus,
    find_audio,
    find_file,
    read_text,
    write_corpus,
)

CORPUS = Corpus(
    name="mmar",
    title="MMAR",
    tasks=("question_answering",),
    clips={"test": 1000},
    hours=None,
    licence="CC BY-NC 4.0",
    home="https://github.com/ddlBoJack/MMAR",
    use="none",
    citation="Z. Ma et al., MMAR: A Challenging Benchmark for Deep Reasoning in "
    "Speech, Audio, Music, and Their Mix, arXiv 2505.13032, 2025",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 2


def prepare_mmar(data_folder: str, manifest_folder: str) -> None:
    """Write ``test.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``MMAR-meta.jsonl`` and the audio are.
    manifest_folder : str
        Where the manifest is written.

    Raises
    ------
    FileNotFoundError
        If there is no ``MMAR-meta.jsonl`` or ``MMAR-meta.json``.
    ValueError
        If no recording is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "mmar", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    names = ("MMAR-meta.jsonl", "MMAR-meta.json")
    path = find_file(data_folder, *names, what="MMAR")
    text = read_text(path)
    if path.suffix == ".json":
        items = json.loads(text)
    else:
        items = [json.loads(line) for line in text.split("\n") if line.strip()]
    audio = find_audio(data_folder)
    clips = choice_clips([read_item(item, audio) for item in items], CORPUS.title)
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def read_item(item: dict, audio: dict[str, Path]) -> dict:
    """Return an item of the list as ``choice_clips`` wants it."""
    found = {
        "name": item["id"],
        "path": audio.get(file_stem(item["audio_path"])),
        "question": item["question"],
        "choices": item["choices"],
        "answer": item["answer"],
        "kind": item["modality"],
        "source": source_of(item),
        "category": item["category"],
        "sub_category": item["sub-category"],
    }
    return {**found, "language": item["language"]} if item.get("language") else found


def source_of(item: dict) -> str:
    """Return the video and the second at which a recording starts, or else its ID.

    Example
    -------
    >>> source_of({"id": "qx8hrhBZJ98_00-01-32_00-02-02", "source": "youtube"})
    'youtube:qx8hrhBZJ98:92'
    >>> url = "https://www.youtube.com/watch?v=qx8hrhBZJ98&list=RDQ"
    >>> source_of({"id": "7", "url": url, "timestamp": "00:01:32,00:02:02"})
    'youtube:qx8hrhBZJ98:92'
    >>> source_of({"id": "BV1AeZzYTEKq_00-00-24_00-00-54", "source": "bilibili"})
    'bilibili:BV1AeZzYTEKq'
    """
    name, url = str(item["id"]), item.get("url") or ""
    parts = re.fullmatch(r"(.+)_(\d+-\d+-\d+)_\d+-\d+-\d+", name)
    video, start = parts.groups() if parts else ("", item.get("timestamp") or "")
    on_page = re.search(r"(?:[?&]v=|youtu\.be/|/shorts/)([\w-]{11})(?![\w-])", url)
    if item.get("source") == "bilibili" and video:
        return f"bilibili:{video}"
    if on_page:
        video = on_page[1]
    elif item.get("source") != "youtube" or len(video) != 11:
        return f"mmar:{'_'.join(name.split())}"
    clock = re.match(r"(\d+)\D(\d+)\D(\d+)", start)
    if not clock:
        return f"youtube:{video}"
    hours, minutes, seconds = map(int, clock.groups())
    return f"youtube:{video}:{hours * 3600 + minutes * 60 + seconds}"
