import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pengi_plugin.lobes.mapping import MLPPrefixMapper
from pengi_plugin.lobes.pengi import Pengi
from pengi_plugin.lobes.prefix_lm import PrefixLM
from pengi_plugin.lobes.sequence_mapping import TimePrefixMapper
from pengi_plugin.lobes.text_encoder import TokenEmbeddingEncoder
from tests.doubles import Letters

LM = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16, "vocab_size": 30}


class FourMeans(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, wavs, wav_lens):
        return self.linear(wavs.unflatten(1, (4, -1)).mean(-1))


def make_pengi(seed=0, **changes):
    torch.manual_seed(seed)
    lm = PrefixLM(config=LM)
    for parameter in lm.parameters():  # large enough for the prefix to matter
        parameter.data.normal_(std=0.5)
    parts = {
        "audio_encoder": FourMeans(),
        "audio_projection": nn.Linear(4, 6),
        "audio_mapper": MLPPrefixMapper(6, 16, n_prefix=2),
        "text_encoder": nn.Sequential(
            TokenEmbeddingEncoder(lm, Letters(), prompt_end="", n_token=6),
            nn.Flatten(),
        ),
        "text_projection": nn.Linear(96, 6),
        "text_mapper": MLPPrefixMapper(6, 16, n_prefix=2),
        "lm": lm,
    }
    return Pengi(**{**parts, **changes})


@pytest.mark.parametrize("normalize_prompt", [True, False])
def test_the_prefix_is_the_mapped_audio_then_the_mapped_prompt(normalize_prompt):
    pengi = make_pengi(normalize_prompt=normalize_prompt)
    wavs, lens = torch.randn(2, 80), torch.ones(2)
    audio = pengi.audio_projection(pengi.audio_encoder(wavs, lens))
    audio = audio / audio.square().sum(-1, keepdim=True).sqrt()
    prompt = pengi.text_projection(pengi.text_encoder(["what", "who"]))
    if normalize_prompt:
        prompt = prompt / prompt.square().sum(-1, keepdim=True).sqrt()
    expected = torch.cat([pengi.audio_mapper(audio), pengi.text_mapper(prompt)], 1)
    torch.testing.assert_close(pengi.encode(wavs, lens, ["what", "who"]), expected)


def test_prompts_that_share_a_clip_get_what_each_gets_alone():
    pengi = make_pengi()
    wavs, lens = torch.randn(2, 80), torch.ones(2)
    prompts = ["what", "who", "where"]
    index = torch.tensor([1, 0, 1])
    together = pengi.encode(wavs, lens, prompts, clip_index=index)
    alone = pengi.encode(wavs[index], torch.ones(3), prompts)
    torch.testing.assert_close(together, alone)
    with pytest.raises(ValueError, match="Got 3 prompts for 2 clips"):
        pengi.encode(wavs, lens, prompts)


def test_training_lowers_the_loss_and_leaves_frozen_parts_bit_identical():
    pengi = make_pengi().train()
    frozen = {key: value.clone() for key, value in pengi.lm.state_dict().items()}
    trained = [p for p in pengi.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 0.02)
    wavs, lens = torch.randn(4, 80), torch.ones(4)
    ids = torch.tensor([[5, 6, 2], [7, 2, 0], [8, 9, 2], [9, 2, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0]]).bool()
    losses = []
    for _ in range(80):
        log_probs = pengi(wavs, lens, ["what"] * 4, ids, mask)
        losses.append(-log_probs.sum() / mask.sum())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]
    for key, value in pengi.lm.state_dict().items():
        assert torch.equal(value, frozen[key]), key


def test_a_checkpoint_holds_trained_parts_only_and_brings_them_back(tmp_path):
    pengi, other = make_pengi(seed=0), make_pengi(seed=1)
    other.lm.load_state_dict(pengi.lm.state_dict())
    pengi._save(tmp_path / "pengi.ckpt")
    saved = torch.load(tmp_path / "pengi.ckpt", weights_only=True)
    assert {key.split(".")[0] for key in saved} == {
        "audio_encoder",
        "audio_projection",
        "audio_mapper",
        "text_projection",
        "text_mapper",
    }
    other._load(tmp_path / "pengi.ckpt", end_of_epoch=True)
    wavs, lens = torch.randn(2, 80), torch.ones(2)
    torch.testing.assert_close(
        other.encode(wavs, lens, ["what", "who"]),
        pengi.encode(wavs, lens, ["what", "who"]),
    )


def test_a_checkpoint_of_another_model_is_refused_with_every_wrong_key():
    pengi = make_pengi()
    state = pengi.trained_state()
    state["audio_projection.weight"] = torch.zeros(3, 4)
    state["head.weight"] = state.pop("text_projection.bias")
    with pytest.raises(ValueError, match="another model") as caught:
        pengi.load_trained_state(state)
    assert "audio_projection.weight has shape [3, 4], not [6, 4]" in str(caught.value)
    assert "head.weight is unexpected" in str(caught.value)
    assert "text_projection.bias is missing" in str(caught.value)


def test_a_mapper_of_another_width_than_the_lm_is_refused():
    with pytest.raises(ValueError, match="text_mapper writes vectors of width 10"):
        make_pengi(text_mapper=MLPPrefixMapper(6, 10, n_prefix=2))


def test_audio_embeddings_have_unit_length():
    embedding = make_pengi().encode_audio(torch.randn(3, 80), torch.ones(3))
    torch.testing.assert_close(F.normalize(embedding), embedding)


def test_a_clip_heard_over_time_is_mapped_as_a_sequence_and_embedded_as_its_mean():
    class FiveTimes(nn.Module):
        def forward(self, wavs, wav_lens):
            return wavs.unflatten(1, (5, 4, -1)).mean(-1)

    mapper = TimePrefixMapper(6, 16, n_prefix=2, n_head=2)
    pengi = make_pengi(audio_encoder=FiveTimes(), audio_mapper=mapper)
    wavs, lens = torch.randn(3, 80), torch.ones(3)
    heard = pengi.audio_features(wavs, lens)
    assert heard.shape == (3, 5, 6)
    torch.testing.assert_close(heard.norm(dim=-1), torch.ones(3, 5))
    embedding = pengi.encode_audio(wavs, lens)
    torch.testing.assert_close(embedding, F.normalize(heard.sum(1), dim=-1))
    prompts = ["abc", "def", "abc"]
    prefix = pengi.encode(wavs, lens, prompts)
    torch.testing.assert_close(prefix[:, :2], pengi.audio_mapper(heard))
    torch.testing.assert_close(prefix, pengi.make_prefix(heard, prompts))
    _, returned = pengi(
        wavs, lens, prompts, torch.ones(3, 2).long(), with_embedding=True
    )
    torch.testing.assert_close(returned, embedding)
