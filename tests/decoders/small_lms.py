"""Small random language models for the tests of the searches."""

import torch

from pengi_plugin.lobes.prefix_lm import PrefixLM

CONFIGS = {
    "gpt2": {
        "model_type": "gpt2",
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 8,
        "n_positions": 40,
    },
    "llama": {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_size": 8,
        "intermediate_size": 16,
        "max_position_embeddings": 40,
    },
}


def small_lm(kind, vocab_size=9):
    """A random LM whose answers depend strongly on what precedes them."""
    torch.manual_seed(3)
    config = {**CONFIGS[kind], "vocab_size": vocab_size}
    config |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    lm = PrefixLM(config=config)
    for parameter in lm.parameters():
        parameter.data.normal_(std=0.5)
    return lm
