"""CMU-MOSEI: about 23,000 segments of 3,227 monologues on YouTube, with sentiment.

Layouts: MMSA's (``label.csv`` and ``Raw/<video>/<clip>`` with the sound of the videos
extracted beforehand), or ``CMU_MOSEI_Labels.csv``, the table that s3prl made from the
official labels, beside segments ``<video>_<index>.wav`` (s3prl's ``Segmented_Audio/``)
or beside the official archive's whole videos ``<video>.wav`` (``Raw/Audio/Full/
WAV_16000/``). Of whole videos, the segments are cut into FLAC files in ``segments/`` of
the manifest folder. The official labels themselves are HDF5 (``.csd``) and not read.

Rows are ``speech_sentiment``: negative below 0, neutral at 0, positive above. Emotions
have no rows: s3prl's table gives a segment without any the label happy. Which labels
the paper used is not known.

Traps: names can be digits alone, or begin with ``-``; some segments begin a little
before 0 s; 399 rows of s3prl's table belong to no split.

Certain, counted in s3prl's table: its rows. From memory: the home page.

Reference: A. Zadeh et al., *Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset
and Interpretable Dynamic Fusion Graph*, ACL 2018. Home: http://multicomp.cs.cmu.edu

Licence: for research; videos of YouTube.
"""

import logging
import re
from collections import defaultdict
from pathlib import Path

import soundfile
from tqdm import tqdm

from pengi_plugin.corpora.cmu_mosi import CLASSES as MOSI_CLASSES
from pengi_plugin.corpora.cmu_mosi import name_of, read_mmsa
from pengi_plugin.data.manifest import is_prepared
from pengi_plugin.data.preparation import (
    Clip,
    Corpus,
    find_audio,
    find_file,
    read_table,
    require_audio,
    write_corpus,
)
from pengi_plugin.storage.atomic import new_file

logger = logging.getLogger(__name__)

#: Raise it when rows change: manifests of an older version are then written again.
VERSION = 1

CORPUS = Corpus(
    name="cmu_mosei",
    title="CMU-MOSEI",
    tasks=("speech_sentiment",),
    clips={"train": 16_327, "valid": 1_871, "test": 4_662},
    hours=49.1,
    licence="for research; videos of YouTube",
    home="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    use="train",
    citation="Zadeh et al., Multimodal Language Analysis in the Wild, ACL 2018",
)

CLASSES = MOSI_CLASSES

#: Codes of s3prl's table: ``split`` (3 is unused) and ``label2b``.
SPLITS = {"0": "train", "1": "valid", "2": "test"}
SENTIMENTS = {"-1": "negative", "0": "neutral", "1": "positive"}
COLUMNS = ("file", "index", "start", "end", "label2b", "split")

TABLES = ["CMU_MOSEI_Labels.csv", "Raw/Labels/CMU_MOSEI_Labels.csv", "label.csv"]


def prepare_cmu_mosei(data_folder: str, manifest_folder: str) -> None:
    """Write the manifests of the three splits; a second call does nothing.

    Arguments
    ---------
    data_folder : str
        One of the layouts above.
    manifest_folder : str
        Where the manifests are written, and segments that must be cut.

    Raises
    ------
    FileNotFoundError
        If there is neither of the two tables, or no audio.
    ValueError
        If a table is not of this corpus.
    """
    data_folder = Path(data_folder)
    arguments = {"corpus": "cmu_mosei", "version": VERSION}
    arguments |= {"data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    path = find_file(data_folder, *TABLES, what="CMU-MOSEI")
    if path.name == "label.csv":
        audio = find_audio(data_folder, name_of)
        require_audio(audio, data_folder, "<video>/<clip> or <video>_<clip>")
        clips = read_mmsa(path, audio)
    else:
        audio = find_audio(data_folder)
        require_audio(audio, data_folder, "<video>_<index> or <video>")
        lines = [line for line in read_table(path, COLUMNS) if line["split"] != "3"]
        audio |= cut_segments(lines, audio, Path(manifest_folder) / "segments")
        clips = [clip_of(line, audio) for line in lines]
    write_corpus(CORPUS, clips, data_folder, manifest_folder, arguments)


def segment_of(line: dict) -> str:
    """Return a segment's name, which is also its file's."""
    return f"{line['file']}_{line['index']}"


def clip_of(line: dict, audio: dict[str, Path]) -> Clip:
    """Return the clip of a line of s3prl's table."""
    name, video = segment_of(line), line["file"]
    if line["split"] not in SPLITS or line["label2b"] not in SENTIMENTS:
        raise ValueError(
            f"Segment {name} has the split {line['split']!r} and label2b "
            f"{line['label2b']!r}; known are {', '.join(SPLITS)}, 3 and "
            f"{', '.join(SENTIMENTS)}."
        )
    row = {"task": "speech_sentiment", "sentiment": SENTIMENTS[line["label2b"]]}
    # Names that do not look like YouTube's are of other sites.
    is_youtube = re.fullmatch(r"[\w-]{11}", video)
    start = max(float(line["start"]), 0.0)
    source = f"youtube:{video}:{start:.3f}" if is_youtube else ""
    split = SPLITS[line["split"]]
    return Clip(name, split, audio.get(name), {"sentiment": row}, source)


def cut_segments(
    lines: list[dict], audio: dict[str, Path], folder: Path
) -> dict[str, Path]:
    """Cut the segments that have no file out of whole videos' sound.

    A file that was cut by an earlier call is kept; its name holds the segment's times.

    Arguments
    ---------
    lines : list of dict
        Of s3prl's table.
    audio : dict
        Name -> audio file, of segments and of whole videos.
    folder : Path
        Where segments are written.

    Returns
    -------
    segments : dict
        Segment's name -> its file, of those that could be cut.
    """
    wanted = defaultdict(list)
    for line in lines:
        if segment_of(line) not in audio and line["file"] in audio:
            wanted[line["file"]].append(line)
    if wanted:
        folder.mkdir(parents=True, exist_ok=True)
    cut = {}
    for video in tqdm(wanted, "cutting segments", unit="video", leave=False):
        try:
            with soundfile.SoundFile(str(audio[video])) as file:
                for line in wanted[video]:
                    path = cut_segment(file, line, folder)
                    if path is not None:
                        cut[segment_of(line)] = path
        except soundfile.LibsndfileError as error:
            logger.warning("CMU-MOSEI: %s cannot be read: %s", audio[video], error)
    return cut


def cut_segment(file: soundfile.SoundFile, line: dict, folder: Path) -> Path | None:
    """Write one segment; None if it lies behind the recording's end."""
    start, end = max(float(line["start"]), 0.0), float(line["end"])
    path = folder / f"{segment_of(line)}_{start:.3f}_{end:.3f}.flac"
    if path.is_file():
        return path
    first = round(start * file.samplerate)
    n_sample = min(round(end * file.samplerate), file.frames) - first
    if n_sample <= 0:
        return None
    file.seek(first)
    wave = file.read(n_sample)
    with new_file(path) as unfinished:
        soundfile.write(unfinished, wave, file.samplerate, format="FLAC")
    return path
