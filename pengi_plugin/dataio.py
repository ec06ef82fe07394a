"""Manifests in, batches of clips with their prompts and answers out.

A clip often has several rows: a caption, labels, questions. An item of the data set
is a clip, which is read and encoded once, with some or all of its rows. What is
random about an item (which rows, which part of a long clip) depends on the seed, the
epoch and the item alone, so it is the same in any worker, in any process, and in a
run that was interrupted.
"""

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import soundfile
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataio import load_data_csv, load_data_json
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import (
    ReproducibleRandomSampler,
    ReproducibleWeightedRandomSampler,
)
from torch import Tensor
from torchaudio.transforms import Resample

from pengi_plugin.tasks import TASKS, Template, apply

#: What every row must have, besides its task's words.
FIELDS = ("wav", "duration", "task")


def read_manifest(
    path: str | Path, corpus: str, data_root: str | Path | None = None
) -> dict[str, dict]:
    """Read a SpeechBrain manifest, JSON or CSV.

    Arguments
    ---------
    path : str
        The file.
    corpus : str
        Name of the corpus, the first part of its rows' IDs.
    data_root : str
        What ``{data_root}`` stands for; None: what ``prepared.json`` beside the
        manifest says, else the manifest's folder.

    Returns
    -------
    rows : dict
        ``corpus/ID`` -> row, with ``id`` and ``corpus`` added.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a row lacks ``wav``, ``duration`` or ``task``, or its duration is no
        positive number of seconds.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no manifest {path}; prepare the corpus first (pengi prepare)."
        )
    if data_root is None:
        record = path.with_name("prepared.json")
        found = json.loads(record.read_text()) if record.is_file() else {}
        data_root = found.get("data_root", path.parent)
    load = load_data_csv if path.suffix == ".csv" else load_data_json
    rows = {}
    for key, row in load(path, {"data_root": str(data_root)}).items():
        row_id = f"{corpus}/{key}"
        rows[row_id] = {**row, "id": row_id, "corpus": corpus}
        _check_row(rows[row_id], path)
    return rows


def _check_row(row: Mapping, path: Path) -> None:
    missing = [name for name in FIELDS if row.get(name) in (None, "")]
    if missing:
        raise ValueError(
            f"Row {row['id']!r} of {path} has no {', '.join(missing)}; every row needs "
            f"{', '.join(FIELDS)} and its task's words."
        )
    try:
        duration = float(row["duration"])
    except (TypeError, ValueError):
        duration = math.nan
    if not 0 < duration < math.inf:
        raise ValueError(
            f"Row {row['id']!r} of {path} has the duration {row['duration']!r}; give "
            "the clip's length in seconds."
        )


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
        place = self._random("crop", path).random() if self.random_crop else 0.0
        return read_clip(path, self.sample_rate, self.n_sample, place)

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


def read_clip(
    path: str | Path, sample_rate: int, n_sample: int, place: float = 0.0
) -> Tensor:
    """Read a clip of fixed length from a file of any rate, channels and length.

    Channels are mixed; a short file is repeated; of a long one only the part that is
    needed is read.

    Arguments
    ---------
    path : str
        The file, of any format that soundfile reads.
    sample_rate : int
        Of the result, in Hz.
    n_sample : int
        Length of the result.
    place : float
        Where a long file is cropped: 0 its beginning, 1 its end.

    Returns
    -------
    clip : torch.Tensor
        [n_sample]

    Raises
    ------
    ValueError
        If the file cannot be read or holds nothing.
    """
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            wanted = math.ceil(n_sample * rate / sample_rate)
            if file.frames > wanted:
                file.seek(round(place * (file.frames - wanted)))
            wav = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{path} cannot be read ({error.error_string}); prepare the corpus again: "
            "preparation lists such files and leaves them out."
        ) from error
    if not len(wav):
        raise ValueError(f"{path} holds no samples; leave it out of the manifest.")
    clip = torch.from_numpy(wav)
    clip = clip.mean(1) if wav.shape[1] > 1 else clip[:, 0]
    if rate != sample_rate:
        clip = resampler(rate, sample_rate)(clip)
    if len(clip) < n_sample:
        clip = clip.repeat(-(-n_sample // len(clip)))
    return clip[:n_sample]


@lru_cache(maxsize=16)
def resampler(rate: int, new_rate: int) -> Resample:
    """Return torchaudio's resampler, its filter computed once."""
    return Resample(rate, new_rate)


class PairBatch:
    """A batch of clips, and of the prompts and answers about them.

    Arguments
    ---------
    items : list of dict
        What ``ClipDataset`` yields.

    ``wav``, ``answer_ids`` and ``said_ids`` (the tokens said about a clip) are
    SpeechBrain's (data, relative lengths); ``clip_index`` [pair] tells which clip a
    pair is about; ``id``, ``task``, ``prompt`` and ``answer`` are lists, one entry
    per pair.
    """

    def __init__(self, items: Sequence[Mapping]):
        pairs = [pair for item in items for pair in item["pairs"]]
        counts = torch.tensor([len(item["pairs"]) for item in items])
        self.id = [pair["id"] for pair in pairs]
        self.task = [pair["task"] for pair in pairs]
        self.prompt = [pair["prompt"] for pair in pairs]
        self.answer = [pair["answer"] for pair in pairs]
        self.clip_index = torch.repeat_interleave(counts)
        self._clips = PaddedBatch(
            [{"wav": item["wav"], "said": item["said_ids"]} for item in items]
        )
        self._pairs = PaddedBatch([{"ids": pair["answer_ids"]} for pair in pairs])

    @property
    def wav(self):
        """Clips [clip, sample] and relative lengths [clip]."""
        return self._clips.wav

    @property
    def said_ids(self):
        """Distinct tokens said of the clips [clip, token], relative lengths [clip]."""
        return self._clips.said

    @property
    def answer_ids(self):
        """Answers with their end mark [pair, token] and relative lengths [pair]."""
        return self._pairs.ids

    def to(self, *args, **kwargs) -> "PairBatch":
        """Move tensors, as ``PaddedBatch.to`` does."""
        self._clips.to(*args, **kwargs)
        self._pairs.to(*args, **kwargs)
        self.clip_index = self.clip_index.to(*args, **kwargs)
        return self

    def pin_memory(self) -> "PairBatch":
        """Pin tensors, as ``PaddedBatch.pin_memory`` does."""
        self._clips.pin_memory()
        self._pairs.pin_memory()
        self.clip_index = self.clip_index.pin_memory()
        return self


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
