"""Held-out clips in, questions about them and the share of right answers out.

Each question stands behind everything else that is known of its clip. An answer is
right if the model writes it and its end mark without a fault, token after token.
"""

import random
from collections import defaultdict
from collections.abc import Sequence

import texts

#: Kinds that are asked only if the facts name the answer: captions may leave it out.
STATED = ("high or low", "soft or loud")

#: Task that lists the sounds of a clip; asked about clips with several.
LISTED, SCENES = "sound_events", ("sequence", "together")


def read(n_clip: int = 300) -> list[tuple[str, str, str]]:
    """Return the questions about test clips of ``general_midi``.

    Arguments
    ---------
    n_clip : int
        Number of planned clips.

    Returns
    -------
    questions : list of tuple
        Kind, facts with the question, answer.
    """
    draw, found = random.Random("questions"), []
    for pairs in texts.midi_pairs("test", n_clip):
        for pair in pairs:
            if pair.task == texts.ASKED:
                kind = pair.kind
            elif pair.task == LISTED and pair.kind in SCENES:
                kind = f"list of sounds, {pair.kind}"
            else:
                continue
            facts = [other.answer for other in texts.said(pairs) if other != pair]
            if kind in STATED and pair.answer not in " ".join(facts):
                continue
            draw.shuffle(facts)
            found.append((kind, ". ".join([*facts, pair.prompt]), pair.answer))
    return [*dict.fromkeys(found)]


def encode(questions, tokenizer) -> tuple[list[list[int]], list[int]]:
    """Return the token ids of questions with their answers, and of how many the answer.

    The end mark is the last token of an answer.
    """
    documents, n_answer = [], []
    for _, question, answer in questions:
        document = tokenizer.encode_as_ids(f"{question} {answer}{texts.END}")
        documents.append(document)
        n_answer.append(len(document) - len(tokenizer.encode_as_ids(question)))
    return documents, n_answer


def table(kinds: Sequence[str], right: Sequence[bool]) -> str:
    """Return a table with the share of right answers of each kind.

    Example
    -------
    >>> print(table(["first", "last", "first", "first"], [True, False, False, True]))
    | question | asked | right |
    |---|---|---|
    | first | 3 | 66.7 % |
    | last | 1 | 0.0 % |
    """
    of_kind = defaultdict(list)
    for kind, one in zip(kinds, right, strict=True):
        of_kind[kind].append(one)
    lines = ["| question | asked | right |", "|---|---|---|"]
    for kind, several in sorted(of_kind.items()):
        share = 100 * sum(several) / len(several)
        lines.append(f"| {kind} | {len(several)} | {share:.1f} % |")
    return "\n".join(lines)
