"""What protocols ask a model: rows in, answers out, kept on disk.

``model`` is an ``AudioLanguageModel`` or anything with the same methods:
``answer_files`` here; ``load_clip``, ``encode_audio`` and ``embed_texts`` for
``protocols.embeddings``, and for its ``contrastive_scores`` an ``AudioTextModel``;
``encode_embeddings``, ``score_answers``, ``count_tokens`` and ``silent_prefix`` for
``protocols.likelihoods``. Each row has ``id``, ``wav`` (a path) and, except for
embeddings, ``prompt``.

A clip that cannot be read, or a question that cannot be asked, stops nothing: its
answer is empty, its likelihoods and embedding are NaN, and it stands in the session's
``unreadable``, of which tables tell the number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pengi_plugin.protocols.answer_log import answer_rows, error_line


@dataclass
class Session:
    """A model that is being evaluated, and where its answers go.

    Arguments
    ---------
    model : object
        See the module's description.
    folder : Path
        Where answers are kept.
    settings : dict
        What tells this model from others.
    search : dict
        Options of ``generate_files``, such as ``beam_size``.
    batch_size : int
        Rows asked about at a time.
    source : callable
        Rows -> the text of an answer to each, in place of the model's; None: the
        model is asked.
    answers_folder : Path
        Where the model's answers are kept, if not in ``folder``.
    unreadable : set
        (wav, prompt) of the rows that could not be answered, and (wav, None) of clips
        that could not be read; filled by what is asked.
    """

    model: object
    folder: Path
    settings: dict = field(default_factory=dict)
    search: dict = field(default_factory=dict)
    batch_size: int = 8
    source: Callable[[Sequence[dict]], list[str]] | None = None
    answers_folder: Path | None = None
    unreadable: set = field(default_factory=set)

    def with_answers(
        self, source: Callable[[Sequence[dict]], list[str]], folder: Path | str
    ) -> "Session":
        """Return a session whose answers come from elsewhere.

        Arguments
        ---------
        source : callable
            Rows -> the text of an answer to each.
        folder : Path
            Where protocols write what they find, below the session's folder.
        """
        return replace(self.beside(folder), source=source)

    def beside(self, folder: Path | str) -> "Session":
        """Return a session that writes below this one's folder and shares its answers.

        What this session asked is not asked again: a clip and prompt have one answer.
        """
        kept = self.answers_folder or self.folder
        return replace(self, folder=Path(self.folder) / folder, answers_folder=kept)

    def n_unreadable(self, rows: Sequence[dict]) -> int:
        """Return how many of some rows could not be answered."""
        return sum(
            (row["wav"], None) in self.unreadable
            or (row["wav"], row.get("prompt")) in self.unreadable
            for row in rows
        )

    def ask(
        self, rows: Sequence[dict], ask: Callable, what: str, **settings
    ) -> list[dict]:
        """Return what ``ask`` says about each row; see ``answer_rows``."""
        found = answer_rows(
            rows,
            ask,
            Path(self.answers_folder or self.folder) / what,
            {**self.settings, **settings},
            self.batch_size,
            name=what,
        )
        for row, answer in zip(rows, found, strict=True):
            if "error" in answer:
                self.unreadable.add((row["wav"], row.get("prompt")))
        return found


def generated_answers(session: Session, rows: Sequence[dict]) -> list[str]:
    """Return the text of an answer to each row: the model's, or another source's.

    The answer to a row that cannot be answered is empty.
    """
    if session.source is not None:
        return session.source(rows)

    def ask(batch):
        answers = session.model.answer_files(
            [row["wav"] for row in batch],
            [row["prompt"] for row in batch],
            batch_size=len(batch),
            **session.search,
        )
        return [
            {
                "prompt": row["prompt"],
                "wav": str(row["wav"]),
                **(error_line(found.error) if found.error else {}),
                **({} if found.error else {"answer": found.answer}),
            }
            for row, found in zip(batch, answers, strict=True)
        ]

    found = session.ask(rows, ask, "answers", **session.search)
    return [answer.get("answer", "") for answer in found]


def is_contrastive(session: Session) -> bool:
    """Tell whether a session's model is a CLAP, which writes no answers."""
    return hasattr(session.model, "encode_text")
