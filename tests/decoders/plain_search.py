"""Searches by brute force, without cache or batch, to compare the real ones with."""

import itertools

import torch


def next_log_probs(lm, prefix, tokens):
    """Natural log-probabilities [vocab] after prefix [token, d_model] and tokens."""
    embedded = prefix
    if tokens:
        embedded = torch.cat([prefix, lm.embed(torch.tensor(tokens))])
    with torch.no_grad():
        return lm.model(inputs_embeds=embedded[None]).logits[0, -1].log_softmax(-1)


def token_log_probs(lm, prefix, tokens):
    """Log-probability of each token of one answer [token], by one full forward."""
    embedded = torch.cat([prefix, lm.embed(torch.tensor(tokens))])
    with torch.no_grad():
        log_probs = lm.model(inputs_embeds=embedded[None]).logits[0].log_softmax(-1)
    return log_probs[len(prefix) - 1 : -1].gather(1, torch.tensor(tokens)[:, None])[
        :, 0
    ]


def beam_search(
    lm, prefix, eos, beam, limit, min_new=0, average=True, bonus=lambda tokens: 0.0
):
    """Return (score, tokens with eos if ended), best first; all of one clip.

    ``bonus(tokens)`` is a scorer's score of the last of the tokens.
    """
    alive, ended = [(0.0, ())], []
    for step in range(limit):
        continued = []
        for total, tokens in alive:
            log_probs = next_log_probs(lm, prefix, tokens).tolist()
            for token, log_prob in enumerate(log_probs):
                if token == eos and step < min_new:
                    continue
                longer = (*tokens, token)
                continued.append((total + log_prob + bonus(longer), longer))
        continued = sorted(continued, reverse=True)[:beam]
        ended += [h for h in continued if h[1][-1] == eos][: beam - len(ended)]
        alive = [h for h in continued if h[1][-1] != eos]
        if len(ended) == beam or not alive:
            break
    if len(ended) < beam:
        ended += alive
    scored = [(t / len(tokens) if average else t, tokens) for t, tokens in ended]
    return sorted(scored, reverse=True)


def every_answer(lm, prefix, eos, limit, average=True):
    """Return (score, tokens) of all answers of at most ``limit`` tokens, best first."""
    answers = []
    for length in range(1, limit + 1):
        for tokens in itertools.product(range(lm.vocab_size), repeat=length):
            is_open = length == limit or tokens[-1] == eos
            if eos in tokens[:-1] or not is_open:
                continue
            total = token_log_probs(lm, prefix, tokens).sum().item()
            answers.append((total / length if average else total, tokens))
    return sorted(answers, reverse=True)
