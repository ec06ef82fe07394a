"""Manifests in, batches of clips with their prompts and answers out.

A clip often has several rows: a caption, labels, questions. An item of the data set
is a clip, which is read and encoded once, with some or all of its rows. What is
random about an item (which rows, which part of a long clip) depends on the seed, the
epoch and the item alone, so it is the same in any worker, in any process, and in a
run that was interrupted.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import (
    ReproducibleRandomSampler,
    ReproducibleWeightedRandomSampler,
)
from torch import Tensor

from pengi_plugin.data.audio import read_clip
from pengi_plugin.tasks import TASKS, Template, apply


class ClipDataset(DynamicItemDataset):
    """Clips with prompts and answers, as ``PairBatch`` wants them.

    Arguments
    ---------
    rows : dict
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
        How many of a clip's rows are drawn for an item; None: all, in order.
    random_crop : bool
        Whether a long clip is cropped at random (training) or at its beginning.
    task_weights : dict
        Task -> how likely its rows are drawn, relative to 1 for others.
    seed : int
        Of all that is drawn.

    Raises
    ------
    FileNotFoundError
        If an audio file is missing or empty.
    ValueError
        If a row's task is unknown or a word of it is missing.
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
    ):
        clips = defaultdict(list)
        for row_id, row in rows.items():
            prompt, answer = apply(row["task"], {"id": row_id, **row}, templates)
            words = {"id": row_id, "task": row["task"]}
            words |= {"prompt": prompt, "answer": answer}
            words["says"] = prompt == templates[row["task"]].prompt
            clips[str(row["wav"])].append(words)
        _check_files(clips)
        corpora = {str(row["wav"]): row.get("corpus", "") for row in rows.values()}
        super().__init__(
            {
                wav: {"wav_path": wav, "rows": pairs, "corpus": corpora[wav]}
                for wav, pairs in clips.items()
            },
            output_keys=["id", "wav", "pairs", "said_ids"],
        )
        self.sample_rate = sample_rate
        self.n_sample = round(clip_seconds * sample_rate)
        self.tokenizer = tokenizer
        self.end_ids = tokenizer.encode_as_ids(answer_end)
        self.pairs_per_clip = pairs_per_clip
        self.random_crop = random_crop
        self.task_weights = task_weights or {}
        self.seed = seed
        self.epoch = 0
        self.add_dynamic_item(self._read, takes="wav_path", provides="wav")
        self.add_dynamic_item(self._draw, takes=["id", "rows"], provides="pairs")
        self.add_dynamic_item(self._say, takes="rows", provides="said_ids")

    def set_epoch(self, epoch: int) -> None:
        """Draw anew: rows and crops depend on the epoch."""
        self.epoch = epoch

    @property
    def pairs(self) -> list[dict]:
        """All rows of all clips: ``id``, ``task``, ``prompt`` and ``answer``."""
        return [pair for clip in self.data.values() for pair in clip["rows"]]

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

    def count_said(self) -> Counter:
        """Return of how many clips each token is said, see ``PairBatch.said_ids``."""
        clips = self.data.values()
        return Counter(t for clip in clips for t in self._say(clip["rows"]).tolist())

    def _random(self, purpose: str, item: str) -> random.Random:
        return random.Random(f"{self.seed} {self.epoch} {purpose} {item}")

    def _read(self, path: str) -> Tensor:
        offset = self._random("crop", path).random() if self.random_crop else 0.0
        return read_clip(path, self.sample_rate, self.n_sample, offset)

    def _draw(self, item: str, rows: list[dict]) -> list[dict]:
        drawn = rows
        if self.pairs_per_clip is not None:
            drawn = self._draw_rows(item, rows)
        return [{**row, "answer_ids": self.answer_ids(row["answer"])} for row in drawn]

    def _draw_rows(self, item: str, rows: list[dict]) -> list[dict]:
        """Draw without replacement by weight (Efraimidis and Spirakis, 2006)."""
        draw = self._random("rows", item)
        keys = [
            draw.random() ** (1 / self.task_weights.get(row["task"], 1.0))
            for row in rows
        ]
        order = sorted(range(len(rows)), key=keys.__getitem__, reverse=True)
        return [rows[i] for i in order[: self.pairs_per_clip]]

    def _say(self, rows: list[dict]) -> Tensor:
        """Return the distinct tokens of all answers to prompts that fit any clip.

        "Yes" says nothing of a clip to one who does not know the question.
        """
        said = {
            token
            for row in rows
            if row["says"]
            for token in self.tokenizer.encode_as_ids(row["answer"])
        }
        return torch.tensor(sorted(said), dtype=torch.long)

    def answer_ids(self, answer: str) -> Tensor:
        """Return the tokens of an answer and its end mark [token]."""
        return torch.tensor(self.tokenizer.encode_as_ids(answer) + self.end_ids)


def _check_files(clips: Mapping[str, Sequence[Mapping]]) -> None:
    absent = [
        wav for wav in clips if not Path(wav).is_file() or not Path(wav).stat().st_size
    ]
    if absent:
        row_id = clips[absent[0]][0]["id"]
        raise FileNotFoundError(
            f"{len(absent)} of {len(clips)} audio files are missing or empty, the "
            f"first is {absent[0]} of row {row_id!r}; prepare the corpus again, or "
            "correct the manifest's data_root."
        )


def make_sampler(
    dataset: ClipDataset, shares: Mapping[str, float], seed: int = 0
) -> torch.utils.data.Sampler:
    """Return a sampler that draws an epoch anew each time, corpora by their shares.

    Arguments
    ---------
    dataset : ClipDataset
        Of one or several corpora.
    shares : dict
        Corpus -> its share of an epoch's clips, relative to the others'. With one
        corpus every clip comes once an epoch; with several, clips are drawn with
        replacement, as many as there are.
    seed : int
        Of the order.

    Raises
    ------
    ValueError
        If a corpus has no share.
    """
    counts = Counter(clip["corpus"] for clip in dataset.data.values())
    if len(counts) == 1:
        return ReproducibleRandomSampler(dataset, seed=seed)
    without = sorted(counts.keys() - shares.keys())
    if without:
        raise ValueError(
            f"No share is given for the corpora {without}; got shares for "
            f"{sorted(shares)}."
        )
    weights = [
        shares[clip["corpus"]] / counts[clip["corpus"]]
        for clip in (dataset.data[key] for key in dataset.data_ids)
    ]
    return ReproducibleWeightedRandomSampler(
        weights, num_samples=len(dataset), replacement=True, seed=seed
    )
