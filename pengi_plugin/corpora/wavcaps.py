"""WavCaps: 403,050 clips of four sites, captions made by a language model.

``json_files/`` as published, and the audio of any of the sites as ``<ID>.flac`` below a
folder named after it (``AudioSet_SL``, ``BBC_Sound_Effects``, ``FreeSound``,
``SoundBible``, or the same with ``_flac``)::

    json_files/{AudioSet_SL/as,BBC_Sound_Effects/bbc,FreeSound/fsd,SoundBible/sb}_final.json
    json_files/blacklist/*.json          lists of what other corpora hold
    Audio/<site>/*.flac, <site>_flac/*.flac or Zip_files/<site>/.../*.flac

**Leaks:** it holds clips of AudioCaps, Clotho, ClothoAQA, ESC-50, UrbanSound8K, FSD50K
and VGGSound. All lists that are found in the folder are applied, and a warning says if
none is. WavCaps' own lists are incomplete: put ``blacklist_audiocaps.full.csv`` and
``blacklist_clotho.full.v2.csv`` of ``aac-datasets`` into the folder, or name lists by
``lists``.

Traps: a site's archive comes in parts (``zip -FF X.zip --out Y.zip``, then ``unzip``);
clips last up to 18 hours; the ID alone is not unique, BBC, Freesound and SoundBible all
have numbers; six clips of AudioSet are damaged and left out. SoundBible's and the BBC's
clips are also in WavText5K and SoundDescs.

Certain: forms of the files and counts. From memory: that the paper's text is the
caption and not the raw description (``text``), under the prompt of metadata (``task``).
"""

import json
import logging
from dataclasses import replace
from pathlib import Path

from pengi_plugin.corpora.exclusion import (
    find_lists,
    list_digests,
    read_list,
    youtube_id,
)
from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_split_files,
    require_audio,
    text_rows,
    write_corpus,
)

logger = logging.getLogger(__name__)

CORPUS = Corpus(
    name="wavcaps",
    title="WavCaps",
    tasks=("metadata",),
    clips={"train": 403050},
    hours=7563.0,
    licence="CC BY 4.0 (data card), for academic uses only (README); audio: each "
    "site's own",
    home="https://huggingface.co/datasets/cvssp/WavCaps",
    use="train",
    citation="X. Mei et al., WavCaps: A ChatGPT-Assisted Weakly-Labelled Audio "
    "Captioning Dataset, IEEE/ACM TASLP, 2024",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

#: Site -> its list, and what its IDs are called in a row's ``source``.
SITES = {
    "AudioSet_SL": ("as_final.json", "youtube"),
    "BBC_Sound_Effects": ("bbc_final.json", "bbc"),
    "FreeSound": ("fsd_final.json", "freesound"),
    "SoundBible": ("sb_final.json", "soundbible"),
}
#: Videos whose audio is damaged in AudioSet_SL's archive.
DAMAGED = {
    *("Vcu0pVF1npM", "06-g5jz-OGc", "3sSblRfEG2o"),
    *("WudGD6ZHRoY", "Fli8wjBFV2M", "mW3S0u8bj58"),
}


def prepare_wavcaps(
    data_folder: str,
    manifest_folder: str,
    exclude: bool = True,
    lists: tuple[str, ...] = (),
    text: str = "caption",
    task: str = "metadata",
) -> None:
    """Write ``train.json``; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where ``json_files/`` and the audio are.
    manifest_folder : str
        Where the manifest is written.
    exclude : bool
        Whether to leave out clips that the lists in the folder name.
    lists : tuple of str
        Further lists of clips to leave out, see ``corpora/exclusion.py``.
    text : str
        ``caption``, or ``description``: the site's own text, where it has one.
    task : str
        ``metadata`` or ``captioning``.

    Raises
    ------
    FileNotFoundError
        If there is no list of a site, no audio of any, or no list of ``lists``.
    ValueError
        If an option or a list has a wrong value.
    """
    if text not in ("caption", "description"):
        raise ValueError(f"text must be caption or description; got {text!r}.")
    data_folder = Path(data_folder)
    paths = [*(find_lists(data_folder) if exclude else ()), *lists]
    arguments = {"corpus": "wavcaps", "version": VERSION, "exclude": exclude}
    arguments |= {"lists": list_digests(paths), "text": text, "task": task}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    names = {
        site: [f"json_files/{site}/{name}", f"{site}/{name}", name]
        for site, (name, _) in SITES.items()
    }
    files = find_split_files(data_folder, names, "WavCaps")
    audio = find_audio(data_folder, lambda path: (site_of(path), path.stem))
    audio = {key: path for key, path in audio.items() if key[0]}
    require_audio(
        audio, data_folder, "<site>/.../<ID>.flac, sites: " + ", ".join(SITES)
    )
    excluded = read_lists(paths)
    clips = {}
    for site, path in files.items():
        content = json.loads(path.read_text(encoding="utf-8"))
        for item in content["data"]:
            clip = read_item(item, site, audio, text, task)
            clips.setdefault(clip.name, clip)
    kept = [clip for clip in clips.values() if clip.source not in excluded]
    logger.info(
        "WavCaps: %d of %d clips are left out, as lists name them or they are damaged.",
        *(len(clips) - len(kept), len(clips)),
    )
    corpus = replace(CORPUS, tasks=(task,))
    write_corpus(corpus, kept, data_folder, manifest_folder, arguments)


def site_of(path: Path) -> str | None:
    """Return the site whose folder a file is in; None if there is none."""
    parts = {part.removesuffix("_flac") for part in path.parent.parts}
    return next((site for site in SITES if site in parts), None)


def read_item(item: dict, site: str, audio: dict, text: str, task: str) -> Clip:
    """Return the clip of an item of a site's list."""
    name = str(item["id"]).removesuffix(".wav")
    captions = [item[key] for key in sorted(item) if key.startswith("caption")]
    if text == "description" and (item.get("description") or "").strip():
        captions = [item["description"]]
    kind = SITES[site][1]
    number = youtube_id(name) if kind == "youtube" else name.lower()
    return Clip(
        name=f"{site}_{name}",
        split="train",
        path=audio.get((site, name)),
        rows=text_rows(captions, "train", task),
        source=f"{kind}:{number}",
    )


def read_lists(paths: list) -> set[str]:
    """Return the sources that lists name, and those of damaged clips."""
    if not paths:
        logger.warning(
            "WavCaps: no list of clips to leave out is applied; test clips of other "
            "corpora stay in training. See pengi prepare wavcaps --help."
        )
    excluded = {f"youtube:{video}" for video in DAMAGED}
    for path in paths:
        ids = read_list(path)
        excluded |= {f"youtube:{video}" for video in ids["AudioSet"]}
        excluded |= {f"freesound:{number}" for number in ids["FreeSound"]}
        logger.info(
            "WavCaps: %s names %d clips of AudioSet and %d of Freesound.",
            *(path, len(ids["AudioSet"]), len(ids["FreeSound"])),
        )
    return excluded
