"""Scores of one answer against one reference: two strings in, a number out.

Answers are normalised as in SQuAD (Rajpurkar et al., EMNLP 2016): case, punctuation,
articles and spacing are ignored.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower the case, drop punctuation and articles, and collapse spaces.

    Arguments
    ---------
    text : str
        An answer.

    Returns
    -------
    normalized : str
        The normalised answer.

    Example
    -------
    >>> normalize_answer(" The dog's  bark. ")
    'dogs bark'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, reference: str) -> float:
    """Return 1.0 if both are equal after normalisation, else 0.0.

    Example
    -------
    >>> exact_match("A Dog.", "dog")
    1.0
    """
    return float(normalize_answer(answer) == normalize_answer(reference))


def token_f1(answer: str, reference: str) -> float:
    """Return SQuAD's F1 of the words that answer and reference share.

    It is 1.0 for two empty texts, and 0.0 if only one of them is empty.

    Example
    -------
    >>> round(token_f1("a dog barks loudly", "the dog barks"), 2)
    0.8
    """
    answered = normalize_answer(answer).split()
    expected = normalize_answer(reference).split()
    if not answered or not expected:
        return float(answered == expected)
    shared = sum((Counter(answered) & Counter(expected)).values())
    return 2 * shared / (len(answered) + len(expected))


def part_of(answer: str, index: int) -> str:
    """Return one comma-separated part of an answer, empty if it is not there.

    Example
    -------
    >>> part_of("violin, pitch 60", 1)
    'pitch 60'
    """
    parts = [part.strip() for part in answer.split(",")]
    return parts[index] if index < len(parts) else ""


def best_of_references(
    metric: Callable[[str, str], float],
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    pick: Callable[[Iterable[float]], float] = max,
) -> list[float]:
    """Return the score of each answer against that of its references it fits best.

    Arguments
    ---------
    metric : callable
        (answer, reference) -> score, such as ``exact_match``.
    answers : list of str
        One per clip.
    references : list of list of str
        The right answers of each clip.
    pick : callable
        Scores against each of a clip's references -> the clip's score.

    Raises
    ------
    ValueError
        If there are not as many lists of references as answers, or one is empty.

    Example
    -------
    >>> best_of_references(exact_match, ["dog", "rain"], [["cat", "a dog"], ["wind"]])
    [1.0, 0.0]
    """
    if len(answers) != len(references):
        raise ValueError(
            f"Got {len(answers)} answers and {len(references)} lists of references; "
            "give one list per answer."
        )
    for answer, several in zip(answers, references):
        if isinstance(several, str) or not several:
            raise ValueError(
                f"The references of the answer {answer!r} are {several!r}; give a list "
                "of one or more."
            )
    return [
        pick(metric(answer, one) for one in several)
        for answer, several in zip(answers, references)
    ]


def is_yes_no(reference: str) -> bool:
    """Return True if a question's reference answer is yes or no.

    Example
    -------
    >>> is_yes_no("Yes."), is_yes_no("two")
    (True, False)
    """
    return normalize_answer(reference) in ("yes", "no")
