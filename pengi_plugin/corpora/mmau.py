"""MMAU mini: 1000 questions of multiple choice about sound, music and speech.

``mmau-test-mini.json`` and ``test-mini-audios/<ID>.wav``, found by their IDs anywhere
in the folder; items as the hub has them (``choices`` as text, ``other_attributes``) are
read too. The other 9000 questions have no published answers.

Compare figures of one version alone: in that of 15 May 2025 a quarter of the questions
were revised. Two to eight choices; 27 items repeat one. ``kind`` is sound, music or
speech. Some recordings are of corpora that Pengi trains on (AudioSet, Clotho, MELD,
FMA): scores are not zero-shot. Which recordings those are is not published: files
are named by random IDs, so ``source`` is ``mmau:<ID>`` and finds other copies of MMAU
alone; ``dataset`` names the corpus.

Certain, from the published file: all of this. From the data card, in part: the lengths.
From memory: the authors and title of the citation.
"""

import ast
import json
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
    name="mmau",
    title="MMAU mini",
    tasks=("question_answering",),
    clips={"test": 1000},
    hours=None,
    licence="Apache-2.0; audio: of other corpora",
    home="https://github.com/Sakshi113/MMAU",
    use="none",
    citation="S. Sakshi et al., MMAU: A Massive Multi-Task Audio Understanding and "
    "Reasoning Benchmark, arXiv 2410.19168, 2024",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 2


def prepare_mmau(data_folder: str, manifest_folder: str) -> None:
    """Write ``test.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``mmau-test-mini.json`` and the audio are.
    manifest_folder : str
        Where the manifest is written.

    Raises
    ------
    FileNotFoundError
        If there is no ``mmau-test-mini.json``.
    ValueError
        If no recording is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "mmau", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(data_folder, "mmau-test-mini.json", what="MMAU")
    audio = find_audio(data_folder)
    items = [read_item(item, audio) for item in json.loads(read_text(path))]
    clips = choice_clips(items, CORPUS.title)
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def read_item(item: dict, audio: dict[str, Path]) -> dict:
    """Return an item of the list as ``choice_clips`` wants it."""
    others = item.get("other_attributes")
    item = {**(others if isinstance(others, dict) else {}), **item}
    choices = item["choices"]
    found = {
        "name": item["id"],
        "path": audio.get(file_stem(item.get("audio_id") or item["id"])),
        "question": item["question"],
        "choices": ast.literal_eval(choices) if isinstance(choices, str) else choices,
        "answer": item["answer"],
        "kind": item["task"],
        "source": f"mmau:{file_stem(item.get('audio_id') or item['id'])}",
    }
    names = {"category": "category", "sub-category": "sub_category"}
    names |= {"difficulty": "difficulty", "dataset": "dataset"}
    return {
        **found,
        **{ours: item[name] for name, ours in names.items() if name in item},
    }
