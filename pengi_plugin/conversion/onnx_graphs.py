"""A Pengi in, the three functions out that ONNX holds of it.

Clip -> prefix, prompt -> prefix, and the language model, which reads prefixes and
tokens and keeps keys and values. All other parts of answering are loops and tables.
"""

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from pengi_plugin.lobes.prefix_lm import cache_argument


class AudioGraph(nn.Module):
    """Clips [batch, sample] -> their half of the prefix [batch, n_prefix, d_model]."""

    def __init__(self, pengi: nn.Module):
        super().__init__()
        self.pengi = pengi

    def forward(self, wavs: Tensor) -> Tensor:
        """Encode and map."""
        lens = torch.ones_like(wavs[:, 0])
        return self.pengi.audio_mapper(self.pengi.audio_features(wavs, lens))


class PromptGraph(nn.Module):
    """Tokens of prompts [batch, token] -> their prefix [batch, n_prefix, d_model].

    There is no padding but that of the text encoder: prompts of one batch have as many
    tokens.
    """

    def __init__(self, pengi: nn.Module):
        super().__init__()
        self.pengi = pengi

    def forward(self, ids: Tensor) -> Tensor:
        """Encode and map."""
        states = self.pengi.text_encoder.encode_padded(ids, torch.ones_like(ids))
        return self.pengi.text_mapper(self.pengi.project_prompt(states))


class LMGraph(nn.Module):
    """Embeddings, then tokens, behind what was read before -> the next token's logits.

    Both may be empty: the first call reads a prefix and no token, each further one a
    token and no embedding.

    Arguments
    ---------
    lm : PrefixLM
        The language model.
    """

    def __init__(self, lm: nn.Module):
        super().__init__()
        self.lm = lm
        self.cache_name = cache_argument(lm.model.base_model)

    def forward(self, prefix: Tensor, ids: Tensor, past: Tensor):
        """Read.

        Arguments
        ---------
        prefix : torch.Tensor
            [batch, n, d_model]
        ids : torch.Tensor
            int64 [batch, m]
        past : torch.Tensor
            Keys and values [layer, 2, batch, head, position, d_head].

        Returns
        -------
        logits : torch.Tensor
            Of the token that follows [batch, vocab].
        present : torch.Tensor
            As ``past``, with what was read now.
        """
        embeddings = torch.cat([prefix, self.lm.embed(ids)], dim=1)
        n_past, n_new = past.shape[4], embeddings.shape[1]
        cache = DynamicCache()
        for number, (keys, values) in enumerate(past):
            cache.update(keys, values, number)
        position = torch.arange(n_past, n_past + n_new)
        is_later = torch.arange(n_past + n_new) > position[:, None]
        mask = is_later * torch.finfo(torch.float32).min
        output = self.lm.model.base_model(
            inputs_embeds=embeddings,
            attention_mask=mask[None, None],
            position_ids=position[None],
            use_cache=True,
            **{self.cache_name: cache},
        )
        logits = self.lm.model.get_output_embeddings()(output.last_hidden_state[:, -1])
        pairs = [torch.stack([layer.keys, layer.values]) for layer in cache.layers]
        return logits, torch.stack(pairs)


def empty_past(lm: nn.Module, n_past: int = 0, n_row: int = 1) -> Tensor:
    """Return the ``past`` of a language model that has read nothing, or zeros."""
    config = lm.model.config
    n_head = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    d_head = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    return torch.zeros(config.num_hidden_layers, 2, n_row, n_head, n_past, d_head)
