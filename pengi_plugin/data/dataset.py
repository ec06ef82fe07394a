"""Manifests in, batches of clips with their prompts and answers out.

A clip often has several rows: a caption, labels, questions. An item of the data set
is a clip of a corpus, which is read and encoded once, with some or all of its rows.
What is random about an item (which rows, which part of a long clip, which other item
if its file cannot be read) depends on the random seed, the epoch and the item alone,
so it is the same in any worker, in any process, and in a run that was interrupted.
"""

import itertools
import logging
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import (
    ReproducibleRandomSampler,
    ReproducibleWeightedRandomSampler,
)
from torch import Tensor
from tqdm import tqdm

from pengi_plugin.data.audio import read_clip
from pengi_plugin.data.clips import Clips, Pairs
from pengi_plugin.data.manifest import Rows, as_rows, file_state
from pengi_plugin.tasks import TASKS, Template

logger = logging.getLogger(__name__)

#: Other items that are tried in place of one whose file cannot be read. That so many
#: in a row cannot be read either means that a disk is gone, not some files.
N_REPLACEMENT = 10


#: Texts that ``ClipDataset.texts`` remembers.
N_TEXT = 100_000


class UnreadableAudioError(Exception):
    """The audio file of an item cannot be read; its cause says why."""


class ClipDataset(DynamicItemDataset):
    """Clips with prompts and answers, as ``PairBatch`` wants them.

    Arguments
    ---------
    rows : Rows or dict
        ID -> manifest row, of one or several corpora.
    sample_rate : int
        The model's, in Hz.
    clip_seconds : float
        Length of every clip: a shorter one is repeated, a longer one cropped.
    tokenizer : object
        The language model's: ``encode_as_ids(text)``.
    answer_end : str
        Appended to every answer.
    templates : dict
        Task -> Template.
    pairs_per_clip : int
        Number of a clip's rows that are sampled for an item; None: all, in order.
    random_crop : bool
        Whether a long clip is cropped at a random offset (training) or at its
        beginning.
    task_weights : dict
        Task -> probability that its rows are sampled, relative to 1 for others. Where
        rows are sampled, those of weight 0 are left out, and clips with no others.
    seed : int
        Random seed of rows and crops.
    max_unreadable_share : float
        An item whose file cannot be read is replaced by another of its corpus, as
        long as no larger share of all items had to be. 0: such a file is an error.
    absent : list of int
        Items whose files are known to be missing, where all rows and files have been
        looked at before (``check_rows``); None: this is done now.

    Raises
    ------
    FileNotFoundError
        If more audio files are missing or empty.
    ValueError
        If a row's task is unknown or lacks a field, a weight is of an unknown task
        or no number from 0 on, or nothing is left to sample. When items are read: if
        more files cannot be read.
    """

    def __init__(
        self,
        rows: Mapping[str, Mapping],
        sample_rate: int,
        clip_seconds: float,
        tokenizer,
        answer_end: str,
        templates: Mapping[str, Template] = TASKS,
        pairs_per_clip: int | None = None,
        random_crop: bool = False,
        task_weights: Mapping[str, float] | None = None,
        seed: int = 0,
        max_unreadable_share: float = 0.0,
        absent: Sequence[int] | None = None,
    ):
        task_weights = task_weights or {}
        _check_weights(task_weights, templates)
        rows = as_rows(rows)
        if pairs_per_clip is not None:
            rows = with_weight(rows, task_weights)
        if not rows:
            raise ValueError("There are no rows; a data set needs one or more.")
        clips = Clips(rows, templates)
        # SpeechBrain copies the keys of a dict. Here the data are a sequence, and an
        # item's key is its index.
        one = dict.fromkeys(("wav_path", "original", "rows", "corpus"))
        super().__init__({0: one}, output_keys=["id", "wav", "pairs"])
        self.data, self.data_ids = clips, range(len(clips))
        self.sample_rate = sample_rate
        self.n_sample = round(clip_seconds * sample_rate)
        self.tokenizer = tokenizer
        self.templates = templates
        self.end_ids = tokenizer.encode_as_ids(answer_end)
        self.pairs_per_clip = pairs_per_clip
        self.random_crop = random_crop
        self.task_weights = task_weights
        self.seed = seed
        self.epoch = 0
        self.max_unreadable_share = max_unreadable_share
        # Shared with the worker processes of a DataLoader.
        self._unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()
        self.add_dynamic_item(
            self._read, takes=["wav_path", "original"], provides="wav"
        )
        self.add_dynamic_item(
            self._sample, takes=["original", "rows"], provides="pairs"
        )
        if absent is None:
            self.check_rows()
        else:
            self._unreadable[torch.from_numpy(np.array(absent, np.int64))] = True

    def __getitem__(self, index: int) -> dict:
        """Return an item; another in its place if its file cannot be read."""
        for tried in itertools.chain([index], self._replacements(index)):
            try:
                return super().__getitem__(tried)
            except UnreadableAudioError as error:
                self._note_unreadable(tried, error.__cause__)
        raise ValueError(
            f"{self._path(index)} cannot be read, and none of the items that were "
            "tried in its place; see the log."
        )

    @property
    def n_unreadable(self) -> int:
        """Number of items whose files could not be read, in any worker process."""
        return int(self._unreadable.sum())

    @property
    def unreadable(self) -> set[int]:
        """Indices of these items."""
        return set(self._unreadable.nonzero().flatten().tolist())

    def add_unreadable(self, indices: Iterable[int]) -> None:
        """Count items that other processes of a run could not read.

        Raises
        ------
        ValueError
            If they are too many, together with those of this process.
        """
        self._unreadable[list(indices)] = True
        n_unreadable = self.n_unreadable
        if n_unreadable > self.max_unreadable_share * len(self):
            raise ValueError(
                f"{n_unreadable} of {len(self)} clips cannot be read, more than "
                f"max_unreadable_share={self.max_unreadable_share:g} allows, in all "
                "processes together; the logs name them. See pengi check."
            )

    def _path(self, index: int) -> str:
        return self.data.path(index)

    def _replacements(self, index: int) -> Iterator[int]:
        """Yield items of the same corpus, the same ones in any process and run."""
        others = np.flatnonzero(self.data.corpus == self.data.corpus[index])
        others = others[others != index]
        generator = self._random("replacement", self.data.original(index))
        n_tried = min(N_REPLACEMENT, len(others))
        for other in generator.sample(range(len(others)), n_tried):
            yield int(others[other])

    def _note_unreadable(self, index: int, error: Exception) -> None:
        """Log a file that cannot be read the first time; raise if they are too many."""
        if self.max_unreadable_share == 0:
            raise error
        if self._unreadable[index]:
            return
        self._unreadable[index] = True
        n_unreadable, row = self.n_unreadable, self.data[index]["rows"][0]
        if n_unreadable > self.max_unreadable_share * len(self):
            raise ValueError(
                f"{n_unreadable} of {len(self)} clips cannot be read, more than "
                f"max_unreadable_share={self.max_unreadable_share:g} allows; the last "
                f"is of row {row['id']!r}: {error} See pengi check."
            ) from error
        logger.warning(
            "The audio of row %r cannot be read; another clip takes its place (%d of "
            "%d so far): %s",
            *(row["id"], n_unreadable, len(self), error),
        )

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, which rows and crops depend on."""
        self.epoch = epoch

    @property
    def pairs(self) -> Pairs:
        """All rows of all clips: ``id``, ``task``, ``prompt`` and ``answer``."""
        return Pairs(self.data)

    def texts(self, name: str) -> Iterator[str]:
        """Yield the ``prompt`` or ``answer`` of all rows, few of them twice."""
        some: set[str] = set()
        for pair in self.pairs:
            if pair[name] not in some:
                yield pair[name]
                some.add(pair[name])
            if len(some) == N_TEXT:
                some.clear()

    def check_rows(self) -> None:
        """Look at all rows and all files.

        Raises
        ------
        FileNotFoundError
            If too many files are missing or empty.
        ValueError
            If a row's task is unknown, or a row lacks a field.
        """
        for _ in tqdm(self.pairs, "checking rows", leave=False, delay=5):
            pass
        bar = tqdm(self.data.paths(), "checking files", len(self), leave=False, delay=5)
        absent = [index for index, path in enumerate(bar) if not file_state(path)]
        if len(absent) > self.max_unreadable_share * len(self):
            row_id = self.data[absent[0]]["rows"][0]["id"]
            raise FileNotFoundError(
                f"{len(absent)} of {len(self)} audio files are missing or empty, the "
                f"first is {self._path(absent[0])} of row {row_id!r}; prepare the "
                "corpus again, or correct the manifest's data_root."
            )
        for index in absent:
            path = self._path(index)
            error = FileNotFoundError(f"{path} is missing or empty.")
            self._note_unreadable(index, error)

    def check_answers(self, n_token: int) -> None:
        """Raise ValueError if an answer with its end mark has more tokens."""
        for pair in self.pairs:
            # An answer has no more tokens than bytes, so most need no tokenizer.
            if len(pair["answer"].encode()) + len(self.end_ids) <= n_token:
                continue
            length = len(self.answer_ids(pair["answer"]))
            if length > n_token:
                raise ValueError(
                    f"The answer of row {pair['id']!r} has {length} tokens with its "
                    f"end mark, the language model takes {n_token} after the prefix: "
                    f"{pair['answer'][:80]!r}... Shorten it."
                )

    def _random(self, purpose: str, original: str) -> random.Random:
        return random.Random(f"{self.seed} {self.epoch} {purpose} {original}")

    def _read(self, path: str, original: str) -> Tensor:
        offset = self._random("crop", original).random() if self.random_crop else 0.0
        try:
            return read_clip(path, self.sample_rate, self.n_sample, offset)
        except (OSError, ValueError) as error:
            raise UnreadableAudioError(path) from error

    def _sample(self, original: str, rows: list[dict]) -> list[dict]:
        if self.pairs_per_clip is not None:
            rows = self._sample_rows(original, rows)
        return [{**row, "answer_ids": self.answer_ids(row["answer"])} for row in rows]

    def _sample_rows(self, original: str, rows: list[dict]) -> list[dict]:
        """Sample without replacement by weight (Efraimidis and Spirakis, 2006)."""
        generator = self._random("rows", original)
        keys = [
            generator.random() ** (1 / self.task_weights.get(row["task"], 1.0))
            for row in rows
        ]
        order = sorted(range(len(rows)), key=keys.__getitem__, reverse=True)
        return [rows[i] for i in order[: self.pairs_per_clip]]

    def answer_ids(self, answer: str) -> Tensor:
        """Return the tokens of an answer and its end mark [token]."""
        return torch.tensor(self.tokenizer.encode_as_ids(answer) + self.end_ids)


def _check_weights(task_weights: Mapping[str, float], templates: Mapping) -> None:
    unknown = sorted(task_weights.keys() - templates.keys())
    if unknown:
        raise ValueError(
            f"task_weights names the unknown tasks {unknown}; known are "
            f"{sorted(templates)}."
        )
    for task, weight in task_weights.items():
        if not 0 <= weight < math.inf:
            raise ValueError(
                f"The task weight of {task!r} is {weight}; give a number from 0 on."
            )


def with_weight(rows: Rows, task_weights: Mapping[str, float]) -> Rows:
    """Return the rows whose task has a weight above 0; others are never sampled."""
    codes, tasks = rows.categories("task")
    is_kept = np.array([task_weights.get(task, 1.0) > 0 for task in tasks], bool)[codes]
    if len(rows) and not is_kept.any():
        raise ValueError(
            f"All {len(rows)} rows are of tasks with the weight 0 in task_weights: "
            f"{sorted({tasks[code] for code in np.unique(codes)})}."
        )
    return rows if is_kept.all() else rows.select(is_kept)


def make_sampler(
    dataset: ClipDataset, shares: Mapping[str, float], seed: int = 0
) -> torch.utils.data.Sampler:
    """Return a sampler that shuffles anew in each epoch, corpora by their shares.

    Arguments
    ---------
    dataset : ClipDataset
        Of one or several corpora.
    shares : dict
        Corpus -> its share of an epoch's clips, relative to the others'. With one
        corpus every clip comes once an epoch; with several, clips are sampled with
        replacement, as many as there are.
    seed : int
        Random seed of the order.

    Raises
    ------
    ValueError
        If a corpus has no share, or none has one above 0.
    """
    clips = dataset.data
    counts = np.bincount(clips.corpus, minlength=len(clips.corpora))
    present = [name for name, n in zip(clips.corpora, counts, strict=True) if n]
    if len(present) == 1:
        return ReproducibleRandomSampler(dataset, seed=seed)
    without = sorted(set(present) - shares.keys())
    if without:
        raise ValueError(
            f"No share is given for the corpora {without}; got shares for "
            f"{sorted(shares)}."
        )
    of_corpus = [
        shares.get(name, 0.0) / max(n, 1) for name, n in zip(clips.corpora, counts)
    ]
    weights = torch.tensor(of_corpus, dtype=torch.double)[
        torch.from_numpy(clips.corpus)
    ]
    if weights.min() < 0 or not 0 < weights.sum() < math.inf:
        raise ValueError(
            "Shares must be numbers from 0 on, one of them above 0; got "
            f"{dict(shares)}."
        )
    return ReproducibleWeightedRandomSampler(
        weights, num_samples=len(dataset), replacement=True, seed=seed
    )
