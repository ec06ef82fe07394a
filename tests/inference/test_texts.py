"""Prompts and texts that an answer continues."""

import numpy as np
import pytest
import torch


def test_as_many_prompts_as_recordings_are_needed(model):
    with pytest.raises(ValueError, match="2 texts for 3 recordings"):
        model.generate_batch(torch.zeros(3, model.n_sample), torch.ones(3), ["a", "b"])


def test_added_text_is_read_as_tokens_behind_the_prefix(model, noise):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(3)]))
    ones, prompts = torch.ones(3), ["what is it?"] * 3
    texts = ["a dog", "a long text about rain and thunder", ""]
    together, _ = model.generate_batch(wavs, ones, prompts, add_texts=texts)
    pengi = model.mods.pengi
    for row, text in enumerate(texts):
        one = slice(row, row + 1)
        prefix = model.encode_batch(wavs[one], ones[one], prompts[one])
        ids = torch.tensor([model.tokenizer.encode_as_ids(text)], dtype=torch.long)
        prefix = torch.cat([prefix, pengi.lm.embed(ids)], dim=1)
        tokens, *_ = model.mods.searcher(prefix)
        assert together[row] == model.tokenizer.decode_ids(tokens[0]).strip()
    assert len(model.tokenizer.encode_as_ids(texts[1])) < len(texts[1])
