"""The sampled sounds of General MIDI: a sound font in, clips and manifests out.

The clips are rendered from ``TimGM6mb.sf2``, which the Python package
``pretty_midi`` ships, so that nothing needs to be downloaded. There are single
notes of 119 instruments in 15 families, eight sound effects and 28 pieces of the
drum kit, and scenes of two or three of these, together or one after the other.
Seven of the paper's tasks are put to them, and eight kinds of questions.

Splits differ in what is heard and how: four neighbouring pitches of an instrument or
effect, a drum kit and its tuning, a loudness (MIDI velocity), a pair of sounds in a
scene, and every room, microphone and background noise belong to one split each. Every
instrument, effect and drum is in every split.

Sound font: TimGM6mb by Tim Brechbill, GPL-2.0 (as packaged by Debian,
``timgm6mb-soundfont``). The clips are made on the user's machine and are not part
of this project.

Reference: C. Raffel and D. P. W. Ellis, *Intuitive Analysis, Creation and
Manipulation of MIDI Data with pretty_midi*, ISMIR late-breaking session, 2014.

Authors
 * The pengi-plugin authors, 2026
"""

import io
import logging
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from pengi_plugin.corpora.conditions import noise, response
from pengi_plugin.corpora.general_midi_plan import (
    CLIP_SECONDS,
    Clip,
    Condition,
    plan_clips,
)
from pengi_plugin.corpora.general_midi_words import plan_rows
from pengi_plugin.corpora.manifest import is_prepared, write_manifests, write_whole
from pengi_plugin.corpora.soundfont import SAMPLE_RATE, level, render

logger = logging.getLogger(__name__)

#: Counted up when the same arguments give other clips or words.
VERSION = 5

#: Level of an event, in dB below full scale: at velocity 0, and per velocity.
SOFTEST, PER_VELOCITY = -46.0, 0.25

#: Below this the synthesizer has given no sound, in dB.
SILENCE = -80.0


def prepare_general_midi(
    data_folder: str,
    manifest_folder: str,
    n_train: int = 6000,
    n_valid: int = 300,
    n_test: int = 700,
    seed: int = 0,
    n_thread: int = 2,
) -> None:
    """Render the clips and write ``train.json``, ``valid.json`` and ``test.json``.

    A second call with the same arguments does nothing; one that was interrupted
    goes on with the clips that are missing.

    Arguments
    ---------
    data_folder : str
        Where the clips go: mono, 16 kHz, 2.56 s, FLAC, about 22 kB each.
    manifest_folder : str
        Where the manifests go.
    n_train, n_valid, n_test : int
        How many clips; each has about seven rows.
    seed : int
        Of all that is drawn.
    n_thread : int
        How many clips are rendered at a time.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> prepare_general_midi(folder / "clips", folder, n_train=2, n_valid=1, n_test=1)
    >>> sorted(path.name for path in folder.glob("*.json"))
    ['prepared.json', 'test.json', 'train.json', 'valid.json']
    """
    data_folder = Path(data_folder)
    sizes = {"train": n_train, "valid": n_valid, "test": n_test}
    arguments = {"corpus": "general_midi", "version": VERSION, "seed": seed}
    arguments |= {**sizes, "data_root": str(data_folder.resolve())}
    if is_prepared(manifest_folder, arguments):
        return
    splits = {split: plan_clips(split, sizes[split], seed) for split in sizes}
    paths, left_out = render_clips(
        [clip for clips in splits.values() for clip in clips], data_folder, n_thread
    )
    manifests = {}
    for split, clips in splits.items():
        rows = plan_rows([clip for clip in clips if clip.clip_id in paths], seed)
        manifests[split] = {
            key: {"wav": paths[row["clip"]], "duration": CLIP_SECONDS, **row}
            for key, row in rows.items()
        }
    write_manifests(manifest_folder, manifests, data_folder, arguments, left_out)


def render_clips(
    clips: list[Clip], folder: Path, n_thread: int = 2
) -> tuple[dict[str, str], dict[str, str]]:
    """Render the clips that are not in a folder yet, with a progress bar.

    A file's name holds a checksum of the plan, so that no file of another plan is
    taken for it.

    Arguments
    ---------
    clips : list of Clip
        What to render.
    folder : str
        Where to.
    n_thread : int
        How many at a time.

    Returns
    -------
    paths : dict
        Clip ID -> path that starts with ``{data_root}``.
    left_out : dict
        Path -> why there is no such clip.
    """
    paths, left_out, missing = {}, {}, []
    for clip in clips:
        checksum = zlib.crc32(repr((VERSION, clip)).encode())
        split, number = clip.clip_id.split("_")
        paths[clip.clip_id] = f"{{data_root}}/{split}/{number}_{checksum:08x}.flac"
        path = Path(paths[clip.clip_id].format(data_root=folder))
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            missing.append((clip, path))
    progress = tqdm(total=len(missing), desc="rendering general_midi", unit="clip")
    with progress, ThreadPoolExecutor(n_thread) as pool:
        for (clip, path), silent in zip(missing, pool.map(_write_clip, missing)):
            progress.update()
            if silent:
                del paths[clip.clip_id]
                left_out[str(path)] = f"silent: {', '.join(silent)}"
    return paths, left_out


def mix_clip(clip: Clip) -> tuple[np.ndarray, list[str]]:
    """Render a clip.

    Arguments
    ---------
    clip : Clip
        What is heard.

    Returns
    -------
    wave : numpy.ndarray
        [sample] at 16 kHz. Each event's loudest 50 ms have the level that its
        velocity gives (soft -40 to -34 dB, medium -30 to -25, loud -21 to -15).
    silent : list of str
        Labels of the events that the synthesizer gave no sound for.

    Example
    -------
    >>> wave, silent = mix_clip(plan_clips("train", 1)[0])
    >>> wave.shape, silent
    ((40960,), [])
    """
    mix, silent = np.zeros(round(CLIP_SECONDS * SAMPLE_RATE), np.float32), []
    heard_as = None
    if clip.condition is not None:
        heard_as = partial(response, clip.condition.room, clip.condition.microphone)
    for event in clip.events:
        wave = render(
            *(event.program, event.pitch, event.velocity, event.times, event.duration),
            seconds=CLIP_SECONDS,
            tuning=event.tuning,
            kit=event.kit,
            heard_as=heard_as,
        )
        heard = level(wave)
        if heard < SILENCE:
            silent.append(event.label)
        wanted = SOFTEST + PER_VELOCITY * event.velocity
        mix += wave * 10 ** ((wanted - heard) / 20)
    if clip.condition is not None and not silent:
        mix += background(clip.condition, level(mix))
    return np.clip(mix, -1.0, 1.0), silent


def background(condition: Condition, sound_level: float) -> np.ndarray:
    """Return a clip's background noise.

    Arguments
    ---------
    condition : Condition
        Which noise, where it begins, and how far below the sounds it is.
    sound_level : float
        Of the sounds, in dB, see ``soundfont.level``.

    Returns
    -------
    wave : numpy.ndarray
        [sample]
    """
    wave = np.roll(
        noise(condition.noise, SAMPLE_RATE), -round(condition.start * SAMPLE_RATE)
    )
    gain = 10 ** ((sound_level - condition.noise_below) / 20)
    return np.float32(gain) * wave[: round(CLIP_SECONDS * SAMPLE_RATE)]


def _write_clip(clip_and_path: tuple[Clip, Path]) -> list[str]:
    clip, path = clip_and_path
    wave, silent = mix_clip(clip)
    if not silent:
        coded = io.BytesIO()
        soundfile.write(coded, wave, SAMPLE_RATE, format="FLAC")
        write_whole(path, coded.getvalue())
    return silent


def plan(split: str, n_clip: int, seed: int = 0) -> dict[str, dict]:
    """Return the words of the corpus without rendering a sound.

    Arguments
    ---------
    split : str
        ``train``, ``valid`` or ``test``.
    n_clip : int
        How many clips.
    seed : int
        Of all that is drawn.

    Returns
    -------
    rows : dict
        ID -> row as in the manifest, without ``wav`` and ``duration``.

    Example
    -------
    >>> plan("train", 1)["train_00000_analysis"]["attributes"]
    ['piano', 'high note', 'medium']
    """
    return plan_rows(plan_clips(split, n_clip, seed), seed)
