"""A model's card and scores in, the card that is published out: SpeechBrain's form.

A section that an earlier push has written is written anew, as it may be of other
weights or another licence; one that a person has written is kept, and said to be.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCard

from pengi_plugin.protocols.table import markdown

#: Stands in the cards of folders for the name of the repository.
ANY_SOURCE = "FOLDER_OR_HUB_NAME"

#: The paragraph of an exported folder's card that is left out.
TO_BE_WRITTEN = re.compile(r"\nSay here what it was trained on.*?(?=\n\n)", re.DOTALL)

#: What ``scores_section`` begins with, where there are scores and where there are none.
SCORED = (
    "Of these very weights, printed by the training or the benchmark of pengi-plugin:"
)
NOT_SCORED = "This model has not been scored."

#: What ``data_section`` begins with, where data are known and where they are not.
KNOWN_DATA = (
    "What the training started from, and its frozen parts, had data of their own."
)
UNKNOWN_DATA = "Not known to the program that wrote this card."

#: What follows the licence.
LICENCES = "The licences of the training data are above."

#: Sections that an earlier push has written, as it has written them.
EARLIER = [
    re.compile(rf"\n## {form}\s*(?=\n## |\Z)", re.DOTALL)
    for form in (
        rf"Scores\n\n(?:{re.escape(SCORED)}|{re.escape(NOT_SCORED)}).*?",
        rf"Training data\n\n{re.escape(KNOWN_DATA)}\n\n(?:\|[^\n]*\n)+",
        rf"Training data\n\n{re.escape(UNKNOWN_DATA)}",
        rf"Licence\n\n\S+\. {re.escape(LICENCES)}",
    )
]

#: What a person has written below the scores of an earlier push: it may be about them.
BELOW_SCORES = re.compile(
    rf"\n## Scores\n\n(?:{re.escape(SCORED)}\n\n(?:\|[^\n]*\n)+"
    rf"|{re.escape(NOT_SCORED)})(.*?)(?=\n## |\Z)",
    re.DOTALL,
)

#: Section -> what else a person may call it.
ALSO = {"Licence": "License", "Training data": "Data", "Citing": "Citation"}

#: What loads a model of ours in a card's snippets, and which; those of others stay.
LOADED = re.compile(
    r"(?P<call>\bAudio(?:Language|Text)Model\.from_hparams\(source=\")"
    r"(?P<name>[\w.-]+/[\w.-]+)(?=\")"
)

#: SpeechBrain's cards end so.
CITATION = """\
```bibtex
@inproceedings{deshmukh2023pengi,
  title = {Pengi: An Audio Language Model for Audio Tasks},
  author = {Deshmukh, Soham and Elizalde, Benjamin and Singh, Rita and Wang, Huaming},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2023}
}
@article{ravanelli2024speechbrain,
  title = {Open-Source Conversational AI with SpeechBrain 1.0},
  author = {Ravanelli, Mirco and others},
  journal = {Journal of Machine Learning Research},
  volume = {25},
  year = {2024}
}
```"""


@dataclass(frozen=True)
class Facts:
    """What a card says that is not in the model's folder.

    Arguments
    ---------
    repository : str
        ``owner/name``.
    license : str
        The hub's identifier, such as ``apache-2.0``.
    languages : list of str
        Of the answers, such as ``en``.
    datasets : list of str
        What the model was trained on; empty where that is not known.
    lines : list of dict
        Scores of this model; see ``protocols.table``.
    """

    repository: str
    license: str
    languages: Sequence[str] = ("en",)
    datasets: Sequence[str] = ()
    lines: Sequence[dict] = field(default_factory=tuple)


class Published(NamedTuple):
    """A card to publish: its text, and what whoever publishes it should know."""

    text: str
    remarks: list[str]


def publishable_card(card: ModelCard, facts: Facts) -> Published:
    """Complete the card of a model's folder.

    What a person has written stays. The sections that an earlier push has written, and
    the model that its snippets load, are those of this one.

    Arguments
    ---------
    card : ModelCard
        The folder's; changed.
    facts : Facts
        What to add.

    Returns
    -------
    card : Published
        README.md, and which sections are not from here.
    """
    data, remarks = card.data, []
    if data.license not in (None, facts.license):
        remarks.append(f"its licence was {data.license}, and is now {facts.license}.")
        data.license_name = data.license_link = None  # of the earlier one
    data.library_name = "speechbrain"
    data.license = facts.license
    data.language = list(facts.languages)
    data.tags = list(dict.fromkeys([*(data.tags or ()), "speechbrain", "pytorch"]))
    data.datasets = list(facts.datasets) or None
    data.metrics = list(dict.fromkeys(map(metric_of, facts.lines))) or None
    data.eval_results = None  # those of a fetched card may be of other weights
    if facts.lines:
        data.model_name = facts.repository.split("/")[1]
        task = data.pipeline_tag or "audio-text-to-text"
        data.eval_results = [result_of(line, task) for line in facts.lines]
    body = TO_BE_WRITTEN.sub("", card.text)
    for words in filter(None, map(str.strip, BELOW_SCORES.findall(body))):
        start = " ".join(words.split())[:60]
        remarks.append(f"what stands below its earlier scores is left out: {start}")
    for earlier in EARLIER:
        body = earlier.sub("", body)
    body = body.replace(ANY_SOURCE, facts.repository)
    loaded = {found["name"] for found in LOADED.finditer(body)}
    for other in sorted(loaded - {facts.repository}):
        remarks.append(f"its snippet loaded {other}, and now loads {facts.repository}.")
    body = LOADED.sub(rf"\g<call>{facts.repository}", body)
    sections = {
        "Scores": scores_section(facts.lines),
        "Training data": data_section(facts.datasets),
        "Licence": f"{facts.license}. {LICENCES}",
        "Limitations": "Answers may be wrong; scores on other recordings than those "
        "above are not known.",
        "Citing": CITATION,
    }
    for title, text in sections.items():
        names = f"{title}|{ALSO[title]}" if title in ALSO else title
        own = re.search(rf"^#+ ({names})\s*$", body, re.MULTILINE | re.IGNORECASE)
        if own and f"## {title}\n\n{text}" not in body:
            remarks.append(f"its section {own[1]} is kept as it stands; check it.")
        elif not own:
            body = f"{body.rstrip()}\n\n## {title}\n\n{text}\n"
    return Published(f"---\n{data.to_yaml()}\n---\n{body}", remarks)


def metric_of(line: dict) -> str:
    """Return the name of a line's metric in a card's head.

    Example
    -------
    >>> metric_of({"metric": "exact match"})
    'exact_match'
    """
    return re.sub(r"[^a-z0-9]+", "_", str(line["metric"]).lower()).strip("_")


def result_of(line: dict, task: str) -> EvalResult:
    """Return a line of a table in the hub's form."""
    group = str(line.get("group") or line.get("set"))
    how = [str(line["metric"]), line.get("way"), line.get("settings")]
    return EvalResult(
        task_type=task,
        dataset_type=re.sub(r"[^a-z0-9]+", "_", group.lower()).strip("_"),
        dataset_name=group,
        metric_type=metric_of(line),
        metric_name=", ".join(str(part) for part in how if part),
        metric_value=line["score"],
    )


def scores_section(lines: Sequence[dict]) -> str:
    """Return what a card says of scores."""
    if not lines:
        return NOT_SCORED
    return f"{SCORED}\n\n{markdown(lines).strip()}"


def data_section(datasets: Sequence[str]) -> str:
    """Return what a card says of training data, with licences of corpora known here."""
    if not datasets:
        return UNKNOWN_DATA
    rows = ["| corpus | licence | from |", "|---|---|---|"]
    for name in datasets:
        corpus = corpus_of(name)
        known = (
            (corpus.title, corpus.licence, corpus.home) if corpus else (name, "", "")
        )
        rows.append(f"| {' | '.join(known)} |")
    return "\n".join([KNOWN_DATA, "", *rows])


def corpus_of(name: str):
    """Return what ``pengi_plugin.corpora`` says of a corpus; None of others."""
    if not re.fullmatch(r"[a-z]\w*", name):
        return None
    try:
        module = importlib.import_module(f"pengi_plugin.corpora.{name}")
    except ModuleNotFoundError:
        return None
    return getattr(module, "CORPUS", None)
