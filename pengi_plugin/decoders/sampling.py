"""Sampling of varied answers that continue a prefix: prefix in, answers out.

Temperature, top-k and top-p (nucleus sampling: Holtzman et al., *The Curious Case
of Neural Text Degeneration*, ICLR 2020). Tokens are drawn by the Gumbel-max trick
from noise that depends only on the seed, the sample's index and the step, so that a
clip's answers are the same in any batch.
"""

import torch
from torch import Tensor, nn

from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.decoders.limits import check_count
from pengi_plugin.decoders.top import top_k


class PrefixSampler(PrefixGreedySearcher):
    """Draw answers at random.

    The same seed gives the same answers to the same prefix, at each call and
    whatever else is in the batch. Scores are those of the model itself, before
    temperature, top-k and top-p.

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
    temperature : float
        Below 1 favours likely tokens, above 1 unlikely ones.
    top_k : int
        Draw among this many most likely tokens; None for all.
    top_p : float
        Draw among the fewest tokens whose probabilities, after temperature and
        top-k, sum to this much; None for all.
    n_samples : int
        Answers per clip. If more than 1, tensors are returned as
        ``PrefixBeamSearcher`` does with ``return_topk``, in the order drawn.
    seed : int
        Random seed of the first sample; the next sample has the next seed. None for
        a new random seed at each call.

    Example
    -------
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> sampler = PrefixSampler(lm, eos_index=0, top_p=0.9, n_samples=3, seed=1)
    >>> answers, lengths, scores, log_probs = sampler(torch.randn(2, 5, 8))
    >>> answers.shape[:2], scores.shape
    (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        lm: nn.Module,
        eos_index: int,
        max_new_tokens: int = 30,
        min_new_tokens: int = 0,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        n_samples: int = 1,
        seed: int | None = None,
    ):
        super().__init__(lm, eos_index, max_new_tokens, min_new_tokens)
        if not temperature > 0:
            raise ValueError(
                f"temperature must be above 0; got {temperature}. For the most likely "
                "token at each step, use beam_size=1 or PrefixGreedySearcher."
            )
        if top_k is not None:
            check_count("top_k", top_k)
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p must be in ]0, 1], or None; got {top_p}.")
        check_count("n_samples", n_samples)
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.n_samples = n_samples
        self.seed = seed
        self._generators: list[torch.Generator] = []

    @torch.inference_mode()
    def forward(
        self, enc_states: Tensor, wav_len: Tensor | None = None
    ) -> tuple[list[list[int]] | Tensor, Tensor, Tensor, Tensor]:
        """Draw answers to each prefix; see ``PrefixGreedySearcher``."""
        self._generators = self._seeded()
        if self.n_samples == 1:
            return super().forward(enc_states, wav_len)
        ids, log_probs = self.continue_prefixes(enc_states, wav_len, self.n_samples)
        parts = (ids, *self.measure(ids, log_probs), log_probs)
        return tuple(part.unflatten(0, (-1, self.n_samples)) for part in parts)

    def choose(self, log_probs: Tensor, samples: Tensor, step: int) -> Tensor:
        """Draw the next token of each row of log-probabilities [row, vocab]."""
        logits = self._truncated(log_probs / self.temperature)
        noise = torch.stack(
            [
                torch.rand(log_probs.shape[1], generator=generator, dtype=torch.float64)
                for generator in self._generators
            ]
        )
        gumbel = -(-noise.log()).log().to(logits)
        return (logits + gumbel[samples]).argmax(-1)

    def _seeded(self) -> list[torch.Generator]:
        """Return one generator per sample, on CPU so that every device agrees."""
        seed = torch.Generator().seed() if self.seed is None else self.seed
        return [
            torch.Generator().manual_seed(seed + sample)
            for sample in range(self.n_samples)
        ]

    def _truncated(self, logits: Tensor) -> Tensor:
        """Set tokens that top-k and top-p exclude to minus infinity [row, vocab]."""
        n_vocab = logits.shape[1]
        if self.top_k is None and self.top_p is None:
            return logits
        values, ids = top_k(logits, min(self.top_k or n_vocab, n_vocab))
        if self.top_p is not None:
            probs = values.softmax(-1)
            before = probs.cumsum(-1) - probs  # of the tokens more likely than it
            values = values.masked_fill(before >= self.top_p, -float("inf"))
        return torch.full_like(logits, -float("inf")).scatter(1, ids, values)
