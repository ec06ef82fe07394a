"""General MIDI in plain words: program and key numbers in, names out.

The names are those of the General MIDI 1 specification (MIDI Manufacturers
Association, 1991) in a listener's English. Keys of the drum kit that sound alike
share a name.
"""

from typing import NamedTuple


class Family(NamedTuple):
    """Eight instruments that follow each other in General MIDI.

    Arguments
    ---------
    name : str
        How answers call it.
    phrase : str
        How a sentence calls one of it.
    lowest, highest : int
        MIDI pitches that it plays here.
    instruments : tuple of str
        Names of its eight programs.
    """

    name: str
    phrase: str
    lowest: int
    highest: int
    instruments: tuple[str, ...]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


#: In the order of General MIDI: the first holds the programs 1-8, and so on.
FAMILIES = (
    Family(
        "piano",
        "a piano",
        36,
        90,
        _names(
            "acoustic grand piano, bright piano, electric grand piano, honky-tonk "
            "piano, electric piano, chorused electric piano, harpsichord, clavinet"
        ),
    ),
    Family(
        "mallets",
        "a mallet instrument",
        48,
        90,
        _names(
            "celesta, glockenspiel, music box, vibraphone, marimba, xylophone, "
            "tubular bells, dulcimer"
        ),
    ),
    Family(
        "organ",
        "an organ",
        36,
        86,
        _names(
            "drawbar organ, percussive organ, rock organ, church organ, reed organ, "
            "accordion, harmonica, tango accordion"
        ),
    ),
    Family(
        "guitar",
        "a guitar",
        40,
        82,
        _names(
            "nylon guitar, steel guitar, jazz guitar, clean electric guitar, muted "
            "guitar, overdriven guitar, distortion guitar, guitar harmonics"
        ),
    ),
    Family(
        "bass",
        "a bass",
        28,
        60,
        _names(
            "acoustic bass, fingered bass, picked bass, fretless bass, slap bass, "
            "popped bass, synth bass, rubber synth bass"
        ),
    ),
    Family(
        "strings",
        "a string instrument",
        36,
        86,
        _names(
            "violin, viola, cello, contrabass, tremolo strings, pizzicato strings, "
            "harp, timpani"
        ),
    ),
    Family(
        "ensemble",
        "an ensemble",
        40,
        84,
        _names(
            "string ensemble, slow strings, synth strings, warm synth strings, choir, "
            "voices, synth voice, orchestra hit"
        ),
    ),
    Family(
        "brass",
        "a brass instrument",
        40,
        82,
        _names(
            "trumpet, trombone, tuba, muted trumpet, french horn, brass section, "
            "synth brass, soft synth brass"
        ),
    ),
    Family(
        "reed",
        "a reed instrument",
        40,
        84,
        _names(
            "soprano saxophone, alto saxophone, tenor saxophone, baritone saxophone, "
            "oboe, english horn, bassoon, clarinet"
        ),
    ),
    Family(
        "pipe",
        "a pipe",
        50,
        94,
        _names(
            "piccolo, flute, recorder, pan flute, blown bottle, shakuhachi, whistle, "
            "ocarina"
        ),
    ),
    Family(
        "synth lead",
        "a synth lead",
        40,
        86,
        _names(
            "square lead, sawtooth lead, calliope lead, chiff lead, charang lead, "
            "voice lead, fifths lead, bass lead"
        ),
    ),
    Family(
        "synth pad",
        "a synth pad",
        40,
        86,
        _names(
            "new age pad, warm pad, polysynth pad, choir pad, bowed glass pad, "
            "metallic pad, halo pad, sweep pad"
        ),
    ),
    Family(
        "synth effects",
        "a synth effect",
        40,
        86,
        _names(
            "synth rain, soundtrack synth, crystal synth, atmosphere synth, brightness "
            "synth, goblin synth, echo synth, star synth"
        ),
    ),
    Family(
        "folk",
        "a folk instrument",
        40,
        84,
        _names("sitar, banjo, shamisen, koto, kalimba, bagpipe, fiddle, shehnai"),
    ),
    Family(
        "percussion",
        "a percussion instrument",
        40,
        84,
        _names(
            "tinkle bell, agogo, steel drum, tuned woodblock, taiko drum, melodic tom, "
            "synth drum, reverse cymbal"
        ),
    ),
)

#: The family whose sounds go by the same words as the drum kit's.
PERCUSSION = "percussion"


class Sound(NamedTuple):
    """A sound that is no note: an effect or a piece of the drum kit.

    Arguments
    ---------
    name : str
        How answers call it.
    phrase : str
        How a sentence calls it.
    group : str
        ``sound effect`` or ``drum kit``.
    programs : tuple of int
        General MIDI programs (1-128) of an effect; empty for drums.
    keys : tuple of int
        Keys of the drum kit; for effects the pitches it is played at.
    """

    name: str
    phrase: str
    group: str
    programs: tuple[int, ...]
    keys: tuple[int, ...]


def _effect(program: int, name: str, phrase: str, lowest: int = 52) -> Sound:
    return Sound(
        name, phrase, "sound effect", (program,), (*range(lowest, lowest + 20),)
    )


def _drum(name: str, *keys: int, article: str = "a ") -> Sound:
    return Sound(name, article + name, "drum kit", (), keys)


SOUNDS = (
    _effect(121, "guitar fret noise", "the fret noise of a guitar"),
    _effect(122, "breath noise", "a breath noise"),
    _effect(123, "sea waves", "sea waves"),
    _effect(124, "bird song", "bird song"),
    _effect(125, "telephone", "a telephone"),
    _effect(126, "helicopter", "a helicopter"),
    _effect(127, "applause", "applause"),
    _effect(128, "gunshot", "a gunshot"),
    _drum("bass drum", 35, 36),
    _drum("rim click", 37),
    _drum("snare drum", 38, 40),
    _drum("hand clap", 39),
    _drum("floor tom", 41, 43),
    _drum("closed hi-hat", 42, 44),
    _drum("tom", 45, 47, 48, 50),
    _drum("open hi-hat", 46, article="an "),
    _drum("crash cymbal", 49, 57),
    _drum("ride cymbal", 51, 59),
    _drum("chinese cymbal", 52),
    _drum("ride bell", 53),
    _drum("tambourine", 54),
    _drum("splash cymbal", 55),
    _drum("cowbell", 56),
    _drum("vibraslap", 58),
    _drum("bongo", 60, 61),
    _drum("conga", 62, 63, 64),
    _drum("timbale", 65, 66),
    _drum("agogo bell", 67, 68, article="an "),
    _drum("cabasa", 69),
    _drum("maracas", 70, article=""),
    _drum("samba whistle", 71, 72),
    _drum("guiro", 73, 74),
    _drum("claves", 75, article=""),
    _drum("woodblock", 76, 77),
    _drum("cuica", 78, 79),
    _drum("triangle", 80, 81),
)

#: Instruments that take no article.
NO_ARTICLE = _names(
    "tubular bells, guitar harmonics, tremolo strings, pizzicato strings, timpani, "
    "slow strings, synth strings, warm synth strings, voices, synth brass, soft synth "
    "brass, synth rain"
)


def family_of(program: int) -> Family:
    """Return the family of a General MIDI program (1-120).

    Example
    -------
    >>> family_of(41).name
    'strings'
    """
    return FAMILIES[(program - 1) // 8]


def instrument_of(program: int) -> str:
    """Return the name of a General MIDI program (1-120).

    Example
    -------
    >>> instrument_of(41)
    'violin'
    """
    return family_of(program).instruments[(program - 1) % 8]


def with_article(instrument: str) -> str:
    """Return an instrument's name as a sentence has it.

    Example
    -------
    >>> with_article("oboe"), with_article("timpani")
    ('an oboe', 'timpani')
    """
    if instrument in NO_ARTICLE:
        return instrument
    return f"{'an' if instrument[0] in 'aeiou' else 'a'} {instrument}"
