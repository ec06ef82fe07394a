"""ESC-50's 50 classes in words: a category in, labels and captions out.

Authors
 * The pengi-plugin authors, 2026
"""

#: Official category -> how a sentence calls the sound.
PHRASES = {
    "airplane": "an airplane",
    "breathing": "someone breathing",
    "brushing_teeth": "someone brushing their teeth",
    "can_opening": "a can being opened",
    "car_horn": "a car horn",
    "cat": "a cat",
    "chainsaw": "a chainsaw",
    "chirping_birds": "birds chirping",
    "church_bells": "church bells",
    "clapping": "people clapping",
    "clock_alarm": "an alarm clock",
    "clock_tick": "a clock ticking",
    "coughing": "someone coughing",
    "cow": "a cow",
    "crackling_fire": "a crackling fire",
    "crickets": "crickets",
    "crow": "a crow",
    "crying_baby": "a baby crying",
    "dog": "a dog",
    "door_wood_creaks": "a wooden door creaking",
    "door_wood_knock": "a knock on a wooden door",
    "drinking_sipping": "someone drinking",
    "engine": "an engine",
    "fireworks": "fireworks",
    "footsteps": "footsteps",
    "frog": "a frog",
    "glass_breaking": "glass breaking",
    "hand_saw": "a hand saw",
    "helicopter": "a helicopter",
    "hen": "a hen",
    "insects": "insects",
    "keyboard_typing": "someone typing on a keyboard",
    "laughing": "someone laughing",
    "mouse_click": "a mouse clicking",
    "pig": "a pig",
    "pouring_water": "water being poured",
    "rain": "rain",
    "rooster": "a rooster",
    "sea_waves": "sea waves",
    "sheep": "a sheep",
    "siren": "a siren",
    "sneezing": "someone sneezing",
    "snoring": "someone snoring",
    "thunderstorm": "a thunderstorm",
    "toilet_flush": "a toilet flushing",
    "train": "a train",
    "vacuum_cleaner": "a vacuum cleaner",
    "washing_machine": "a washing machine",
    "water_drops": "water dripping",
    "wind": "wind",
}

CAPTIONS = (
    "the sound of {phrase}",
    "{phrase} can be heard",
    "a recording of {phrase}",
    "you can hear {phrase}",
)


def label_of(category: str) -> str:
    """Return the label of an official category.

    Example
    -------
    >>> label_of("sea_waves")
    'sea waves'
    """
    return category.replace("_", " ")


def captions_of(category: str) -> list[str]:
    """Return every caption of an official category.

    Example
    -------
    >>> captions_of("rain")[0]
    'the sound of rain'
    """
    return [caption.format(phrase=PHRASES[category]) for caption in CAPTIONS]


def sentences() -> list[str]:
    """Return every label and caption of the corpus."""
    labels = [label_of(category) for category in PHRASES]
    return labels + [text for name in PHRASES for text in captions_of(name)]
