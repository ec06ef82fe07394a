"""AIR-Bench, foundation part: questions of multiple choice about sound; its folder in.

``Foundation/Foundation_meta.json`` and ``Foundation/<task>_<data set>/<path>``. By
default the folders about sound are read; ``folders`` names others. A file may have
another ending than the list says (those of ``Audio_Grounding`` are FLAC). ``kind`` is
the folder.

The set is made of parts of others that Pengi trains on (ClothoAQA, CochlScene and, in
other folders, NSynth, FMA and MELD): scores are not zero-shot. The chat part needs a
language model as a judge and is not read.

``source`` names the set and the file, and more where a file keeps the name that it
has in the set it is of: Clotho's clip for ClothoAQA, the video for AudioGrounding
(``Y<video>``) and AVQA. Whether files do keep their names is not known. Those of TUT
2017, CochlScene and VocalSound are of these sets' test parts; their own manifests have
no sources to compare.

Certain, from the authors' documentation and code: folders, counts (TUT2017 has 488
questions in one copy) and keys of the list. Not seen: the list itself. From memory: the
authors and title of the citation, and what files of AudioGrounding and AVQA are called
in these sets.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from pengi_plugin.corpora.choices import choice_clips, file_stem
from pengi_plugin.corpora.clothoaqa import clotho_source, loose_name
from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Corpus,
    find_audio,
    find_file,
    read_text,
    write_corpus,
)

#: Folder of the part about sound -> its questions.
SOUND = {
    "Acoustic_Scene_Classification_CochlScene": 1000,
    "Acoustic_Scene_Classification_TUT2017": 1000,
    "Audio_Grounding_AudioGrounding": 896,
    "Sound_AQA_avqa": 1000,
    "Sound_AQA_clothoaqa": 1000,
    "vocal_sound_classification_VocalSound": 985,
}

CORPUS = Corpus(
    name="air_bench",
    title="AIR-Bench, foundation",
    tasks=("question_answering",),
    clips={"test": sum(SOUND.values())},
    hours=None,
    licence="Apache-2.0 (code), CC BY-NC 4.0 (data)",
    home="https://github.com/OFA-Sys/AIR-Bench",
    use="none",
    citation="Q. Yang et al., AIR-Bench: Benchmarking Large Audio-Language Models via "
    "Generative Comprehension, ACL 2024",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 2

CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")


def prepare_air_bench(
    data_folder: str, manifest_folder: str, folders: tuple[str, ...] = tuple(SOUND)
) -> None:
    """Write ``test.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``Foundation/`` is, or that folder.
    manifest_folder : str
        Where the manifest is written.
    folders : tuple of str
        Those to read.

    Raises
    ------
    FileNotFoundError
        If there is no ``Foundation_meta.json``.
    ValueError
        If it has no question of a folder, or no recording is there.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "air_bench", "version": VERSION, "folders": list(folders)}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(data_folder, "Foundation_meta.json", what="AIR-Bench")
    audio = find_audio(path.parent, lambda file: (file.parts[0], file.stem))
    items = [read_item(item, audio) for item in json.loads(read_text(path))]
    missing = set(folders) - {item["kind"] for item in items}
    if missing:
        raise ValueError(f"{path} has no question of {', '.join(sorted(missing))}.")
    chosen = [item for item in items if item["kind"] in folders]
    n_complete = sum(SOUND.values()) if set(folders) == set(SOUND) else None
    corpus = replace(CORPUS, clips={"test": n_complete})
    clips = choice_clips(chosen, CORPUS.title)
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments)


def read_item(item: dict, audio: dict[tuple[str, str], Path]) -> dict:
    """Return an item of the list as ``choice_clips`` wants it."""
    folder = f"{item['task_name']}_{item['dataset_name']}"
    return {
        "name": item["uniq_id"],
        "path": audio.get((folder, file_stem(item["path"]))),
        "question": item["question"],
        "choices": [item[name] for name in CHOICES if item.get(name)],
        "answer": item["answer_gt"],
        "kind": folder,
        "source": source_of(item["dataset_name"], file_stem(item["path"])),
    }


def source_of(dataset: str, stem: str) -> str:
    """Return the sources of a recording, as far as its file's name tells them.

    Example
    -------
    >>> source_of("clothoaqa", "Rain (2)")
    'air_bench:clothoaqa/rain_2_ clotho:rain_2_'
    >>> source_of("AudioGrounding", "Yr1nicOVtvkQ")
    'air_bench:audiogrounding/yr1nicovtvkq youtube:r1nicOVtvkQ'
    >>> source_of("avqa", "r1nicOVtvkQ_000030")
    'air_bench:avqa/r1nicovtvkq_000030 youtube:r1nicOVtvkQ:30'
    """
    sources = [f"air_bench:{loose_name(dataset)}/{loose_name(stem)}"]
    if dataset == "clothoaqa":
        sources.append(clotho_source(stem))
    prefix = {"AudioGrounding": "Y", "avqa": ""}.get(dataset)
    if prefix is not None:
        video = re.fullmatch(rf"{prefix}([\w-]{{11}})(?:_(\d+))?", stem)
        if video:
            start = f":{int(video[2])}" if video[2] else ""
            sources.append(f"youtube:{video[1]}{start}")
    return " ".join(sources)
