"""Frozen causal language model: prefix embeddings in, answer probabilities out.

Pengi (Deshmukh et al., NeurIPS 2023, section 3.1, Eq. 3) prompts a frozen LM f
with the prefix p and trains what makes the prefix by the cross-entropy of the
answer. Gradients pass through the LM to the prefix; its weights never change.
"""

import inspect
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM
from transformers.activations import NewGELUActivation

from pengi_plugin.lobes.huggingface import build_frozen
from pengi_plugin.lobes.prefix_state import PrefixState

#: Settings that change the logits after the output layer, which we would skip.
LOGIT_SETTINGS = ("final_logit_softcapping", "logit_scale", "logits_scaling")

#: Settings that limit how many positions back some layers attend.
WINDOW_SETTINGS = ("sliding_window", "window_size")


def fuse_gelu(model: nn.Module) -> None:
    """Replace GPT-2's GELU of many small operations by PyTorch's, the same function.

    It is faster, and training keeps fewer copies of each layer's widest tensor.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, nn.GELU(approximate="tanh"))


def cache_argument(model: nn.Module) -> str:
    """Return the name of the argument by which a Hugging Face model takes its cache.

    It is ``cache`` in recent versions of transformers 5, where the older name
    warns, and ``past_key_values`` before and in models that were not renamed.
    """
    is_new = "cache" in inspect.signature(model.forward).parameters
    return "cache" if is_new else "past_key_values"


def cheapest_groups(lengths: Sequence[int], n_group: int) -> list[int]:
    """Divide rows sorted by length so that padding to each group's longest is least.

    Arguments
    ---------
    lengths : list of int
        Ascending.
    n_group : int
        How many groups there may be.

    Returns
    -------
    ends : list of int
        Where each group ends; the last is ``len(lengths)``.

    Example
    -------
    >>> cheapest_groups([2, 2, 3, 9, 10], n_group=2)
    [3, 5]
    """
    # cost[end]: least number of padded positions of the first rows, and their groups
    cost = {0: (0, [])}
    steps = [end for end in range(1, len(lengths)) if lengths[end] > lengths[end - 1]]
    steps.append(len(lengths))
    for _ in range(n_group):
        best = dict(cost)
        for end in steps:
            for start, (total, ends) in cost.items():
                padded = total + (end - start) * lengths[end - 1]
                if start < end and (end not in best or padded < best[end][0]):
                    best[end] = padded, [*ends, end]
        cost = best
    return cost[len(lengths)][1]


class PrefixLM(nn.Module):
    """A frozen causal LM of Hugging Face that is prompted with embeddings.

    ``train()`` leaves it in eval mode: SpeechBrain's ``Brain`` calls ``train()`` on
    all modules, which would switch dropout on.

    Arguments
    ---------
    source : str
        Hub name or local folder.
    config : dict
        A configuration instead (weights are loaded later).
    length_groups : int
        In training, how many groups of similar length the answers of a batch are
        divided into at most, so that short ones are not padded to the longest. Pays
        where operations are dear (on a CPU), not where launching them is.
    **from_pretrained : dict
        Passed on to transformers, such as ``gguf_file``.

    Example
    -------
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> prefix = torch.randn(3, 5, lm.d_model)
    >>> answer = torch.randint(11, (3, 2))
    >>> lm.answer_log_probs(prefix, answer).shape
    torch.Size([3, 2])
    >>> logits, state = lm.prefill(prefix)
    >>> lm.step(logits.argmax(-1), state).shape
    torch.Size([3, 11])
    """

    def __init__(
        self,
        source: str | None = None,
        config: dict | None = None,
        length_groups: int = 1,
        **from_pretrained,
    ):
        super().__init__()
        if length_groups < 1:
            raise ValueError(f"length_groups must be 1 or more; got {length_groups}.")
        self.length_groups = length_groups
        self.model = build_frozen(
            AutoModelForCausalLM, source, config, **from_pretrained
        )
        fuse_gelu(self.model)
        settings = self.model.config
        if getattr(self.model, "_is_stateful", False):
            raise ValueError(
                f"{settings.model_type} keeps a recurrent state, which the beams of a "
                "search cannot share; choose a language model with attention only."
            )
        for name in LOGIT_SETTINGS:
            if getattr(settings, name, None) not in (None, 1, 1.0):
                raise ValueError(
                    f"{settings.model_type} rescales its logits "
                    f"({name}={getattr(settings, name)}), which PrefixLM does not do; "
                    "choose another language model."
                )
        self.d_model = self.model.get_input_embeddings().embedding_dim
        self.vocab_size = self.model.get_output_embeddings().out_features
        self.max_positions = getattr(settings, "max_position_embeddings", None)
        windows = (getattr(settings, name, None) for name in WINDOW_SETTINGS)
        self.window = min((window for window in windows if window), default=None)
        self._cache_name = cache_argument(self.model.base_model)

    def train(self, mode: bool = True) -> "PrefixLM":
        """Stay in eval mode: a frozen LM has no dropout."""
        return super().train(False)

    def embed(self, ids: Tensor) -> Tensor:
        """Look up token embeddings: [..., token] -> [..., token, d_model]."""
        return self.model.get_input_embeddings()(ids)

    def answer_logits(
        self, prefix: Tensor, answer_ids: Tensor, prefix_lens: Tensor | None = None
    ) -> Tensor:
        """Return the logits that predict each answer token.

        Arguments
        ---------
        prefix : torch.Tensor
            Prefix embeddings [batch, prefix, d_model].
        answer_ids : torch.Tensor
            Answers, right-padded with any id [batch, token].
        prefix_lens : torch.Tensor
            Relative lengths of right-padded prefixes [batch]; None when full.

        Returns
        -------
        logits : torch.Tensor
            [batch, token, vocab]
        """
        states = self._answer_states(prefix, answer_ids, prefix_lens)
        return self.model.get_output_embeddings()(states)

    def answer_log_probs(
        self,
        prefix: Tensor,
        answer_ids: Tensor,
        answer_mask: Tensor | None = None,
        prefix_lens: Tensor | None = None,
    ) -> Tensor:
        """Return the log-probability of each answer token given what precedes it.

        The output layer, the largest product of a small LM, is computed at the
        answer's positions only, padding excluded.

        Arguments
        ---------
        prefix : torch.Tensor
            Prefix embeddings [batch, prefix, d_model].
        answer_ids : torch.Tensor
            Answers, right-padded with any id [batch, token].
        answer_mask : torch.Tensor
            True where a token counts [batch, token]; None when all do.
        prefix_lens : torch.Tensor
            Relative lengths of right-padded prefixes [batch]; None when full.

        Returns
        -------
        log_probs : torch.Tensor
            Natural logarithms [batch, token], float32; 0 at padding.
        """
        if answer_mask is None:
            answer_mask = torch.ones_like(answer_ids, dtype=torch.bool)
        answer_mask = answer_mask.bool()
        states, indices = [], []
        for rows, n_token in self._length_groups(answer_mask):
            lens = None if prefix_lens is None else prefix_lens[rows]
            group = self._answer_states(prefix[rows], answer_ids[rows, :n_token], lens)
            row, token = answer_mask[rows, :n_token].nonzero(as_tuple=True)
            states.append(group[row, token])
            indices.append(torch.stack([rows[row], token]))
        row, token = torch.cat(indices, dim=1)
        logits = self.model.get_output_embeddings()(torch.cat(states))
        log_probs = -F.cross_entropy(
            logits.float(), answer_ids[row, token], reduction="none"
        )
        blank = torch.zeros(
            answer_ids.shape, dtype=log_probs.dtype, device=log_probs.device
        )
        return blank.index_put((row, token), log_probs)

    def _length_groups(self, answer_mask: Tensor) -> list[tuple[Tensor, int]]:
        """Divide rows by the length of their answers: (rows [row], longest)."""
        n_row, n_token = answer_mask.shape
        if self.length_groups == 1 or n_row == 1:
            return [(torch.arange(n_row, device=answer_mask.device), n_token)]
        token = torch.arange(1, n_token + 1, device=answer_mask.device)
        lengths, order = (answer_mask * token).amax(1).clamp(min=1).sort()
        ends = cheapest_groups(lengths.tolist(), self.length_groups)
        return [
            (order[start:end], int(lengths[end - 1]))
            for start, end in pairwise([0, *ends])
        ]

    def prefill(
        self, prefix: Tensor, prefix_lens: Tensor | None = None
    ) -> tuple[Tensor, PrefixState]:
        """Read the prefixes once.

        Arguments
        ---------
        prefix : torch.Tensor
            Prefix embeddings [batch, prefix, d_model].
        prefix_lens : torch.Tensor
            Relative lengths of right-padded prefixes [batch]; None when full.

        Returns
        -------
        logits : torch.Tensor
            Logits of the first answer token [batch, vocab].
        state : PrefixState
            What the LM has read; pass it to ``step``.
        """
        n_token = prefix.shape[1]
        if prefix_lens is None:
            prefix_lens = torch.ones(len(prefix), device=prefix.device)
        lengths = (prefix_lens.to(prefix.device) * n_token).round().long()
        state = PrefixState(lengths, n_token)
        # Padding is on the right of the prefix, where a causal LM does not attend.
        hidden = self._read(state, inputs_embeds=prefix.to(self.model.dtype))
        last = hidden[torch.arange(len(prefix), device=prefix.device), lengths - 1]
        return self.model.get_output_embeddings()(last), state

    def step(self, ids: Tensor, state: PrefixState) -> Tensor:
        """Read one more token per row.

        Arguments
        ---------
        ids : torch.Tensor
            The tokens [batch].
        state : PrefixState
            Returned by ``prefill``; changed in place.

        Returns
        -------
        logits : torch.Tensor
            Logits of the next token [batch, vocab].

        Raises
        ------
        ValueError
            If the LM has no position left.
        """
        if self.max_positions is not None and state.n_position >= self.max_positions:
            raise ValueError(
                f"The language model reads at most {self.max_positions} positions, "
                "prefix included; ask for fewer new tokens or a shorter prefix."
            )
        if self.window is not None and state.n_position >= self.window:
            raise ValueError(
                f"Layers of {self.model.config.model_type} attend to the last "
                f"{self.window} positions only, which a search cannot exceed, prefix "
                "included; ask for fewer new tokens or a shorter prefix."
            )
        position = state.positions[:, None].expand(-1, state.n_beam)
        state.open_slots()
        hidden = self._read(
            state,
            input_ids=ids.view(-1, state.n_beam),
            position_ids=position,
            attention_mask=state.attention_mask(self.model.dtype),
        )
        return self.model.get_output_embeddings()(hidden.flatten(0, 1))

    def _read(self, state: PrefixState, **inputs) -> Tensor:
        """Return hidden states [item, token or beam, d_model]; fill the cache."""
        inputs[self._cache_name] = state.cache
        return self.model.base_model(use_cache=True, **inputs).last_hidden_state

    def _answer_states(
        self, prefix: Tensor, answer_ids: Tensor, prefix_lens: Tensor | None
    ) -> Tensor:
        """Return the hidden states that predict each answer token."""
        n_prefix = prefix.shape[1]
        n_position = n_prefix + answer_ids.shape[1] - 1
        if self.max_positions is not None and n_position > self.max_positions:
            raise ValueError(
                f"The language model reads at most {self.max_positions} positions; got "
                f"a prefix of {n_prefix} and answers of {answer_ids.shape[1]} tokens. "
                "Shorten the answers or the prefix."
            )
        prefix, mask = self._left_padded(prefix, prefix_lens)
        answer = self.embed(answer_ids[:, :-1]).to(prefix.dtype)
        if mask is not None:
            mask = F.pad(mask, (0, answer.shape[1]), value=1)
        # Padding is on the right of the answer, where a causal LM does not attend.
        output = self.model.base_model(
            inputs_embeds=torch.cat([prefix, answer], dim=1),
            use_cache=False,
            **self._mask_and_positions(mask),
        )
        return output.last_hidden_state[:, n_prefix - 1 :]

    @staticmethod
    def _left_padded(
        prefix: Tensor, prefix_lens: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Move the padding of [batch, prefix, d_model] from right to left."""
        n_token = prefix.shape[1]
        if prefix_lens is None:
            return prefix, None
        lengths = (prefix_lens.to(prefix.device) * n_token).round().long()
        if bool((lengths == n_token).all()):
            return prefix, None
        index = torch.arange(n_token, device=prefix.device)
        n_padding = (n_token - lengths)[:, None]
        source = (index - n_padding) % n_token
        shifted = prefix.gather(1, source[..., None].expand_as(prefix))
        return shifted, (index >= n_padding).long()

    @staticmethod
    def _mask_and_positions(mask: Tensor | None) -> dict[str, Tensor]:
        """Return attention mask and positions for left-padded rows; else nothing."""
        if mask is None:
            return {}
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return {"attention_mask": mask, "position_ids": positions}
