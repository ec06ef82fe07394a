"""Greedy search for the answer that continues a prefix: prefix in, answers out.

Takes the most likely token at each step, through the LM's cache; clips whose answer
has ended leave the batch.
"""

import torch
from speechbrain.decoders.seq2seq import S2SGreedySearcher
from speechbrain.utils.data_utils import undo_padding
from torch import Tensor, nn

from pengi_plugin.decoders.limits import check_limits
from pengi_plugin.decoders.options import SearchOptions


class PrefixGreedySearcher(SearchOptions, S2SGreedySearcher):
    """Append the most likely token to each prefix until the end mark.

    Returns what ``PrefixBeamSearcher`` returns with a beam of 1, in the same shapes;
    the score is the average log-probability of the tokens.

    Arguments
    ---------
    lm : torch.nn.Module
        A ``PrefixLM``, or a module with its ``prefill``, ``step`` and ``vocab_size``.
    eos_index : int
        The token that ends an answer.
    max_new_tokens : int
        Largest number of tokens, the end mark included.
    min_new_tokens : int
        Number of tokens before an end mark is allowed.

    Example
    -------
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> searcher = PrefixGreedySearcher(lm, eos_index=0, max_new_tokens=4)
    >>> answers, lengths, scores, log_probs = searcher(torch.randn(2, 5, 8))
    >>> len(answers), scores.shape
    (2, torch.Size([2]))
    """

    def __init__(
        self,
        lm: nn.Module,
        eos_index: int,
        max_new_tokens: int = 30,
        min_new_tokens: int = 0,
    ):
        check_limits(lm, eos_index, max_new_tokens, min_new_tokens)
        super().__init__(
            bos_index=eos_index,  # not used: the LM reads the prefix first
            eos_index=eos_index,
            min_decode_ratio=0.0,
            max_decode_ratio=1.0,
        )
        self.lm = lm
        self.max_new_tokens = max_new_tokens
        self.min_new_tokens = min_new_tokens

    @torch.inference_mode()
    def forward(
        self, enc_states: Tensor, wav_len: Tensor | None = None
    ) -> tuple[list[list[int]], Tensor, Tensor, Tensor]:
        """Answer each prefix.

        Arguments
        ---------
        enc_states : torch.Tensor
            Prefixes, right-padded [batch, prefix, d_model].
        wav_len : torch.Tensor
            Relative lengths of the *prefixes* [batch]; None when none is padded.

        Returns
        -------
        answers : list[list[int]]
            Tokens without the end mark.
        lengths : torch.Tensor
            Relative lengths [batch].
        scores : torch.Tensor
            Average log-probability of the tokens, the end mark included [batch].
        log_probs : torch.Tensor
            Of each token, the end mark included; 0 behind it [batch, token].
        """
        ids, log_probs = self.continue_prefixes(enc_states, wav_len)
        lengths, scores = self.measure(ids, log_probs)
        return undo_padding(ids, lengths), lengths, scores, log_probs

    def choose(self, log_probs: Tensor, samples: Tensor, step: int) -> Tensor:
        """Choose the next token of each row of log-probabilities [row, vocab]."""
        return log_probs.argmax(-1)

    def continue_prefixes(
        self, prefix: Tensor, prefix_lens: Tensor | None = None, n: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Continue each prefix ``n`` times, in one batch.

        Returns
        -------
        ids : torch.Tensor
            [batch * n, token]; end marks from the end of each answer on, in the
            last column at the latest.
        log_probs : torch.Tensor
            The model's, of these tokens [batch * n, token]; 0 behind the first end
            mark, and for an end mark that was added at the limit.
        """
        logits, state = self.lm.prefill(prefix, prefix_lens)
        logits = logits.repeat_interleave(n, dim=0)
        state.repeat(n)
        rows = torch.arange(len(logits), device=logits.device)
        ids = rows.new_full((len(rows), self.max_new_tokens + 1), self.eos_index)
        log_probs = torch.zeros(ids.shape, device=ids.device)
        is_over = torch.zeros_like(rows, dtype=torch.bool)
        for step in range(self.max_new_tokens):
            if step > 0:
                logits = self.lm.step(ids[rows, step - 1], state)
            chosen, chosen_log_probs = self._next(logits, rows % n, step)
            ids[rows, step] = chosen.masked_fill(is_over, self.eos_index)
            log_probs[rows, step] = chosen_log_probs.masked_fill(is_over, 0.0)
            is_over = is_over | (chosen == self.eos_index)
            items = (~is_over).view(-1, n).any(1).nonzero()[:, 0]
            if len(items) == 0:
                return ids[:, : step + 1], log_probs[:, : step + 1]
            if len(items) < state.n_item:
                state.keep(items)
                rows, is_over = (x.view(-1, n)[items].view(-1) for x in (rows, is_over))
        return ids, log_probs

    def _next(
        self, logits: Tensor, samples: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """Return the next tokens and the model's log-probabilities of them."""
        log_probs = logits.log_softmax(-1, dtype=torch.float32)
        allowed = log_probs
        if step < self.min_new_tokens:
            allowed = log_probs.clone()
            allowed[:, self.eos_index] = -float("inf")
        chosen = self.choose(allowed, samples, step)
        return chosen, log_probs.gather(1, chosen[:, None])[:, 0]

    def measure(self, ids: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor]:
        """Return relative lengths and average log-probabilities of answers [row]."""
        n_token = (ids != self.eos_index).int().cumprod(1).sum(1)
        n_scored = (n_token + 1).clamp(max=self.max_new_tokens)
        return n_token / ids.shape[1], log_probs.sum(1) / n_scored
