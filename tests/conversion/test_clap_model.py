"""Released CLAP layouts in our CLAP: pseudo-random weights, small configurations."""

import pytest
import torch
from transformers import ClapConfig, ClapModel, ClapTextConfig, GPT2Config, GPT2Model

from pengi_plugin.conversion.clap_model import load_clap_model
from pengi_plugin.lobes.audio_encoder import AudioEncoder
from pengi_plugin.lobes.clap import Clap, Temperature
from pengi_plugin.lobes.htsat import HTSAT
from pengi_plugin.lobes.projection import MLPProjection, ProjectionHead
from pengi_plugin.lobes.text_encoder import TextEncoder, last_pooling
from tests.conversion.test_clap import LAION_SIZES, SIZES, ms_clap_file, randomise
from tests.doubles import Letters

TEXT = {
    **{"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "intermediate_size": 16},
}
#: The text tower of a ClapModel is a RoBERTa with these.
ROBERTA = {**TEXT, "max_position_embeddings": 514, "layer_norm_eps": 1e-12}
ROBERTA |= {"type_vocab_size": 1}
GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 8, "vocab_size": 40}


class Mel(torch.nn.Module):
    """Stands for features: a clip is its log-mel spectrum, flat."""

    def forward(self, wavs):
        return wavs.unflatten(1, (-1, 16))


def audio_encoder():
    return AudioEncoder(HTSAT(**SIZES, heads=[2, 4]), Mel())


def laion_clap():
    text = TextEncoder(
        Letters((0, 2)), config={"model_type": "roberta", **ROBERTA}, pooling=None
    )
    projections = MLPProjection(16, 6), MLPProjection(8, 6)
    return Clap(audio_encoder(), projections[0], text, projections[1], Temperature())


def ms_clap():
    text = TextEncoder(
        Letters(), config={"model_type": "gpt2", **GPT2}, pooling=last_pooling
    )
    projections = ProjectionHead(16, 6), ProjectionHead(8, 6)
    return Clap(audio_encoder(), projections[0], text, projections[1], Temperature())


@pytest.fixture
def laion(tmp_path):
    config = ClapConfig(
        text_config=ClapTextConfig(**TEXT).to_dict(),
        audio_config={**LAION_SIZES, "model_type": "clap_audio_model"},
        projection_dim=6,
    )
    model = ClapModel(config).eval()
    randomise(model)
    model.logit_scale_a.data.fill_(2.0)
    model.save_pretrained(tmp_path)
    return model, str(tmp_path)


def unit(x):
    x = getattr(x, "pooler_output", x)
    return x / x.norm(dim=-1, keepdim=True)


@torch.no_grad()
def test_a_laion_clap_gives_the_embeddings_of_transformers(laion):
    theirs, folder = laion
    ours = laion_clap().eval()
    load_clap_model(ours, folder)
    mel = torch.randn(2, 64, 16) * 3
    expected = theirs.get_audio_features(input_features=mel[:, None])
    found = ours.encode_audio(mel.flatten(1), torch.ones(2))
    torch.testing.assert_close(found, unit(expected), atol=1e-5, rtol=1e-4)
    for text in ("dog", "thunder"):
        ids = torch.tensor([ours.text_encoder.prompt_ids(text)])
        expected = theirs.get_text_features(
            input_ids=ids, attention_mask=torch.ones_like(ids)
        )
        found = ours.encode_text([text])
        torch.testing.assert_close(found, unit(expected), atol=1e-5, rtol=1e-4)
    assert ours.temperature().item() == pytest.approx(torch.tensor(2.0).exp().item())


@torch.no_grad()
def test_an_ms_clap_file_gives_the_embeddings_of_its_parts(tmp_path):
    path, htsat = ms_clap_file(tmp_path)
    gpt = GPT2Model(GPT2Config(**GPT2)).eval()
    heads = [ProjectionHead(16, 6).eval(), ProjectionHead(8, 6).eval()]
    for module in (gpt, *heads):
        randomise(module)
    content = torch.load(path)
    weights = {
        name: value
        for name, value in content["model"].items()
        if name.startswith("audio_encoder.base.")
    }
    parts = {
        "audio_encoder.projection": heads[0],
        "caption_encoder.projection": heads[1],
    }
    parts["caption_encoder.base"] = gpt
    for start, module in parts.items():
        weights |= {f"{start}.{k}": v for k, v in module.state_dict().items()}
    weights["caption_encoder.base.h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
    weights["logit_scale"] = torch.tensor(3.0)
    torch.save({"model": weights}, path)

    ours = ms_clap().eval()
    load_clap_model(ours, str(path))
    mel = torch.randn(2, 60, 16)
    found = ours.encode_audio(mel.flatten(1), torch.ones(2))
    torch.testing.assert_close(found, unit(heads[0](htsat(mel))))
    ids = torch.tensor([ours.text_encoder.prompt_ids("rain")])
    last = gpt(input_ids=ids).last_hidden_state[:, -1]
    torch.testing.assert_close(ours.encode_text(["rain"]), unit(heads[1](last)))
    assert ours.temperature().item() == pytest.approx(torch.tensor(3.0).exp().item())


def test_a_model_of_another_size_is_refused_with_the_names(laion):
    _, folder = laion
    clap = laion_clap()
    clap.text_projection = MLPProjection(8, 5)
    with pytest.raises(ValueError, match=r"text_projection\.linear1\.weight as \[6, 8"):
        load_clap_model(clap, folder)
