"""What is said about the clips of ``general_midi``: planned clips in, rows out.

A clip has one row per task or question. Besides the words of its task a row
carries plain fields (``instrument``, ``family``, ``register``, ``loudness``,
``question_kind``, ...), so that parts of an answer can be scored.
"""

import random
from collections.abc import Sequence

from pengi_plugin.corpora.general_midi.plan import Clip, Event
from pengi_plugin.corpora.general_midi.sounds import PERCUSSION, SOUNDS, with_article

DRUM_KIT = {sound.name for sound in SOUNDS if sound.group == "drum kit"}

#: Kind of question -> its wordings.
QUESTIONS = {
    "family": (
        "which instrument family is this?",
        "what kind of instrument is playing?",
        "which family of instruments do you hear?",
    ),
    "high or low": (
        "is the note high or low?",
        "is this a high or a low note?",
        "is the pitch high or low?",
    ),
    "soft or loud": (
        "is the sound soft or loud?",
        "is this loud or soft?",
        "how loud is it, soft or loud?",
    ),
    "yes or no": (
        "is there {phrase}?",
        "do you hear {phrase}?",
        "can {phrase} be heard?",
    ),
    "first": (
        "which sound comes first?",
        "what do you hear first?",
        "what is the first sound?",
    ),
    "last": (
        "which sound comes last?",
        "what do you hear last?",
        "what is the last sound?",
    ),
    "how many": (
        "how many different sounds are there?",
        "how many kinds of sound do you hear?",
        "how many different sounds can be heard?",
    ),
    "together": (
        "do the sounds come together or one after the other?",
        "are the sounds together or one after the other?",
    ),
}

NUMBERS = ("no", "one", "two", "three")
ADVERBS = {"soft": "softly", "medium": "", "loud": "loudly"}

NOTE_CAPTIONS = (
    "a {loudness} {register} note on {instrument}",
    "{instrument} plays a {register} note {adverb}",
    "someone plays a {loudness} {register} note on {instrument}",
    "the {loudness} sound of {instrument} playing a {register} note",
    "{phrase} plays a {loudness} {register} note",
)
SOUND_CAPTIONS = (
    "the sound of {phrase}",
    "{phrase} is heard {adverb}",
    "{phrase} sounds {adverb}",
    "{phrase} can be heard",
    "the {loudness} sound of {phrase}",
)
#: Kind of scene and number of its sounds -> captions.
SCENE_CAPTIONS = {
    ("sequence", 2): (
        "{0} followed by {1}",
        "{0}, then {1}",
        "first {0}, and then {1}",
        "{0} is heard, followed by {1}",
        "{0} and after it {1}",
    ),
    ("sequence", 3): (
        "{0} followed by {1} and {2}",
        "{0}, then {1}, then {2}",
        "first {0}, then {1}, and last {2}",
        "{0} is heard, followed by {1} and {2}",
        "{0}, after it {1}, and in the end {2}",
    ),
    ("together", 2): (
        "{0} and {1} at the same time",
        "{0} together with {1}",
        "{0} and {1} sound together",
        "{0} is heard over {1}",
        "{0} while {1} is heard",
    ),
    ("together", 3): (
        "{0}, {1} and {2} at the same time",
        "{0} together with {1} and {2}",
        "{0}, {1} and {2} sound together",
        "{0} is heard over {1} and {2}",
        "{0} while {1} and {2} are heard",
    ),
}


def plan_rows(clips: Sequence[Clip], seed: int = 0) -> dict[str, dict]:
    """Say everything that the corpus says about its clips.

    Arguments
    ---------
    clips : list of Clip
        All clips of a split: a sound that is asked for in vain is one of another
        clip's, so that a question does not tell its answer.
    seed : int
        Of the wording.

    Returns
    -------
    rows : dict
        ID -> row with ``clip``, ``clip_kind``, ``task`` and the task's words;
        ``references`` lists every right caption.

    Example
    -------
    >>> from pengi_plugin.corpora.general_midi.plan import plan_clips
    >>> rows = plan_rows(plan_clips("train", 1))
    >>> rows["train_00000_note"]["instrument"]
    'acoustic grand piano'
    """
    heard = [(event.label, event.phrase) for clip in clips for event in clip.events]
    heard += [(sound.name, sound.phrase) for sound in SOUNDS]
    rows = {}
    for clip in clips:
        draw = random.Random(f"general_midi words {seed} {clip.clip_id}")
        common = {"clip": clip.clip_id, "clip_kind": clip.kind}
        if clip.kind == "note":
            words = _about_note(clip.events[0], draw)
        elif clip.kind == "sound":
            words = _about_sound(clip.events[0], draw)
        else:
            words = _about_scene(clip, draw)
        words["presence"] = _presence(clip, _draw_absent(clip, heard, draw), draw)
        for name, fields in words.items():
            rows[f"{clip.clip_id}_{name}"] = {**common, **fields}
    return rows


def _about_note(note: Event, draw: random.Random) -> dict[str, dict]:
    family, instrument = note.family.name, note.instrument
    fields = {
        "family": family,
        "instrument": instrument,
        "pitch": note.pitch,
        "register": note.register,
        "loudness": note.loudness,
    }
    attributes = [family, f"{note.register} note", note.loudness]
    words = {
        "note": {"task": "music_note"},
        "analysis": {"task": "music_analysis", "attributes": attributes},
        "metadata": {
            "task": "metadata",
            "metadata": f"general midi {family}, {instrument}",
        },
        "caption": _caption(_note_captions(note), draw),
        "family": _question("family", family, draw),
    }
    if note.register != "middle":
        words["register"] = _question("high or low", note.register, draw)
    if note.loudness != "medium":
        words["loudness"] = _question("soft or loud", note.loudness, draw)
    return {name: {**fields, **row} for name, row in words.items()}


def _about_sound(event: Event, draw: random.Random) -> dict[str, dict]:
    sound = event.sound
    fields = {"loudness": event.loudness}
    words = {
        "events": {"task": "sound_events", "labels": [sound.name]},
        "metadata": {
            "task": "metadata",
            "metadata": f"general midi {sound.group}, {sound.name}",
        },
        "caption": _caption(_sound_captions(event), draw),
        "count": _question("how many", NUMBERS[1], draw),
    }
    if event.loudness != "medium":
        words["loudness"] = _question("soft or loud", event.loudness, draw)
    return {name: {**fields, **row} for name, row in words.items()}


def _about_scene(clip: Clip, draw: random.Random) -> dict[str, dict]:
    together = clip.kind == "together"
    words = {
        "events": {"task": "sound_events", "labels": [*clip.labels]},
        "metadata": {
            "task": "metadata",
            "metadata": f"general midi {'mix' if together else 'sequence'}, "
            + ", ".join(clip.labels),
        },
        "caption": _caption(_scene_captions(clip), draw),
        "count": _question("how many", NUMBERS[len(clip.events)], draw),
        "together": _question(
            "together", "together" if together else "one after the other", draw
        ),
    }
    if not together:
        words["first"] = _question("first", clip.labels[0], draw)
        words["last"] = _question("last", clip.labels[-1], draw)
    return words


def _presence(clip: Clip, absent: tuple[str, str], draw: random.Random) -> dict:
    """Ask for a sound that is there, or for one that is not."""
    here = [(event.label, event.phrase) for event in clip.events]
    there = draw.random() < 0.5
    label, phrase = draw.choice(here) if there else absent
    row = _question("yes or no", "yes" if there else "no", draw, phrase=phrase)
    return {**row, "asked": label}


def _draw_absent(
    clip: Clip, heard: Sequence[tuple[str, str]], draw: random.Random
) -> tuple[str, str]:
    """Draw a label and its phrase that do not fit anything in this clip."""
    while True:
        label, phrase = draw.choice(heard)
        if not any(_alike(label, here) for here in clip.labels):
            return label, phrase


def _alike(label: str, other: str) -> bool:
    """Tell whether a listener could give one sound both labels: a drum of the
    percussion family passes for a piece of the drum kit."""
    drum_family = PERCUSSION in (label, other)
    return label == other or (drum_family and bool({label, other} & DRUM_KIT))


def _question(kind: str, answer: str, draw: random.Random, **words) -> dict:
    return {
        "task": "question_answering",
        "question_kind": kind,
        "question": draw.choice(QUESTIONS[kind]).format(**words),
        "answer": answer,
    }


def _caption(captions: list[str], draw: random.Random) -> dict:
    return {
        "task": "captioning",
        "caption": draw.choice(captions),
        "references": captions,
    }


def _note_captions(note: Event) -> list[str]:
    return _sentences(
        NOTE_CAPTIONS,
        loudness=note.loudness.replace("medium", ""),
        register=note.register.replace("middle", ""),
        adverb=ADVERBS[note.loudness],
        instrument=with_article(note.instrument),
        phrase=note.phrase,
    )


def _sound_captions(event: Event) -> list[str]:
    return _sentences(
        SOUND_CAPTIONS,
        loudness=event.loudness.replace("medium", ""),
        adverb=ADVERBS[event.loudness],
        phrase=event.phrase,
    )


def _scene_captions(clip: Clip) -> list[str]:
    phrases = {event.label: event.phrase for event in clip.events}
    forms = SCENE_CAPTIONS[clip.kind, len(clip.events)]
    return _sentences(forms, *(phrases[label] for label in clip.labels))


def _sentences(forms: Sequence[str], *values, **words) -> list[str]:
    """Fill in sentences, close up gaps, and drop those that are alike."""
    filled = (form.format(*values, **words).split() for form in forms)
    return [*dict.fromkeys(" ".join(sentence) for sentence in filled)]
