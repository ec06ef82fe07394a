"""Captions: rows with reference captions in, the field's caption scores out."""

from collections.abc import Sequence

from pengi_plugin.metrics.captioning import SBERT_MODEL, score_captions
from pengi_plugin.protocols.score import Score
from pengi_plugin.protocols.session import Session, generated_answers

#: As tables print them.
TITLES = {
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "meteor": "METEOR",
    "cider_d": "CIDEr-D",
    "spice": "SPICE",
    "spider": "SPIDEr",
    "sbert_sim": "SBERT",
    "fense": "FENSE",
}


def captioning(
    session: Session,
    rows: Sequence[dict],
    names: Sequence[str] | None = None,
    sbert_model: str = SBERT_MODEL,
    n_references: int | None = None,
) -> list[Score]:
    """Caption clips and score the captions.

    Arguments
    ---------
    session : Session
        The model and where answers go.
    rows : list of dict
        With ``id``, ``wav``, ``prompt`` and ``references`` (list of str).
    names : list of str
        Keys of ``TITLES``; None for all.
    sbert_model : str
        See ``metrics.captioning.score_captions``.
    n_references : int
        References that the set prescribes for each clip; clips with another number are
        counted in the notes. None: any number.

    Returns
    -------
    scores : list of Score
        One per name; those that this machine cannot compute have no value and say
        why, as do all of a single clip.
    """
    if len(rows) < 2:
        note = f"needs two clips or more; got {len(rows)}"
        return [
            Score(TITLES[name], None, n=len(rows), note=note)
            for name in names or TITLES
        ]
    found = score_captions(
        generated_answers(session, rows),
        [list(row["references"]) for row in rows],
        tuple(names) if names else None,
        sbert_model,
    )
    tokens = [f"{found.tokenizer} tokens"]
    others = sum(len(row["references"]) != n_references for row in rows)
    count = []
    if n_references is not None and others:
        count = [f"{others} clips have not {n_references} references"]
    scores = []
    for name in names or TITLES:
        if name in found.missing:
            note = found.missing[name]
            scores.append(Score(TITLES[name], None, n=len(rows), note=note))
            continue
        low, high = found.interval[name]
        known = name in ("sbert_sim", "fense")  # they divide texts by themselves
        note = "; ".join(count if known else tokens + count)
        value = found.corpus[name]
        scores.append(Score(TITLES[name], value, low, high, len(rows), note=note))
    return scores
