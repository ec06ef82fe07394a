"""Beam search for the answer that continues a prefix: prefix in, answers out.

SpeechBrain's ``S2SBeamSearcher`` with a language model that is prompted with
embeddings (Pengi, Deshmukh et al., NeurIPS 2023, section 3.3). The prefix is read
once per clip; steps go through the LM's cache; clips whose search is over leave the
batch. Scorers (``ScorerBuilder``, ``LengthScorer``, ...) work as in SpeechBrain.
"""

import torch
from speechbrain.decoders.scorer import ScorerBuilder
from speechbrain.decoders.seq2seq import AlivedHypotheses, S2SBeamSearcher
from speechbrain.utils.data_utils import undo_padding
from torch import Tensor, nn

from pengi_plugin.decoders.limits import check_count, check_limits
from pengi_plugin.decoders.options import SearchOptions
from pengi_plugin.decoders.top import top_k


class PrefixBeamSearcher(SearchOptions, S2SBeamSearcher):
    """Search the best continuation of each prefix with a beam.

    A hypothesis is scored by the average of its tokens' log-probabilities, the end
    mark included (``length_normalization``), or by their sum. The search of a clip
    is over when ``beam_size`` hypotheses have ended; at the limit of new tokens,
    unended hypotheses are answers too, with all of their tokens. A beam of 1 is
    greedy search.

    Arguments
    ---------
    lm : torch.nn.Module
        A ``PrefixLM``, or a module with its ``prefill``, ``step`` and ``vocab_size``.
    eos_index : int
        The token that ends an answer.
    beam_size : int
        Hypotheses kept for each clip. May exceed the vocabulary.
    max_new_tokens : int
        Largest number of tokens, the end mark included.
    min_new_tokens : int
        Number of tokens before an end mark is allowed.
    scorer : speechbrain.decoders.scorer.ScorerBuilder
        Adds to the scores of the next tokens; see SpeechBrain. A scorer with a
        memory of its own keeps finished clips in the batch.
    length_normalization : bool
        Whether to divide scores by the length. Must be False with ``LengthScorer``.
    topk : int
        Answers returned for each clip if ``return_topk``.
    return_topk : bool
        Whether to return tensors of the ``topk`` best answers, not lists of the best.

    Example
    -------
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> searcher = PrefixBeamSearcher(lm, eos_index=0, beam_size=3, max_new_tokens=4)
    >>> answers, lengths, scores, log_probs = searcher(torch.randn(2, 5, 8))
    >>> len(answers), scores.shape
    (2, torch.Size([2]))
    """

    def __init__(
        self,
        lm: nn.Module,
        eos_index: int,
        beam_size: int = 5,
        max_new_tokens: int = 30,
        min_new_tokens: int = 0,
        scorer: ScorerBuilder | None = None,
        length_normalization: bool = True,
        topk: int = 1,
        return_topk: bool = False,
    ):
        check_limits(lm, eos_index, max_new_tokens, min_new_tokens)
        check_count("beam_size", beam_size)
        check_count("topk", topk)
        if topk > beam_size:
            raise ValueError(
                "topk must be at most beam_size; "
                f"got topk={topk}, beam_size={beam_size}."
            )
        super().__init__(
            bos_index=eos_index,  # not used: the LM reads the prefix first
            eos_index=eos_index,
            min_decode_ratio=0.0,
            max_decode_ratio=1.0,
            beam_size=beam_size,
            scorer=scorer,
            return_topk=return_topk,
            topk=topk,
            using_eos_threshold=False,
            length_normalization=length_normalization,
            minus_inf=-float("inf"),
        )
        self.lm = lm
        self.max_new_tokens = max_new_tokens
        self.min_new_tokens = min_new_tokens

    @torch.inference_mode()
    def forward(
        self, enc_states: Tensor, wav_len: Tensor | None = None
    ) -> tuple[list[list[int]] | Tensor, Tensor, Tensor, Tensor]:
        """Search an answer for each prefix.

        Arguments
        ---------
        enc_states : torch.Tensor
            Prefixes, right-padded [batch, prefix, d_model].
        wav_len : torch.Tensor
            Relative lengths of the *prefixes* [batch]; None when none is padded.

        Returns
        -------
        answers : list[list[int]]
            Tokens without the end mark; with ``return_topk``, a tensor
            [batch, topk, token] padded with 0.
        lengths : torch.Tensor
            Relative lengths [batch], or [batch, topk].
        scores : torch.Tensor
            [batch], or [batch, topk] with the best first; minus infinity where
            there is no such answer.
        log_probs : torch.Tensor
            Of each token, the end mark included [batch, token], or
            [batch, topk, token].
        """
        if wav_len is None:
            wav_len = enc_states.new_ones(len(enc_states))
        (
            hyps,
            tokens,
            log_probs,
            ended,
            memory,
            scorer_memory,
            attn,
            peak,
            enc_states,
            enc_lens,
        ) = self.init_beam_search_data(enc_states, wav_len)
        found = ended  # of all items; ``ended`` is of those still searched
        for step in range(self.max_decode_steps):
            (
                hyps,
                tokens,
                log_probs,
                ended,
                memory,
                scorer_memory,
                attn,
                peak,
                scores,
            ) = self.search_step(
                hyps,
                tokens,
                log_probs,
                ended,
                memory,
                scorer_memory,
                attn,
                peak,
                enc_states,
                enc_lens,
                step,
            )
            unfinished = self._unfinished_items(hyps, ended)
            if not unfinished:
                break
            if len(unfinished) < self.batch_size and has_no_memory(scorer_memory):
                memory[1].keep(torch.tensor(unfinished, device=tokens.device))
                hyps, tokens, scores = self._keep(unfinished, hyps, tokens, scores)
                ended = [ended[item] for item in unfinished]
        self._fill_alived_hyps_with_eos_token(hyps, ended, scores)
        return self._answers(found)

    # Methods that SpeechBrain's search calls.

    def set_n_out(self) -> int:
        """Return the size of the vocabulary."""
        return self.lm.vocab_size

    def change_max_decoding_length(self, min_decode_steps, max_decode_steps):
        """Return the limits in new tokens, which the prefix does not change."""
        return self.min_new_tokens, self.max_new_tokens

    def _update_reset_memory(self, enc_states, enc_lens):
        """Read the prefixes, once per clip."""
        n_token = max(enc_states.shape[1], 1)
        memory = self.lm.prefill(enc_states, enc_lens / n_token)
        scorer_memory = None
        if self.scorer is not None:
            scorer_memory = self.scorer.reset_scorer_mem(enc_states, enc_lens)
        return memory, scorer_memory

    def forward_step(self, inp_tokens, memory, enc_states, enc_lens):
        """Return the next tokens' log-probabilities [batch * beam, vocab]."""
        logits, state = memory
        if logits is None:
            logits = self.lm.step(inp_tokens, state)
        else:  # of the prefill: one row per clip
            logits = logits.repeat_interleave(self.beam_size, dim=0)
            state.repeat(self.beam_size)
        return logits.log_softmax(-1, dtype=torch.float32), (None, state), None

    def permute_mem(self, memory, index):
        """Let each beam continue the row ``index`` [batch * beam]."""
        beams = index.view(self.batch_size, self.beam_size)
        memory[1].reorder(beams - self.beam_offset[:, None])
        return memory

    # Bookkeeping, where SpeechBrain's is slow or loses the last token.

    def _compute_scores_and_next_inp_tokens(self, alived_hyps, log_probs, step):
        """Choose the best beams among the best continuations of each."""
        best, tokens = top_k(log_probs, min(self.beam_size, self.n_out))
        n_best = best.shape[1]
        totals = alived_hyps.sequence_scores[:, None] + best
        totals = totals.view(self.batch_size, -1)
        totals, index = totals.topk(self.beam_size, dim=-1)
        tokens = tokens.view(self.batch_size, -1).gather(1, index)
        beams = torch.div(index, n_best, rounding_mode="floor")
        scores = totals / (step + 1) if self.length_normalization else totals
        alived_hyps.sequence_scores = totals.view(-1).clone()
        return (
            scores.view(-1),
            beams * self.n_out + tokens,
            (beams + self.beam_offset[:, None]).view(-1),
            tokens.view(-1),
            alived_hyps,
        )

    def _update_hyps_and_scores_if_eos_token(
        self, inp_tokens, alived_hyps, eos_hyps_and_log_probs_scores, scores
    ):
        """Collect the hypotheses that end here; those of score minus inf never do."""
        is_eos = inp_tokens.eq(self.eos_index)
        for row in (is_eos & scores.isfinite()).nonzero()[:, 0].tolist():
            ended = eos_hyps_and_log_probs_scores[row // self.beam_size]
            if len(ended) < self.beam_size:
                ended.append((*alived_hyps[row][:2], scores[row]))
        return is_eos

    def _fill_alived_hyps_with_eos_token(
        self, alived_hyps, eos_hyps_and_log_probs_scores, scores
    ):
        """Collect the hypotheses cut at the limit, an end mark after all their tokens.

        SpeechBrain removes the last token of each hypothesis, so the mark, of
        log-probability 0, is added to these.
        """
        unfinished = self._unfinished_items(alived_hyps, eos_hyps_and_log_probs_scores)
        alive = alived_hyps.sequence_scores.isfinite()
        mark = alived_hyps.alived_seq.new_full((1,), self.eos_index)
        zero = alived_hyps.alived_log_probs.new_zeros(1)
        for row in alive.nonzero()[:, 0].tolist():
            item = row // self.beam_size
            if item in unfinished:
                tokens, log_probs, _ = alived_hyps[row]
                eos_hyps_and_log_probs_scores[item].append(
                    (
                        torch.cat([tokens, mark]),
                        torch.cat([log_probs, zero]),
                        scores[row],
                    )
                )
        return eos_hyps_and_log_probs_scores

    def _unfinished_items(self, hyps: AlivedHypotheses, ended: list) -> list[int]:
        """Return the items with a beam to continue and fewer answers than beams."""
        alive = hyps.sequence_scores.view(self.batch_size, -1).isfinite().any(1)
        return [
            item
            for item, is_alive in enumerate(alive.tolist())
            if is_alive and len(ended[item]) < self.beam_size
        ]

    def _keep(self, items, hyps, tokens, scores):
        """Keep the rows of ``items``; the search of the others is over."""
        beam = torch.arange(self.beam_size, device=tokens.device)
        rows = (self.beam_offset[items][:, None] + beam).view(-1)
        self.batch_size = len(items)
        self.n_bh = len(rows)
        self.beam_offset = self.beam_offset[: self.batch_size]
        return AlivedHypotheses(*hyps[rows]), tokens[rows], scores[rows]

    def _answers(self, found: list) -> tuple:
        """Sort and stack the hypotheses of each item, as SpeechBrain returns them."""
        n_answer = max(self.topk, *map(len, found))
        nothing = (
            torch.tensor([self.eos_index], device=self.device),
            torch.zeros(1, device=self.device),
            torch.tensor(self.minus_inf, device=self.device),
        )
        found = [hyps + [nothing] * (n_answer - len(hyps)) for hyps in found]
        self.beam_offset = torch.arange(len(found), device=self.device) * n_answer
        topk = self._get_topk_prediction(found)
        if self.return_topk:
            return topk
        hyps, lengths, scores, log_probs = (part[:, 0] for part in topk)
        return undo_padding(hyps, lengths), lengths, scores, log_probs


def has_no_memory(scorer_memory: dict | None) -> bool:
    """Tell whether no scorer has a memory, whose rows could not be removed here."""
    return scorer_memory is None or all(
        memory is None for memory in scorer_memory.values()
    )
