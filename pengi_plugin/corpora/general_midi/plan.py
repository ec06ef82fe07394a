"""Which clips ``general_midi`` has: a split and a seed in, planned clips out.

Nothing is rendered here, so that the words can be had without the sounds.

Splits are disjoint in what is heard and how: four neighbouring pitches of an
instrument, a drum kit, its tuning, a loudness (MIDI velocity), a pair of sounds in a
scene, a room, a microphone and a background noise each belong to one split. Every
instrument, effect and drum is in all of them.
"""

import random
import zlib
from functools import cache
from typing import NamedTuple

from pengi_plugin.corpora.general_midi.conditions import N_CONDITION
from pengi_plugin.corpora.general_midi.sounds import (
    FAMILIES,
    PERCUSSION,
    SOUNDS,
    Family,
    Sound,
    family_of,
    instrument_of,
)

SPLITS = ("train", "valid", "test")
#: The embedded default reads 2.55 s of a clip, 256 frames of 10 ms.
CLIP_SECONDS = 2.56

#: Share of the clips of each kind.
KINDS = {"note": 0.45, "sound": 0.2, "scene": 0.35}

#: Of ten pairs of sounds, velocities, rooms, ...: which split has each.
TENTHS = ("test", *["train"] * 3, "valid", "test", *["train"] * 4)

#: Pitches are given to splits by the four: of five such blocks, which split has each.
BLOCK, FIFTHS = 4, ("test", "train", "train", "valid", "train")

#: Loudness -> MIDI velocities, softest first; the gaps keep them apart.
VELOCITIES = {"soft": (24, 48), "medium": (64, 84), "loud": (100, 124)}

#: Registers -> MIDI pitches; pitches between them belong to none.
LOW_BELOW, HIGH_FROM = 54, 66

#: Left out: the synthesizer's filter is unstable on the whistle.
UNPLAYABLE = (79,)

#: Program -> pitches for which the sound font has no sound.
SILENT = {66: (64,), 68: (80, 81, 82, 83, 84)}

#: Split -> its drum kits: standard, power, electronic, brush and orchestra; jazz;
#: room and TR-808.
KITS = {"train": (0, 16, 24, 40, 48), "valid": (32,), "test": (8, 25)}

#: Split -> tunings of its drum kits, in cents.
TUNINGS = {"train": (-200, 0, 200), "valid": (-50, 50), "test": (-100, 100)}

#: How far the background noise may be below the sounds, in dB.
NOISE_BELOW = (15.0, 45.0)


class Event(NamedTuple):
    """One sound of a clip.

    Arguments
    ---------
    program : int
        General MIDI program (1-128); 0 for the drum kit.
    pitch : int
        MIDI pitch, or key of the drum kit.
    velocity : int
        MIDI velocity; it also sets the level, see ``soundfont.level``.
    tuning : int
        Cents that the drum kit is tuned up.
    times : tuple of float
        When it is struck, in seconds.
    duration : float
        How long it is held, in seconds.
    kit : int
        Program of the drum kit, in bank 128 of the sound font.
    """

    program: int
    pitch: int
    velocity: int
    tuning: int
    times: tuple[float, ...]
    duration: float
    kit: int = 0

    @property
    def sound(self) -> Sound | None:
        """The effect or drum that this is; None for a note."""
        for sound in SOUNDS:
            if self.program in sound.programs or (
                self.program == 0 and self.pitch in sound.keys and not sound.programs
            ):
                return sound
        return None

    @property
    def family(self) -> Family | None:
        """The family of the note; None for an effect or drum."""
        return None if self.sound else family_of(self.program)

    @property
    def label(self) -> str:
        """What a listener calls it: a family, an effect or a drum."""
        return (self.sound or self.family).name

    @property
    def phrase(self) -> str:
        """What a sentence calls it."""
        return (self.sound or self.family).phrase

    @property
    def instrument(self) -> str:
        """The instrument of the note."""
        return instrument_of(self.program)

    @property
    def loudness(self) -> str:
        """``soft``, ``medium`` or ``loud``."""
        for name, (_, highest) in VELOCITIES.items():
            if self.velocity <= highest:
                return name
        return name

    @property
    def register(self) -> str:
        """``low``, ``middle`` or ``high``."""
        if self.pitch < LOW_BELOW:
            return "low"
        return "high" if self.pitch >= HIGH_FROM else "middle"


class Condition(NamedTuple):
    """How a clip is recorded, see ``pengi_plugin.corpora.general_midi.conditions``.

    Arguments
    ---------
    room, microphone, noise : int
        Their numbers.
    start : float
        Where in the noise the clip begins, in seconds.
    noise_below : float
        How far the noise is below the sounds, in dB.
    """

    room: int
    microphone: int
    noise: int
    start: float
    noise_below: float


class Clip(NamedTuple):
    """A planned clip.

    Arguments
    ---------
    clip_id : str
        For instance ``train_00012``.
    kind : str
        ``note``, ``sound``, ``sequence`` or ``together``.
    events : tuple of Event
        In order of their first stroke.
    condition : Condition
        How it is recorded; None: dry and clean.
    """

    clip_id: str
    kind: str
    events: tuple[Event, ...]
    condition: Condition | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The events' labels: in order, or alphabetical where they are together."""
        labels = tuple(event.label for event in self.events)
        return tuple(sorted(labels)) if self.kind == "together" else labels


#: Programs that play notes: the first of each family, then the second of each, ...
PROGRAMS = tuple(
    sorted(set(range(1, 121)) - set(UNPLAYABLE), key=lambda p: ((p - 1) % 8, p))
)


def plan_clips(split: str, n_clip: int, seed: int = 0) -> list[Clip]:
    """Plan the clips of a split.

    Arguments
    ---------
    split : str
        ``train``, ``valid`` or ``test``.
    n_clip : int
        How many.
    seed : int
        Random seed.

    Returns
    -------
    clips : list of Clip
        The same ones for the same arguments.

    Example
    -------
    >>> clips = plan_clips("test", 20)
    >>> clips[0].clip_id, clips[0].kind, len(clips)
    ('test_00000', 'note', 20)
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}; got {split!r}.")
    counts = dict.fromkeys(KINDS, 0)
    clips = []
    for number in range(n_clip):
        kind = min(KINDS, key=lambda kind: (counts[kind] + 0.5) / KINDS[kind])
        draw = random.Random(f"general_midi {seed} {split} {number}")
        clip_id = f"{split}_{number:05d}"
        clip = PLANNERS[kind](clip_id, split, counts[kind], draw)
        clips.append(clip._replace(condition=_condition(split, draw)))
        counts[kind] += 1
    return clips


def pitches(program: int, split: str) -> list[int]:
    """Return the pitches of an instrument or effect that a split may play.

    Example
    -------
    >>> set(pitches(41, "test")) & set(pitches(41, "train"))
    set()
    """
    if program > 120:
        every = SOUNDS[program - 121].keys
    else:
        family = family_of(program)
        every = range(family.lowest, family.highest + 1)
    return [
        pitch
        for pitch in every
        if FIFTHS[(pitch // BLOCK + 2 * program) % 5] == split
        and pitch not in SILENT.get(program, ())
    ]


def velocities(loudness: str, split: str) -> list[int]:
    """Return the velocities of a loudness that a split may play."""
    lowest, highest = VELOCITIES[loudness]
    return [v for v in range(lowest, highest + 1) if TENTHS[v % 10] == split]


@cache
def split_of_pair(label: str, other: str) -> str:
    """Return the split that may hold both sounds in one clip."""
    pair = " + ".join(sorted((label, other)))
    return TENTHS[zlib.crc32(pair.encode()) % 10]


def _condition(split: str, draw: random.Random) -> Condition:
    mine = [n for n in range(N_CONDITION) if TENTHS[n % 10] == split]
    room, microphone, noise = (draw.choice(mine) for _ in range(3))
    return Condition(
        *(room, microphone, noise, draw.uniform(0.0, 5.0), draw.uniform(*NOISE_BELOW))
    )


def _velocity(split: str, draw: random.Random) -> int:
    return draw.choice(velocities(draw.choice([*VELOCITIES]), split))


def _note(program: int, split: str, draw: random.Random) -> Event:
    choices = pitches(program, split)
    low = [p for p in choices if p < LOW_BELOW]
    high = [p for p in choices if p >= HIGH_FROM]
    register = draw.choice([r for r in (low, high, choices) if r])
    return Event(
        program,
        draw.choice(register),
        _velocity(split, draw),
        0,
        (draw.uniform(0.0, 0.4),),
        draw.uniform(0.6, 1.8),
    )


def _sound(sound: Sound, split: str, draw: random.Random) -> Event:
    velocity = _velocity(split, draw)
    start = draw.uniform(0.0, 0.3)
    if sound.programs:
        program = sound.programs[0]
        pitch = draw.choice(pitches(program, split))
        return Event(program, pitch, velocity, 0, (start,), draw.uniform(1.0, 2.0))
    gap = draw.uniform(0.3, 0.55)
    times = tuple(start + gap * n for n in range(draw.randint(1, 4)))
    key, tuning = draw.choice(sound.keys), draw.choice(TUNINGS[split])
    duration = 1.2 if len(times) == 1 else gap
    kit = draw.choice(KITS[split])
    return Event(0, key, velocity, tuning, times, duration, kit)


def _plan_note(clip_id, split, number, draw) -> Clip:
    program = PROGRAMS[number % len(PROGRAMS)]  # every one in turn
    return Clip(clip_id, "note", (_note(program, split, draw),))


def _plan_sound(clip_id, split, number, draw) -> Clip:
    return Clip(clip_id, "sound", (_sound(SOUNDS[number % len(SOUNDS)], split, draw),))


def _plan_scene(clip_id, split, number, draw) -> Clip:
    chosen = _choose_labels(split, number, draw)
    kind = draw.choice(["sequence", "together"])
    slot = (CLIP_SECONDS - 0.1) / len(chosen)
    loudness = draw.choice([*VELOCITIES])  # of all, so that none hides another
    events = []
    for index, label in enumerate(chosen):
        event = _event(label, split, draw)
        if kind == "sequence":
            start, longest = 0.05 + index * slot, slot - 0.1
        else:
            start, longest = event.times[0], 1.6
        times = tuple(start + (t - event.times[0]) for t in event.times)
        times = tuple(t for t in times if t < start + longest - 0.1)
        duration = min(event.duration, longest)
        velocity = draw.choice(velocities(loudness, split))
        event = event._replace(times=times, duration=duration, velocity=velocity)
        events.append(event)
    if kind == "together":
        events.sort(key=lambda event: event.times[0])
    return Clip(clip_id, kind, tuple(events))


def _event(label: str, split: str, draw: random.Random) -> Event:
    for index, family in enumerate(FAMILIES):
        if family.name == label:
            eight = range(index * 8 + 1, index * 8 + 9)
            program = draw.choice([p for p in eight if p not in UNPLAYABLE])
            return _note(program, split, draw)
    sound = next(sound for sound in SOUNDS if sound.name == label)
    return _sound(sound, split, draw)


def _choose_labels(split: str, number: int, draw: random.Random) -> list[str]:
    """Choose two or three sounds, each pair of which belongs to the split."""
    families = [family.name for family in FAMILIES if family.name != PERCUSSION]
    labels = families * 2 + [sound.name for sound in SOUNDS]
    wanted = draw.choice([2, 2, 3])
    chosen = [labels[number % len(labels)]]
    while len(chosen) < wanted:
        fitting = [
            label
            for label in labels
            if all(split_of_pair(label, c) == split and label != c for c in chosen)
        ]
        if not fitting:
            chosen = [draw.choice(labels)]
            continue
        chosen.append(draw.choice(fitting))
    draw.shuffle(chosen)
    return chosen


PLANNERS = {"note": _plan_note, "sound": _plan_sound, "scene": _plan_scene}
