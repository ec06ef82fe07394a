"""Scores of one answer against one reference: two strings in, a number out.

Answers are normalised as in SQuAD (Rajpurkar et al., EMNLP 2016): case, punctuation,
articles and spacing are ignored.
"""

import re
import string
from collections import Counter

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


def is_yes_no(reference: str) -> bool:
    """Return True if a question's reference answer is yes or no.

    Example
    -------
    >>> is_yes_no("Yes."), is_yes_no("two")
    (True, False)
    """
    return normalize_answer(reference) in ("yes", "no")
