"""What a visitor of the page filled in, to a question; a reply to what the page shows.

Nothing of Gradio is used here. Texts of visitors, files and models are escaped.
"""

import logging
import re
from html import escape
from pathlib import Path
from string import Formatter

import torch

from pengi_plugin.inference.questions import Question, Reply, reason_for
from pengi_plugin.tasks import TASKS

logger = logging.getLogger(__name__)

#: The choice of a visitor who writes the whole prompt.
OWN_PROMPT = "own prompt"

#: What the page calls its tasks -> name in ``TASKS``, None for an own prompt.
CHOICES = {name.replace("_", " "): name for name in TASKS} | {OWN_PROMPT: None}

#: What the page calls windows -> ``Question.window``.
WINDOWS = {"the beginning": "first", "every window": "all"}

#: What the page calls scores of labels -> ``Question.method``.
METHODS = {
    "nearness to the answer": "similarity",
    "probability as an answer": "likelihood",
}

#: Answers that are shown for a window.
N_BEST = 5

#: Labels and letters that a visitor may type.
MAX_LABELS, MAX_LETTERS = 200, 1000

#: What a visitor is told where the reason is not the visitor's; the log has the rest.
OUR_FAULT = "The model could not answer. Try again, or a shorter recording."


def needs_words(choice: str) -> bool:
    """Tell whether the visitor types something for a task.

    Example
    -------
    >>> needs_words("captioning"), needs_words("question answering")
    (False, True)
    """
    return "{" in prompt_template(choice)


def prompt_template(choice: str) -> str:
    """Return the prompt of a task; an own prompt is ``{prompt}``."""
    name = CHOICES[choice]
    return "{prompt}" if name is None else TASKS[name].prompt


def make_question(
    path: str | None,
    choice: str,
    words: str | None,
    labels: str | None,
    method: str,
    window: str,
    max_seconds: float,
) -> Question:
    """Return the question that a visitor filled in.

    Arguments
    ---------
    path : str
        The recording; None if there is none yet.
    choice : str
        One of ``CHOICES``.
    words : str
        The question, or the whole prompt, where the task needs one.
    labels : str
        Separated by commas or line breaks; none if empty.
    method, window : str
        Of ``METHODS`` and ``WINDOWS``.
    max_seconds : float
        Longest recording.

    Returns
    -------
    question : Question

    Raises
    ------
    ValueError
        Says what to fill in.
    """
    if not path:
        raise ValueError("Upload or record a sound first.")
    for name, value, known in (
        ("task", choice, CHOICES),
        ("scores", method, METHODS),
        ("window", window, WINDOWS),
    ):
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"Choose a {name} of the list; got {value!r}.")
    if needs_words(choice) and not (words or "").strip():
        raise ValueError("Type a question first.")
    if len(words or "") + len(labels or "") > MAX_LETTERS * 10:
        raise ValueError(f"Type at most {MAX_LETTERS * 10} letters.")
    template = prompt_template(choice)
    fields = [field for _, field, *_ in Formatter().parse(template) if field]
    prompt = template.format(**dict.fromkeys(fields, (words or "").strip()))
    if len(prompt) > MAX_LETTERS:
        raise ValueError(f"A question has at most {MAX_LETTERS} letters.")
    given = [label.strip() for label in re.split(r"[,\n]", labels or "")]
    given = tuple(dict.fromkeys(label for label in given if label))
    if len(given) > MAX_LABELS:
        raise ValueError(f"Give at most {MAX_LABELS} labels; got {len(given)}.")
    return Question(
        path=path,
        prompt=prompt,
        window=WINDOWS[window],
        labels=given,
        method=METHODS[method],
        n_best=N_BEST,
        max_seconds=max_seconds,
        name=Path(path).name,
    )


def show_error(error: Exception, question: Question | None = None) -> str:
    """Return an error as HTML; what is about the server goes to its log."""
    if isinstance(error, FileNotFoundError | ValueError):
        text = reason_for(question, error) if question else str(error)
    else:
        logger.error("A visitor was not answered.", exc_info=error)
        text = OUR_FAULT
    return f'<div class="pengi-error" role="alert">{escape(text)}</div>'


def show_answer(question: Question, reply: Reply) -> str:
    """Return the answers of a reply as HTML: the first large, the others as a table."""
    first = reply.windows[0]
    (text, score), *others = first.answers or [("", float("nan"))]
    parts = [
        f'<div class="pengi-prompt">{escape(question.prompt)}</div>',
        f'<div class="pengi-answer">{escape(text) or "(no words)"}</div>',
        f'<div class="pengi-note">{_times(first)} of {reply.seconds:.2f} s, '
        f"log-probability per token {score:.2f}</div>",
    ]
    if len(reply.windows) > 1:
        rows = [(_times(window), *window.answers[0]) for window in reply.windows]
        parts.append(_table(("window", "answer", "score"), rows))
    elif others:
        parts.append(_table(("alternatives", "score"), others))
    return "".join(parts)


def show_labels(question: Question, reply: Reply) -> str:
    """Return the labels of the first window as HTML bars; nothing without labels.

    Log-probabilities become shares of the labels' total probability; a cosine is shown
    as it is, and its bar begins at 0.
    """
    ranking = reply.windows[0].labels
    if not ranking:
        return ""
    values = torch.tensor([score for _, score in ranking])
    is_cosine = question.method == "similarity"
    shares = values if is_cosine else values.softmax(0)
    unit = "cosine with the answer" if is_cosine else "share of the labels' probability"
    bars = [
        f'<div class="pengi-bar"><span>{escape(label)}</span><i><b style="width:'
        f'{100 * max(value, 0):.1f}%"></b></i><em>{value:.3f}</em></div>'
        for (label, _), value in zip(ranking, shares.tolist())
    ]
    return "".join([*bars, f'<div class="pengi-note">{unit}</div>'])


def _times(window) -> str:
    return f"{window.start:.2f} to {window.end:.2f} s"


def _table(titles: tuple[str, ...], rows: list[tuple]) -> str:
    """Return an HTML table; the last column holds numbers."""
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    lines = []
    for row in rows:
        *texts, score = row
        cells = "".join(f"<td>{escape(text) or '(no words)'}</td>" for text in texts)
        lines.append(f"<tr>{cells}<td>{score:.2f}</td></tr>")
    return f'<table class="pengi-table"><tr>{head}</tr>{"".join(lines)}</table>'
