"""Recordings or prefixes and answers in, log-probability of each answer out.

``model`` is an ``AudioLanguageModel``, which has ``score_batch``, ``score_answers``,
``count_tokens`` and ``silent_prefix`` as its methods.

A long name is less likely than a short one, and a rare one than a common one, whatever
the clip. ``NORMALIZATIONS`` are the remedies: the mean over tokens; or the name's
log-probability less that behind a silent clip (the pointwise mutual information of
Holtzman et al., *Surface Form Competition*, EMNLP 2021, with a content-free input as in
Zhao et al., *Calibrate Before Use*, ICML 2021). A silent clip and not the mean of
prefixes, so that a clip's score does not depend on which others are scored with it.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from pengi_plugin.inference.texts import append_texts, broadcast_texts, padded_ids

#: ``none``: the sum over an answer's tokens; ``token``: their mean; ``prior``: the sum
#: less that behind a silent clip.
NORMALIZATIONS = ("none", "token", "prior")


@torch.inference_mode()
def label_log_probs(
    lm, prefix: Tensor, label_ids: list[list[int]], at_a_time: int | None = None
) -> Tensor:
    """Return the log-probability of each label after each prefix.

    Each prefix is read once; labels are scored in batches over its cache.

    Arguments
    ---------
    lm : PrefixLM
        The language model.
    prefix : torch.Tensor
        [clip, prefix, d_model]
    label_ids : list of list of int
        The tokens of each label, end mark included.
    at_a_time : int
        Labels per batch, which bounds the memory; None: all.

    Returns
    -------
    log_probs : torch.Tensor
        Total natural log-probability of each label's tokens [clip, label].

    Example
    -------
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> label_log_probs(lm, torch.randn(3, 5, 8), [[1, 2], [3, 4, 0]]).shape
    torch.Size([3, 2])
    """
    logits, state = lm.prefill(prefix)
    n = at_a_time or len(label_ids)
    parts = [label_ids[start : start + n] for start in range(0, len(label_ids), n)]
    return torch.cat(
        [_part_log_probs(lm, logits, copy.deepcopy(state), part) for part in parts],
        dim=1,
    )


def _part_log_probs(lm, logits: Tensor, state, label_ids: list[list[int]]) -> Tensor:
    """Return the log-probabilities of labels behind prefixes that the LM has read."""
    n_clip, n_label = len(logits), len(label_ids)
    state.repeat(n_label)
    logits = logits.repeat_interleave(n_label, dim=0)
    ids, mask = padded_ids(label_ids, logits.device)
    ids, mask = ids.repeat(n_clip, 1), mask.repeat(n_clip, 1)
    total = torch.zeros(n_clip * n_label, device=logits.device)
    for step in range(ids.shape[1]):
        if step > 0:
            logits = lm.step(ids[:, step - 1], state)
        log_probs = logits.log_softmax(-1, dtype=torch.float32)
        chosen = log_probs.gather(1, ids[:, step : step + 1])[:, 0]
        total += chosen.masked_fill(~mask[:, step], 0.0)
    return total.view(n_clip, n_label)


@torch.inference_mode()
def score_batch(
    model,
    wavs: Tensor,
    wav_lens: Tensor,
    prompts,
    answers: list[str],
    add_texts=None,
    per_token: bool = False,
) -> Tensor:
    """Return the log-probabilities of given answers.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    wavs : torch.Tensor
        Recordings at the model's rate [batch, sample], or
        [batch, sample, channel].
    wav_lens : torch.Tensor
        Lengths relative to the longest [batch].
    prompts : str or list of str
        One for all or one each; ``default_prompt`` if None.
    answers : list of str
        One per recording, scored as given: no space is added.
    add_texts : str or list of str
        Text that the answers continue.
    per_token : bool
        Whether to return each token's log-probability.

    Returns
    -------
    log_probs : torch.Tensor
        Natural log-probability of each answer's tokens and the end mark
        (``answer_end``), summed [batch]; or of each token [batch, token], 0
        behind the last.
    """
    prefix = model.encode_batch(wavs, wav_lens, prompts)
    prefix, lengths = append_texts(model, prefix, add_texts)
    answers = broadcast_texts(answers, len(prefix))
    rows = [_answer_ids(model, answer) for answer in answers]
    ids, mask = padded_ids(rows, model.device)
    with model.inference_ctx:
        log_probs = model.mods.pengi.lm.answer_log_probs(prefix, ids, mask, lengths)
    return log_probs if per_token else log_probs.sum(1)


def score_answers(
    model,
    prefix: Tensor,
    answers: Sequence[str],
    end: str | None = None,
    at_a_time: int | None = None,
) -> Tensor:
    """Return the log-probability of each of several answers to each prefix.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    prefix : torch.Tensor
        Of ``encode_batch`` [clip, 2 * n_prefix, d_model]; each is read once.
    answers : list of str
        Scored as given: no space is added.
    end : str
        What ends an answer: the end mark if None. Empty where the answers that the
        model learned go on behind the text; a text that begins another one is then
        never less likely than that.
    at_a_time : int
        Answers per batch, which bounds the memory; None: all.

    Returns
    -------
    log_probs : torch.Tensor
        As of ``score_batch`` [clip, answer].
    """
    ids = [_answer_ids(model, answer, end) for answer in answers]
    with model.inference_ctx:
        return label_log_probs(model.mods.pengi.lm, prefix, ids, at_a_time)


def count_tokens(model, answers: Sequence[str], end: str | None = None) -> Tensor:
    """Return how many tokens ``score_answers`` sums over for each answer [answer]."""
    return torch.tensor([len(_answer_ids(model, answer, end)) for answer in answers])


@torch.inference_mode()
def silent_prefix(model, prompts: Sequence[str]) -> Tensor:
    """Return the prefixes of prompts about a silent clip.

    Arguments
    ---------
    model : AudioLanguageModel
        Model to query.
    prompts : list of str
        One per prefix.

    Returns
    -------
    prefix : torch.Tensor
        As of ``encode_batch`` [prompt, 2 * n_prefix, d_model].
    """
    clip, length = torch.zeros(1, model.n_sample), torch.ones(1)
    index = torch.zeros(len(prompts), dtype=torch.long)
    return model.encode_batch(clip, length, list(prompts), clip_index=index)


def _answer_ids(model, answer: str, end: str | None = None) -> list[int]:
    """Return the tokens of an answer and of what ends it; as in training if None."""
    encode = model.tokenizer.encode_as_ids
    return encode(answer) + model.end_ids if end is None else encode(answer + end)
