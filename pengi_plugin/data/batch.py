"""Items of ``ClipDataset`` in, one batch of clips, prompts and answers out."""

from collections.abc import Mapping, Sequence

import torch
from speechbrain.dataio.batch import PaddedBatch


class PairBatch:
    """A batch of clips, and of the prompts and answers about them.

    Arguments
    ---------
    items : list of dict
        What ``ClipDataset`` yields.

    ``wav`` and ``answer_ids`` are SpeechBrain's (data, relative lengths);
    ``clip_index`` [pair] tells which clip a pair is about; ``id``, ``task``,
    ``prompt`` and ``answer`` are lists, one entry per pair. Any other column of the
    items becomes a list of that name, one entry per clip.
    """

    def __init__(self, items: Sequence[Mapping]):
        pairs = [pair for item in items for pair in item["pairs"]]
        counts = torch.tensor([len(item["pairs"]) for item in items])
        for name in items[0].keys() - {"id", "wav", "pairs"}:
            setattr(self, name, [item[name] for item in items])
        self.id = [pair["id"] for pair in pairs]
        self.task = [pair["task"] for pair in pairs]
        self.prompt = [pair["prompt"] for pair in pairs]
        self.answer = [pair["answer"] for pair in pairs]
        self.clip_index = torch.repeat_interleave(counts)
        self._clips = PaddedBatch([{"wav": item["wav"]} for item in items])
        self._pairs = PaddedBatch([{"ids": pair["answer_ids"]} for pair in pairs])

    @property
    def wav(self):
        """Clips [clip, sample] and relative lengths [clip]."""
        return self._clips.wav

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
