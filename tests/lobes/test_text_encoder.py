import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from pengi_plugin.lobes.prefix_lm import PrefixLM
from pengi_plugin.lobes.text_encoder import (
    CLIPTextEncoder,
    TextEncoder,
    TokenEmbeddingEncoder,
    first_pooling,
    last_pooling,
    mean_pooling,
)
from tests.doubles import Letters

BERT = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 8,
    "intermediate_size": 8,
    "vocab_size": 32,
}
CLIP = {
    "model_type": "clip_text_model",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 6,
    "vocab_size": 32,
    "bos_token_id": 30,
    "eos_token_id": 31,
}


@pytest.mark.parametrize("pooling", [mean_pooling, first_pooling, last_pooling])
def test_padding_does_not_change_an_embedding(pooling):
    encoder = TextEncoder(Letters(), config=BERT, pooling=pooling)
    together = encoder(["thunder", "rain"])
    encoder.clear_cache()
    torch.testing.assert_close(encoder(["rain"])[0], together[1])


def test_poolings_pick_mean_first_and_last_of_the_real_tokens():
    encoder = TextEncoder(Letters(), config=BERT)
    ids = torch.tensor([[30, 1, 2, 31]])
    states = encoder.model(input_ids=ids).last_hidden_state[0]
    padded = torch.cat([states, torch.full((2, 8), 9.0)])[None]
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    torch.testing.assert_close(mean_pooling(padded, mask)[0], states.mean(0))
    torch.testing.assert_close(first_pooling(padded, mask)[0], states[0])
    torch.testing.assert_close(last_pooling(padded, mask)[0], states[-1])
    torch.testing.assert_close(encoder(["ab"])[0], states.mean(0))


def test_clip_gives_the_projected_state_of_the_first_end_token():
    encoder = CLIPTextEncoder(Letters(), config=CLIP, max_tokens=9)
    ids = torch.tensor([[30, 1, 2, 31]])
    states = encoder.model.base_model(input_ids=ids).last_hidden_state
    expected = states[:, 3] @ encoder.model.text_projection.weight.T
    torch.testing.assert_close(encoder(["ab"]), expected)


def test_each_distinct_prompt_is_encoded_once():
    encoder = TextEncoder(Letters(), config=BERT)
    seen = []
    encode_ids = encoder.encode_ids
    encoder.encode_ids = lambda ids: (seen.extend(ids), encode_ids(ids))[1]
    first = encoder(["rain", "dog", "rain"])
    again = encoder(["dog", "rain"])
    assert len(seen) == 2
    torch.testing.assert_close(first[[1, 0]], again)


def test_a_prompt_has_the_same_bits_in_any_company(root):
    # Of real width: in a batch, the sums of a product are rounded in another order.
    with open(root / "hparams" / "model" / "mini.yaml") as file:
        encoder = load_hyperpyyaml(file)["text_encoder"]
    prompts = [f"question: is there a {name} in it?" for name in ("harp", "dog", "gun")]
    prompts += ["generate audio caption", "music analysis", "this is a sound of"]
    prompts += [f"question: what comes after {n}?" for n in range(20)]
    together = encoder(prompts)
    encoder.clear_cache()
    alone = torch.stack([encoder([prompt])[0] for prompt in prompts])
    assert torch.equal(together, alone)


def test_loading_weights_drops_embeddings_of_the_old_ones():
    encoder = TextEncoder(Letters(), config=BERT)
    other = TextEncoder(Letters(), config=BERT)
    encoder(["rain"])
    encoder.load_state_dict(other.state_dict())
    torch.testing.assert_close(encoder(["rain"]), other(["rain"]))


def test_no_more_embeddings_are_kept_than_are_allowed():
    encoder = TextEncoder(Letters(), config=BERT)
    encoder.n_cached = 2
    encoder(["a", "b", "c"])
    assert list(encoder._cache) == ["b", "c"]


def test_an_encoder_stays_frozen_and_in_eval_mode_under_training():
    encoder = TextEncoder(Letters(), config=BERT)
    torch.nn.ModuleList([encoder]).train()
    assert not encoder.model.training
    assert not encoder(["rain"]).requires_grad


def test_a_prompt_longer_than_the_encoder_takes_is_refused_with_its_text():
    encoder = TextEncoder(Letters(), config=BERT, max_tokens=5)
    with pytest.raises(ValueError, match=r"has 6 tokens.*takes 5: 'rain'"):
        encoder(["rain"])


def test_without_text_encoder_a_prompt_is_the_lms_padded_embeddings():
    config = {"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 4}
    lm = PrefixLM(config={**config, "vocab_size": 32})
    encoder = TokenEmbeddingEncoder(lm, Letters(), prompt_end="z", n_token=5)
    table = lm.model.transformer.wte.weight
    expected = table[torch.tensor([1, 2, 26, 0, 0])]
    torch.testing.assert_close(encoder(["ab"])[0], expected)
    assert not list(encoder.parameters())
