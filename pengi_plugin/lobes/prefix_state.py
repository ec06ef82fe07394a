"""What a language model has read: one key-value cache shared by a clip's beams.

All hypotheses (beams) of one clip follow the same prefix, so its keys and values
are kept once per clip. Each step writes one slot per beam behind them, in place,
and a beam that goes on from another one inherits the *sight* of its slots instead
of a copy of them. Reordering therefore touches only a small boolean table.
"""

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

#: Steps for which room is made at once.
GROWTH = 32


class SlotLayer(DynamicLayer):
    """Keys and values of one layer [item, head, slot, d_head], written in place."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Begin with the prefix."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = key_states, value_states
        self.n_slot = 0
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs):
        """Write the next slots; return all written so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        n_new = key_states.shape[-2]
        start, end = self.n_slot, self.n_slot + n_new
        if start > 0:
            if end > self.keys.shape[-2]:
                n_free = GROWTH * n_new
                self.keys = self._with_room(self.keys[..., :start, :], n_free)
                self.values = self._with_room(self.values[..., :start, :], n_free)
            self.keys[..., start:end, :] = key_states
            self.values[..., start:end, :] = value_states
        self.n_slot = end
        return self.keys[..., :end, :], self.values[..., :end, :]

    @staticmethod
    def _with_room(states: Tensor, n_free: int) -> Tensor:
        """Copy [item, head, slot, d_head] to where ``n_free`` more slots fit."""
        n_slot = states.shape[-2]
        wider = states.new_empty(*states.shape[:-2], n_slot + n_free, states.shape[-1])
        wider[..., :n_slot, :] = states
        return wider

    def get_seq_length(self) -> int:
        """Return the number of slots written."""
        return self.n_slot if self.is_initialized else 0


class PrefixState:
    """Where a prefix LM stands: rows are items times beams, beams neighbours.

    Arguments
    ---------
    lengths : torch.Tensor
        Tokens of each prefix, padding excluded [item].
    n_prefix : int
        Width of the right-padded prefixes.

    Example
    -------
    >>> state = PrefixState(torch.tensor([3, 2]), n_prefix=3)
    >>> state.repeat(2)
    >>> state.n_item, state.n_beam
    (2, 2)
    >>> state.open_slots()
    >>> state.seen[1].int()
    tensor([[1, 1, 0, 1, 0],
            [1, 1, 0, 0, 1]], dtype=torch.int32)
    >>> state.reorder(torch.tensor([[0, 1], [1, 1]]))
    >>> state.seen[1].int()
    tensor([[1, 1, 0, 0, 1],
            [1, 1, 0, 0, 1]], dtype=torch.int32)
    """

    def __init__(self, lengths: Tensor, n_prefix: int):
        self.cache = Cache(layer_class_to_replicate=SlotLayer)
        self.positions = lengths.clone()
        self.n_position = n_prefix
        place = torch.arange(n_prefix, device=lengths.device)
        self.seen = (place < lengths[:, None])[:, None]

    @property
    def n_item(self) -> int:
        """Number of prefixes."""
        return self.seen.shape[0]

    @property
    def n_beam(self) -> int:
        """Number of hypotheses of each prefix."""
        return self.seen.shape[1]

    def repeat(self, n: int) -> None:
        """Make every row ``n`` rows, neighbours in the batch; nothing is copied."""
        self.seen = self.seen.repeat_interleave(n, dim=1)

    def reorder(self, beams: Tensor) -> None:
        """Let each beam go on from beam ``beams`` [item, beam] of its item."""
        index = beams[..., None].expand(-1, -1, self.seen.shape[-1])
        self.seen = self.seen.gather(1, index)

    def keep(self, items: Tensor) -> None:
        """Keep the items that ``items`` [new item] names, in its order."""
        self.seen = self.seen[items]
        self.positions = self.positions[items]
        for layer in self.cache.layers:
            layer.keys = layer.keys[items]
            layer.values = layer.values[items]

    def select(self, index: Tensor) -> None:
        """Keep any rows, named by ``index`` [new row], each an item of its own.

        This copies the cache for every row; ``reorder`` and ``keep`` do not.
        """
        seen = self.seen.flatten(0, 1)[index]
        self.keep(index // self.n_beam)
        self.seen = seen[:, None]

    def open_slots(self) -> None:
        """Make one slot per beam, seen by this beam only, and move on by one."""
        own = torch.eye(self.n_beam, dtype=torch.bool, device=self.seen.device)
        own = own.expand(self.n_item, -1, -1)
        self.seen = torch.cat([self.seen, own], dim=-1)
        self.positions = self.positions + 1
        self.n_position += 1

    def attention_mask(self, dtype: torch.dtype) -> Tensor:
        """Return 0 where a beam looks, else the least number [item, 1, beam, slot]."""
        mask = torch.zeros(self.seen.shape, dtype=dtype, device=self.seen.device)
        mask.masked_fill_(~self.seen, torch.finfo(dtype).min)
        return mask[:, None]
