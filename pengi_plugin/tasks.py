"""Task templates: the fields of a manifest row in, a prompt and an answer out.

Every task is text generation from a clip and a prompt (Deshmukh et al., NeurIPS
2023, section 3.2 and Table 1). ``TASKS`` is that table; a YAML's ``tasks`` adds to
it, see ``extend``. A field that is a list is joined with commas.
"""

from collections.abc import Mapping
from string import Formatter
from typing import NamedTuple


class Template(NamedTuple):
    """The prompt and the answer of one task; ``{name}`` stands for a row's field.

    Arguments
    ---------
    prompt : str
        Text given to the model with the clip.
    answer : str
        Text that the model learns to generate.
    source : str
        Where the wording is published.
    reconstructed : bool
        True if we could not confirm that the authors used this wording.
    """

    prompt: str
    answer: str
    source: str = "user"
    reconstructed: bool = False

    def fields(self) -> set[str]:
        """Return the names of the fields that a row of this task must have.

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
    """Return ``TASKS`` with further templates; one of the same name replaces ours.

    Arguments
    ---------
    tasks : dict
        Name -> ``{prompt: ..., answer: ...}`` as in a YAML, or a Template.

    Returns
    -------
    templates : dict
        Name -> Template.

    Raises
    ------
    ValueError
        If a template lacks ``prompt`` or ``answer``, or has an unknown key.

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
                    "answer, and optionally source and reconstructed."
                )
            words = Template(**words)
        templates[name] = words
    return templates


def apply(
    task: str, fields: Mapping, templates: Mapping[str, Template] = TASKS
) -> tuple[str, str]:
    """Fill the templates of a task with a row's fields.

    Arguments
    ---------
    task : str
        Name of the task.
    fields : dict
        The fields of a manifest row; errors quote its ``id``.
    templates : dict
        Name -> Template.

    Returns
    -------
    prompt, answer : str
        The text given to the model, and the text that it learns to generate.

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
