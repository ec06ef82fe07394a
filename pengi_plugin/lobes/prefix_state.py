"""State of a language model during a search: one key-value cache per clip.

All hypotheses (beams) of one clip follow the same prefix, so its keys and values
are kept once per clip. Each step appends one slot per beam, in place. A boolean
table says to which slots each beam attends: a beam that continues another one takes
over its row of the table, and no keys or values are copied.
"""

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

#: Steps for which memory is allocated at once: the prefix is copied once for an
#: answer of the usual limit, 30 tokens.
GROWTH = 32


class SlotLayer(DynamicLayer):
    """Keys and values of one layer [item, head, slot, d_head], written in place."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take the prefix's keys and values as the first slots."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = key_states, value_states
        self.n_slot = 0
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs):
        """Append slots; return all slots so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        n_new = key_states.shape[-2]
        start, end = self.n_slot, self.n_slot + n_new
        if start > 0:
            if end > self.keys.shape[-2]:
                n_free = GROWTH * n_new
                self.keys = self._enlarged(self.keys[..., :start, :], n_free)
                self.values = self._enlarged(self.values[..., :start, :], n_free)
            self.keys[..., start:end, :] = key_states
            self.values[..., start:end, :] = value_states
        self.n_slot = end
        return self.keys[..., :end, :], self.values[..., :end, :]

    @staticmethod
    def _enlarged(states: Tensor, n_free: int) -> Tensor:
        """Copy [item, head, slot, d_head] into a tensor with ``n_free`` more slots."""
        n_slot = states.shape[-2]
        wider = states.new_empty(*states.shape[:-2], n_slot + n_free, states.shape[-1])
        wider[..., :n_slot, :] = states
        return wider

    def get_seq_length(self) -> int:
        """Return the number of slots in use."""
        return self.n_slot if self.is_initialized else 0


class PrefixState:
    """What a prefix LM has read: the cache, and the slots that each beam attends to.

    Rows are items times beams; the beams of an item are neighbours. ``seen`` [item,
    beam, slot] is True where a beam attends to a slot.

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
        index = torch.arange(n_prefix, device=lengths.device)
        self.seen = (index < lengths[:, None])[:, None]

    @property
    def n_item(self) -> int:
        """Number of prefixes."""
        return self.seen.shape[0]

    @property
    def n_beam(self) -> int:
        """Number of hypotheses of each prefix."""
        return self.seen.shape[1]

    def repeat(self, n: int) -> None:
        """Repeat each row ``n`` times, as neighbours; the cache is not copied."""
        self.seen = self.seen.repeat_interleave(n, dim=1)

    def reorder(self, beams: Tensor) -> None:
        """Let each beam continue beam ``beams`` [item, beam] of its item."""
        index = beams[..., None].expand(-1, -1, self.seen.shape[-1])
        self.seen = self.seen.gather(1, index)

    def keep(self, items: Tensor) -> None:
        """Keep the items with the indices ``items`` [new item], in this order."""
        self.seen = self.seen[items]
        self.positions = self.positions[items]
        for layer in self.cache.layers:
            layer.keys = layer.keys[items]
            layer.values = layer.values[items]

    def select(self, index: Tensor) -> None:
        """Keep the rows with the indices ``index`` [new row], each as an item.

        This copies the cache once per row; ``reorder`` and ``keep`` do not.
        """
        seen = self.seen.flatten(0, 1)[index]
        self.keep(index // self.n_beam)
        self.seen = seen[:, None]

    def open_slots(self) -> None:
        """Add one slot per beam, to which this beam alone attends; next position."""
        own = torch.eye(self.n_beam, dtype=torch.bool, device=self.seen.device)
        own = own.expand(self.n_item, -1, -1)
        self.seen = torch.cat([self.seen, own], dim=-1)
        self.positions = self.positions + 1
        self.n_position += 1

    def attention_mask(self, dtype: torch.dtype) -> Tensor:
        """Return 0 where a beam attends, else the least number of ``dtype``.

        Returns
        -------
        mask : torch.Tensor
            Added to the attention's logits [item, 1, beam, slot].
        """
        mask = torch.zeros(self.seen.shape, dtype=dtype, device=self.seen.device)
        mask.masked_fill_(~self.seen, torch.finfo(dtype).min)
        return mask[:, None]
