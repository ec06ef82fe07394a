"""Task templates: a row of words in, a prompt and an answer out.

Every task is text in, text out (Deshmukh et al., NeurIPS 2023, section 3.2 and
Table 1). ``TASKS`` is that table; a user adds lines to it in YAML, see
``extend``. Lists of words are joined with commas.
"""

from collections.abc import Mapping
from string import Formatter
from typing import NamedTuple


class Template(NamedTuple):
    """How one task is put into words.

    Arguments
    ---------
    prompt : str
        What the model is asked; ``{field}`` stands for a field of the row.
    answer : str
        What it should write.
    source : str
        Where the wording comes from.
    reconstructed : bool
        True where we could not confirm that the authors used this wording.
    """

    prompt: str
    answer: str
    source: str = "user"
    reconstructed: bool = False

    def fields(self) -> set[str]:
        """Return the names of the fields that a row must have.

        Example
        -------
        >>> sorted(TASKS["question_answering"].fields())
        ['answer', 'question']
        """
        parts = [*Formatter().parse(self.prompt), *Formatter().parse(self.answer)]
        return {name for _, name, _, _ in parts if name}


PAPER = "Deshmukh et al. 2023, Table 1"

#: The paper's nine tasks. The wording marked True is a reconstruction.
TASKS: dict[str, Template] = {
    "captioning": Template("generate audio caption", "{caption}", PAPER),
    "question_answering": Template("question: {question}", "{answer}", PAPER),
    "sound_events": Template("this is a sound of", "{labels}", PAPER),
    "acoustic_scene": Template("this acoustic scene is", "{scene}", PAPER),
    "speech_emotion": Template("this emotion is", "{emotion}", PAPER, True),
    "speech_sentiment": Template("this sentiment is", "{sentiment}", PAPER, True),
    "music_analysis": Template("music analysis", "{attributes}", PAPER, True),
    "music_note": Template(
        "this music note is produced by", "{instrument}, pitch {pitch}", PAPER, True
    ),
    "metadata": Template("generate metadata", "{metadata}", PAPER),
}


def extend(tasks: Mapping[str, Mapping | Template] | None = None) -> dict:
    """Return ``TASKS`` with a user's templates added or put in their place.

    Arguments
    ---------
    tasks : dict
        Name -> ``{prompt: ..., answer: ...}`` as a YAML holds it, or a Template.

    Returns
    -------
    templates : dict
        Name -> Template.

    Example
    -------
    >>> bird = {"prompt": "which bird is this?", "answer": "{bird}"}
    >>> apply("bird", {"bird": "wren"}, extend({"bird": bird}))
    ('which bird is this?', 'wren')
    """
    templates = dict(TASKS)
    for name, words in (tasks or {}).items():
        if not isinstance(words, Template):
            missing = {"prompt", "answer"} - set(words)
            unknown = set(words) - set(Template._fields)
            if missing or unknown:
                raise ValueError(
                    f"Task {name!r} has the keys {sorted(words)}; give it prompt and "
                    "answer, and if you like source and reconstructed."
                )
            words = Template(**words)
        templates[name] = words
    return templates


def apply(
    task: str, fields: Mapping, templates: Mapping[str, Template] = TASKS
) -> tuple[str, str]:
    """Put a row into words.

    Arguments
    ---------
    task : str
        Name of the task.
    fields : dict
        The words of a manifest row; ``id`` names it in errors.
    templates : dict
        Name -> Template.

    Returns
    -------
    prompt, answer : str
        What to ask about the clip, and what to answer.

    Raises
    ------
    ValueError
        If the task is unknown, or a field that it needs is missing or empty.

    Example
    -------
    >>> apply("sound_events", {"labels": ["dog", "rain"]})
    ('this is a sound of', 'dog, rain')
    >>> apply("music_note", {"instrument": "violin", "pitch": 60})
    ('this music note is produced by', 'violin, pitch 60')
    """
    where = f"Row {fields['id']!r}" if "id" in fields else "A row"
    if task not in templates:
        raise ValueError(
            f"{where} has the unknown task {task!r}; use one of {sorted(templates)}, "
            "or add a template for it under tasks: in the YAML."
        )
    template = templates[task]
    words = {name: _words(fields.get(name)) for name in template.fields()}
    missing = sorted(name for name, value in words.items() if not value)
    if missing:
        raise ValueError(
            f"{where} of task {task!r} has no {', '.join(missing)}; add it to the "
            "manifest, or change the row's task."
        )
    return template.prompt.format(**words), template.answer.format(**words)


def _words(value) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    return str(value).strip()
