"""Freesound: up to 515,581 clips of LAION's crawl, text from their pages; pairs in.

No crawl is official, and the paper does not say which it used. This reads LAION's
(``Meranti/CLAP_freesound``): extract each archive into a folder of its own below its
split, anywhere in the folder::

    for tar in freesound_no_overlap/*/*.tar; do
        mkdir "${tar%.tar}" && tar -xf "$tar" -C "${tar%.tar}"; done
    freesound_no_overlap/train_1/0/.../<n>.flac and <n>.json, and so on

Freesound as WavCaps has it is in ``pengi prepare wavcaps``; clips of your own beside a
table are read by ``pengi prepare clips``.

**Leaks:** ``freesound/`` holds clips of ESC-50, FSD50K, UrbanSound8K, Clotho and
ClothoAQA; take ``freesound_no_overlap/`` (460,801 clips), or name lists by ``lists``.

Traps: the number of a clip at Freesound is in its JSON, not in its file name; texts
hold HTML, links and line breaks, which are cleaned here, and advertising and many
languages, which are not; descriptions may be empty.

Certain, from the data card: the form of the JSON. A guess of ours: the text of a row,
the first sentence of the description, else title and tags.
"""

import html
import json
import re
from pathlib import Path

from pengi_plugin.corpora.exclusion import find_lists, list_digests, read_list
from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    require_audio,
    text_rows,
    write_corpus,
)

CORPUS = Corpus(
    name="freesound",
    title="Freesound (LAION)",
    tasks=("metadata",),
    clips={"train": None, "test": None},
    hours=3033.0,
    licence="clips CC0, CC BY, CC BY-NC or CC Sampling+; terms of Freesound's API",
    home="https://huggingface.co/datasets/Meranti/CLAP_freesound",
    use="train",
    citation="F. Font, G. Roma and X. Serra, Freesound Technical Demo, ACM Multimedia "
    "2013; Y. Wu et al., Large-scale Contrastive Language-Audio Pretraining, ICASSP "
    "2023",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1


def prepare_freesound(
    data_folder: str,
    manifest_folder: str,
    exclude: bool = True,
    lists: tuple[str, ...] = (),
    text: str = "sentence",
) -> None:
    """Write the manifests of the splits that are there; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where the pairs are.
    manifest_folder : str
        Where the manifests are written.
    exclude : bool
        Whether to leave out of training the clips that lists in the folder name.
    lists : tuple of str
        Further lists of clips to leave out, see ``corpora/exclusion.py``.
    text : str
        ``sentence``: the first one of the description, as LAION cut it;
        ``description``: all of it.

    Raises
    ------
    FileNotFoundError
        If there is no audio, or no list of ``lists``.
    ValueError
        If an option has a wrong value, or no pair can be used.
    """
    if text not in ("sentence", "description"):
        raise ValueError(f"text must be sentence or description; got {text!r}.")
    data_folder = Path(data_folder)
    paths = [*(find_lists(data_folder) if exclude else ()), *lists]
    arguments = {"corpus": "freesound", "version": VERSION, "exclude": exclude}
    arguments |= {"lists": list_digests(paths), "text": text}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    audio = find_audio(data_folder, str)
    require_audio(audio, data_folder, "pairs <n>.flac and <n>.json, taken out of *.tar")
    numbers = {number for path in paths for number in read_list(path)["FreeSound"]}
    root = Path(data_folder.resolve().name)  # may be train_1 itself
    clips = {}
    for path in audio.values():
        pair = path.with_suffix(".json")
        if not pair.is_file():
            continue
        clip = read_pair(
            pair, path, split_of(root / path.relative_to(data_folder)), text
        )
        if clip.rows and not (clip.split == "train" and clip.name in numbers):
            clips.setdefault((clip.split, clip.name), clip)
    if not clips:
        raise ValueError(f"No audio file in {data_folder} has a JSON file beside it.")
    write_corpus(CORPUS, clips.values(), data_folder, manifest_folder, arguments)


def split_of(path: Path) -> str:
    """Return the split of a file by the nearest folder that is named after one.

    Example
    -------
    >>> split_of(Path("freesound/test/0/mnt/1.flac")), split_of(Path("1.flac"))
    ('test', 'train')
    """
    found = [re.match("train|test", part) for part in path.parts[-2::-1]]
    return next((match[0] for match in found if match), "train")


def read_pair(pair: Path, path: Path, split: str, text: str) -> Clip:
    """Return the clip of a JSON file and the audio beside it."""
    content = json.loads(pair.read_text(encoding="utf-8"))
    page = content["original_data"]
    title, *rest = [*content.get("text", ()), ""]
    best = page.get("description") or "" if text == "description" else rest[0]
    tags = content.get("tag") or page.get("tags") or []
    texts = (clean_text(best), clean_text(", ".join([title, *tags])))
    said = next((one for one in texts if one), "")
    number = str(page["id"])
    rows = text_rows([said], split, "metadata")
    return Clip(number, split, path, rows, f"freesound:{number}")


def clean_text(text: str) -> str:
    """Return a text without HTML, links and line breaks.

    Example
    -------
    >>> clean_text("Rain &amp; wind.<br>See <a href='x'>http://x.org</a>  more")
    'Rain & wind. See more'
    """
    text = re.sub(r"<[^<>]*>", " ", text)
    text = re.sub(r"(https?://|www\.)\S+", " ", html.unescape(text))
    return " ".join(text.split())
