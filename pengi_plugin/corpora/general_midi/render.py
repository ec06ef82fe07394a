"""Planned clips in, their sound in files out."""

import io
import logging
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from pengi_plugin.corpora.general_midi.conditions import noise, response
from pengi_plugin.corpora.general_midi.plan import CLIP_SECONDS, Clip, Condition
from pengi_plugin.corpora.general_midi.soundfont import SAMPLE_RATE, level, render
from pengi_plugin.storage.atomic import write_file

logger = logging.getLogger(__name__)


#: Counted up when the same arguments give other clips or words.
VERSION = 6


#: Level of an event, in dB below full scale: at velocity 0, and per velocity.
SOFTEST, PER_VELOCITY = -46.0, 0.25


#: Below this the synthesizer has given no sound, in dB.
SILENCE = -80.0


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
    >>> from pengi_plugin.corpora.general_midi.plan import plan_clips
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
        write_file(path, coded.getvalue())
    return silent
