"""The sampled sounds of General MIDI: a sound font in, clips and manifests out.

The clips are rendered from ``TimGM6mb.sf2``, which the Python package
``pretty_midi`` ships, so that nothing needs to be downloaded. There are single
notes of 120 instruments in 15 families, eight sound effects and 28 pieces of the
drum kit, and scenes of two or three of these, together or one after the other.
Seven of the paper's tasks are put to them, and eight kinds of questions.

Splits differ in what is heard: a pitch of an instrument or effect, a loudness
(MIDI velocity), a tuning of the drum kit and a pair of sounds in a scene belong to
one split each. Every instrument, effect and drum is in every split.

Sound font: TimGM6mb by Tim Brechbill, GPL-2.0 (as packaged by Debian,
``timgm6mb-soundfont``). The clips are made on the user's machine and are not part
of this project.

Reference: C. Raffel and D. P. W. Ellis, *Intuitive Analysis, Creation and
Manipulation of MIDI Data with pretty_midi*, ISMIR late-breaking session, 2014.

Authors
 * The pengi-plugin authors, 2026
"""

from pengi_plugin.corpora.general_midi_plan import plan_clips
from pengi_plugin.corpora.general_midi_words import plan_rows


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
