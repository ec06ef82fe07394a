"""Rules by which benchmarks read a choice out of free text; right or wrong out.

Each rule takes an answer, the choices in the order in which they were shown and the
right choice; it returns True or False, or None where it finds no choice in the answer.
They are kept as published, with their faults, so that figures can be compared.
"""

import re
from collections.abc import Sequence

LETTERS = "ABCDEFGHIJ"


def words_rule(answer: str, choices: Sequence[str], right: str) -> bool:
    """Tell whether an answer has all words of the right choice and none of the others.

    The rule of MMAU (arXiv 2410.19168) and MMAR (arXiv 2505.13032). Its faults: a
    letter alone is wrong, so answers must hold the choice's text; any word of a wrong
    choice makes an answer wrong, even "not"; a wrong choice that has the same words in
    another order counts as right (for 9 of MMAU's 1000 items, 20 of MMAR's).

    Example
    -------
    >>> words_rule("It is a dog.", ["Dog", "Cat"], "Dog")
    True
    """
    said, wanted = _words(answer), _words(right)
    others = set().union(*map(_words, choices)) - wanted
    return bool(said) and wanted <= said and not said & others


def _words(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text.lower()))


def first_letter_rule(answer: str, choices: Sequence[str], right: str) -> bool | None:
    """Tell whether an answer begins with the letter of the right choice.

    The rule of AIR-Bench's foundation part (arXiv 2402.07729): the first character if
    it is one of A to D, else the last but one ("... is A."). Its faults: "A dog barks"
    is option A; answers without a letter are left out of the accuracy.

    Example
    -------
    >>> first_letter_rule("The answer is B.", ["dog", "cat"], "cat")
    True
    """
    for letter in (answer[:1], answer[-2:-1]):
        if letter and letter in "ABCD":
            index = LETTERS.index(letter)
            return index < len(choices) and choices[index] == right
    return None


def any_letter_rule(answer: str, choices: Sequence[str], right: str) -> bool | None:
    """Tell whether the only capital letter A to D is that of the right choice.

    The rule of MuChoMusic (arXiv 2408.01337): the text behind the last "The correct
    answer is:"; if it holds exactly one of the letters, that is the choice, else the
    first choice whose text occurs. Its faults: the "A" of "Allegro" counts; a choice
    whose text is part of another's may be found in its place.

    Example
    -------
    >>> any_letter_rule("a slow waltz", ["A march", "a slow waltz"], "a slow waltz")
    True
    """
    said = answer.rpartition("The correct answer is:")[2]
    letters = set(re.findall("[ABCD]", said))
    if len(letters) == 1:
        index = LETTERS.index(letters.pop())
        return index < len(choices) and choices[index] == right
    found = [choice for choice in choices if choice.lower() in said.lower()]
    return found[0] == right if found else None


#: Rule -> its faults, as a table tells them.
FAULTS = {
    words_rule: "a letter alone is wrong, and so is any word of another option",
    first_letter_rule: "an answer that begins with A to D is that option",
    any_letter_rule: "a capital A to D counts wherever it stands",
}
