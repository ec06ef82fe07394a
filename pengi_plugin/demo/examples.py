"""A folder in, example recordings with tasks for the page out.

They are clips of the embedded default (``corpora.general_midi``), rendered here.
"""

from pathlib import Path

import soundfile

from pengi_plugin.corpora.general_midi.plan import Clip, plan_clips
from pengi_plugin.corpora.general_midi.render import mix_clip
from pengi_plugin.corpora.general_midi.soundfont import SAMPLE_RATE

#: Kind of clip -> task of the page, and the question where it takes one.
ASKED = {
    "note": ("music analysis", ""),
    "sound": ("sound events", ""),
    "sequence": ("captioning", ""),
    "together": ("question answering", "which sounds are heard?"),
}


def make_examples(folder: Path) -> list[list[str]]:
    """Render one held-out clip of each kind.

    Arguments
    ---------
    folder : Path
        Where the clips go.

    Returns
    -------
    examples : list of list of str
        Path, task and words of each, as the page's inputs have them.
    """
    examples = []
    for kind, (task, words) in ASKED.items():
        path = folder / f"{kind}.wav"
        if _write(path, [clip for clip in plan_clips("test", 40) if clip.kind == kind]):
            examples.append([str(path), task, words])
    return examples


def _write(path: Path, clips: list[Clip]) -> bool:
    """Write the first of some clips that the synthesizer gives a sound for."""
    for clip in clips:
        wave, silent = mix_clip(clip)
        if not silent:
            soundfile.write(path, wave, SAMPLE_RATE)
            return True
    return False
