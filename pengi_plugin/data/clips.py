"""Manifest rows in, clips out: each audio file of a corpus once, with all its rows."""

from collections.abc import Iterator, Mapping

import numpy as np

from pengi_plugin.data.manifest import Rows, original_of
from pengi_plugin.tasks import Template, apply


class Clips:
    """Clips in the order in which their first rows come, made when they are asked for.

    Only numbers are in memory, some bytes a row: the rows stay where they are.

    Arguments
    ---------
    rows : Rows
        Of one or several corpora.
    templates : dict
        Task -> Template.

    Attributes
    ----------
    corpus : numpy.ndarray
        Index in ``corpora`` of each clip's corpus [clip].
    corpora : list of str
        Names.
    """

    def __init__(self, rows: Rows, templates: Mapping[str, Template]):
        keys = rows.clips()
        order = np.argsort(keys, kind="stable").astype(rows.numbers.dtype)
        keys = keys[order]  # rows of one clip stand together, in their old order
        is_first = np.ones(len(keys), bool)
        is_first[1:] = keys[1:] != keys[:-1]
        del keys
        begins = np.flatnonzero(is_first)
        by_first_row = np.argsort(order[begins])
        counts = np.diff(begins, append=len(order))[by_first_row]
        begins = begins[by_first_row]
        codes, self.corpora = rows.categories("corpus")
        self.corpus = codes[order[begins]]
        self.starts = np.zeros(len(begins) + 1, order.dtype)
        np.cumsum(counts, out=self.starts[1:])
        indices = np.repeat((begins - self.starts[:-1]).astype(order.dtype), counts)
        indices += np.arange(len(order), dtype=order.dtype)
        self.rows = rows.select(order[indices])
        self.templates = templates

    def __len__(self):
        return len(self.corpus)

    def __iter__(self) -> Iterator[dict]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict:
        """Return ``id``, ``wav_path``, ``original``, ``corpus`` and ``rows``, a pair of
        each row."""
        begin, end = self.starts[index : index + 2]
        items = [
            self.rows.item_at(position) for position in range(int(begin), int(end))
        ]
        wav, corpus = str(items[0][1]["wav"]), self.corpora[self.corpus[index]]
        if any(str(row["wav"]) != wav for _, row in items):
            raise ValueError(
                f"Rows {[row_id for row_id, _ in items]} were taken for rows of one "
                "clip, and are of several files: rename one of them."
            )
        rows = [self.pair(row_id, row) for row_id, row in items]
        return {
            **{"id": f"{corpus}: {wav}", "wav_path": wav},
            **{"original": original_of(items[0][1]), "rows": rows, "corpus": corpus},
        }

    def path(self, index: int) -> str:
        """Return the audio file of a clip."""
        return str(self.rows.at(self.starts[index])["wav"])

    def original(self, index: int) -> str:
        """Return the path that a clip had before it was stored in a shard."""
        return original_of(self.rows.at(self.starts[index]))

    def paths(self) -> Iterator[str]:
        """Yield the audio file of every clip."""
        return (wav for (wav,) in self.rows.select(self.starts[:-1]).cells("wav"))

    def pair(self, row_id: str, row: Mapping) -> dict[str, str]:
        """Return a row's ``id``, ``task``, ``prompt`` and ``answer``.

        Raises
        ------
        ValueError
            If its task is unknown, or it lacks a field of it.
        """
        prompt, answer = apply(row["task"], {"id": row_id, **row}, self.templates)
        return {
            **{"id": row_id, "task": row["task"]},
            **{"prompt": prompt, "answer": answer},
        }


class Pairs:
    """The pairs of all rows of some clips, to be gone through as often as wanted."""

    def __init__(self, clips: Clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips.rows)

    def __iter__(self) -> Iterator[dict[str, str]]:
        return (self.clips.pair(*item) for item in self.clips.rows.items())
