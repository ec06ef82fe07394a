"""AudioCaps: captions of 51,308 clips of AudioSet; its lists and any audio in.

The lists are ``train.csv``, ``val.csv`` and ``test.csv`` of the repository
(``dataset/``, or ``dataset2.0/`` for version 2), beside the audio or up to two folders
above or below it, or ``csv_files_v1/`` as ``aac-datasets`` makes it. Audio is not
published with them; it is found anywhere in the folder by one of these names, with any
ending::

    <youtube_id>_<start_time>     aac-datasets: audio_32000Hz/train/...
    Y<youtube_id>                 as others keep AudioSet
    <audiocap_id>                 audiocaps-download: one file per caption
    <youtube_id>

Traps: IDs may begin with ``-``; the five captions of a clip of ``val`` and ``test`` do
not follow each other, and ``audiocap_id`` is that of a caption. Videos vanish: test
sets of 880 to 957 clips are common, so tell how many were scored. All clips are of
AudioSet's training part, and 17.6 % are in WavCaps.

Certain, from the published lists: columns, captions and counts. The hours are an
estimate; that users have files named by the video alone is from memory.
"""

from dataclasses import replace
from pathlib import Path

from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_split_files,
    read_table,
    text_rows,
    write_corpus,
)

CORPUS = Corpus(
    name="audiocaps",
    title="AudioCaps",
    tasks=("captioning",),
    clips={"train": 49838, "valid": 495, "test": 975},
    hours=140.7,
    licence="MIT for the captions, free for academic purposes only; audio: YouTube",
    home="https://audiocaps.github.io",
    use="train, test",
    citation="C. D. Kim et al., AudioCaps: Generating Captions for Audios in The Wild, "
    "NAACL-HLT 2019",
)
#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

#: Split -> name of its list.
LISTS = {"train": "train", "valid": "val", "test": "test"}
#: Version -> folders of its lists, the folder itself last.
FOLDERS = {
    "1": ("csv_files_v1/", "dataset/", ""),
    "2": ("csv_files_v2/", "dataset2.0/", ""),
    "fixed": ("csv_files_v1/", "dataset/", ""),
}
#: Version -> clips for training; validation and test have as many in each.
N_TRAIN = {"1": 49838, "2": 91256, "fixed": 49810}


def prepare_audiocaps(
    data_folder: str,
    manifest_folder: str,
    captions: str = "1",
    audio_folder: str | None = None,
) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        Where the lists are.
    manifest_folder : str
        Where the manifests are written.
    captions : str
        Their version: ``1`` (2019, of which the paper's are), ``2`` (2025), or
        ``fixed``: 1 with the corrected training captions of ``train_v2.csv``.
    audio_folder : str
        Where the audio is; by default anywhere in ``data_folder``.

    Raises
    ------
    FileNotFoundError
        If there is none of the lists.
    ValueError
        If the version is unknown, a list is not AudioCaps', or no clip for training
        is there.
    """
    if captions not in FOLDERS:
        raise ValueError(f"captions must be one of {[*FOLDERS]}; got {captions!r}.")
    data_folder = Path(data_folder)
    arguments = {"corpus": "audiocaps", "version": VERSION, "captions": captions}
    arguments |= {"data_root": str(data_folder.resolve()), "audio_folder": audio_folder}
    if is_prepared(manifest_folder, arguments):
        return
    names = {
        split: [f"{folder}{name}.csv" for folder in FOLDERS[captions]]
        for split, name in LISTS.items()
    }
    if captions == "fixed":
        names["train"] = ["csv_files_v1/train_v2.csv", "train_v2.csv"]
    audio = find_audio(audio_folder or data_folder)
    clips = [
        clip
        for split, path in find_split_files(data_folder, names, "AudioCaps").items()
        for clip in read_clips(path, split, audio)
    ]
    complete = {**CORPUS.clips, "train": N_TRAIN[captions]}
    corpus = replace(CORPUS, clips=complete)
    write_corpus(corpus, clips, data_folder, manifest_folder, arguments)


def read_clips(path: Path, split: str, audio: dict[str, Path]) -> list[Clip]:
    """Read the list of a split: one clip for all captions of it."""
    captions = {}
    for line in read_table(
        path, ("audiocap_id", "youtube_id", "start_time", "caption")
    ):
        segment = line["youtube_id"], line["start_time"]
        captions.setdefault(segment, []).append(line)
    clips = []
    for (video, start), lines in captions.items():
        stems = [f"{video}_{start}", f"Y{video}", video]
        stems += [line["audiocap_id"] for line in lines]
        clips.append(
            Clip(
                name=f"{video}_{start}",
                split=split,
                path=next((audio[stem] for stem in stems if stem in audio), None),
                rows=text_rows([line["caption"] for line in lines], split),
                source=f"youtube:{video}:{start}",
            )
        )
    return clips
