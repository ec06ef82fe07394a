import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    ClapAudioConfig,
    ClapAudioModelWithProjection,
    ClapConfig,
    ClapModel,
    ClapTextConfig,
)

from pengi_plugin.conversion.clap import load_clap
from pengi_plugin.lobes.audio_encoder import AudioEncoder
from pengi_plugin.lobes.htsat import HTSAT

SIZES = {"n_mels": 16, "spec_size": 32, "dim": 8, "depths": [2, 2], "window": 4}
LAION_SIZES = {
    "num_mel_bins": 16,
    "spec_size": 32,
    "patch_embeds_hidden_size": 8,
    "hidden_size": 16,
    "depths": [2, 2],
    "num_attention_heads": [2, 4],
    "num_hidden_layers": 2,
    "window_size": 4,
}


def encoder(**changes):
    return AudioEncoder(HTSAT(**{**SIZES, "heads": [2, 4], **changes})).eval()


def randomise(module):
    """Give every weight and statistic a value that no initialisation would."""
    torch.manual_seed(3)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn_like(value) * 0.3
            value.copy_(noise.abs() + 0.5 if name.endswith("running_var") else noise)


def ms_clap_file(folder, prefix="", **changes):
    """Write a file laid out as CLAP_weights_2023.pth, and return it with its HTSAT."""
    htsat = encoder(**changes).encoder
    randomise(htsat)
    weights = {f"audio_encoder.base.htsat.{k}": v for k, v in htsat.named_buffers()}
    weights |= {
        f"audio_encoder.base.htsat.{k}": v for k, v in htsat.state_dict().items()
    }
    for name, shape in {
        "audio_encoder.base.htsat.bn0.num_batches_tracked": (),
        "audio_encoder.base.htsat.tscam_conv.weight": (5, 16, 2, 3),
        "audio_encoder.base.htsat.tscam_conv.bias": (5,),
        "audio_encoder.base.htsat.head.weight": (5, 5),
        "audio_encoder.base.htsat.head.bias": (5,),
        "audio_encoder.base.htsat.spectrogram_extractor.stft.conv_real.weight": (
            3,
            1,
            4,
        ),
        "audio_encoder.base.htsat.spectrogram_extractor.stft.conv_imag.weight": (
            3,
            1,
            4,
        ),
        "audio_encoder.base.htsat.logmel_extractor.melW": (3, 16),
        "audio_encoder.projection.linear1.weight": (6, 16),
        "caption_encoder.base.wte.weight": (7, 4),
        "logit_scale": (),
    }.items():
        weights[name] = torch.zeros(shape)
    path = folder / "CLAP_weights_2023.pth"
    torch.save({"model": {prefix + k: v for k, v in weights.items()}}, path)
    return path, htsat


def rewrite(path, change):
    content = torch.load(path)
    change(content["model"])
    torch.save(content, path)


def laion_folder(folder, whole=True, **changes):
    """Save a small LAION-CLAP with transformers, and return its audio model."""
    audio = ClapAudioConfig(**{**LAION_SIZES, **changes})
    if whole:
        text = ClapTextConfig(
            vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2
        )
        model = ClapModel(
            ClapConfig(
                text_config=text.to_dict(),
                audio_config=audio.to_dict(),
                projection_dim=6,
            )
        )
    else:
        model = ClapAudioModelWithProjection(audio)
    randomise(model.audio_model)
    model.save_pretrained(folder)
    return model.audio_model.eval()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_ms_clap_file_gives_the_encoder_it_was_written_from(tmp_path, prefix):
    path, htsat = ms_clap_file(tmp_path, prefix)
    loaded = encoder()
    load_clap(loaded, str(path))
    mel = torch.randn(2, 60, 16)
    with torch.no_grad():
        assert torch.equal(loaded.encoder(mel), htsat(mel))


@pytest.mark.parametrize("whole", [True, False], ids=["ClapModel", "audio only"])
def test_a_laion_folder_computes_what_transformers_computes(tmp_path, whole):
    theirs = laion_folder(tmp_path, whole)
    ours = encoder()
    load_clap(ours, str(tmp_path))
    for n_frames in (60, 64):  # stretched and not
        mel = torch.randn(2, n_frames, 16) * 3
        with torch.no_grad():
            expected = theirs(input_features=mel[:, None]).pooler_output
            torch.testing.assert_close(
                ours.encoder(mel), expected, atol=1e-5, rtol=1e-4
            )


def test_the_2022_weights_are_refused_by_name(tmp_path):
    path = tmp_path / "CLAP_weights_2022.pth"
    weights = {"audio_encoder.base.conv_block1.conv1.weight": torch.zeros(2)}
    torch.save({"model": weights}, path)
    with pytest.raises(ValueError, match=r"MS-CLAP 2022.*Cnn14.*2023"):
        load_clap(encoder(), str(path))


def test_a_fused_laion_model_is_refused_by_name(tmp_path):
    ClapAudioConfig(**LAION_SIZES, enable_fusion=True).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"feature fusion.*clap-htsat-unfused"):
        load_clap(encoder(), str(tmp_path))


def test_another_kind_of_model_is_refused_by_name(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"'bert' model; give a CLAP"):
        load_clap(encoder(), str(tmp_path))


def test_missing_unexpected_and_misshaped_weights_are_named(tmp_path):
    path, _ = ms_clap_file(tmp_path)
    start = "audio_encoder.base.htsat."

    def spoil(weights):
        del weights[f"{start}layers.0.blocks.1.attn.qkv.weight"]
        weights[f"{start}layers.0.blocks.9.attn.qkv.weight"] = torch.zeros(1)
        weights[f"{start}norm.weight"] = torch.zeros(3)

    rewrite(path, spoil)
    loaded = encoder()
    before = loaded.encoder.norm.weight.clone()
    with pytest.raises(ValueError, match="does not fit") as error:
        load_clap(loaded, str(path))
    message = str(error.value)
    assert "lacks layers.0.blocks.1.attn.qkv.weight" in message
    assert "unexpected layers.0.blocks.9.attn.qkv.weight" in message
    assert "norm.weight as [3], not [16]" in message
    assert torch.equal(loaded.encoder.norm.weight, before)


def test_a_laion_model_of_another_depth_is_refused_with_the_names(tmp_path):
    laion_folder(tmp_path, depths=[2, 3])
    with pytest.raises(ValueError, match=r"unexpected layers\.1\.blocks\.2\.attn\.qkv"):
        load_clap(encoder(), str(tmp_path))


def test_a_laion_folder_that_lacks_a_weight_is_refused_with_its_name(tmp_path):
    laion_folder(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["audio_model.audio_encoder.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks \['audio_model.*encoder\.norm\.wei"):
        load_clap(encoder(), str(tmp_path))


def test_a_pickle_with_code_is_refused(tmp_path):
    class Code:
        def __reduce__(self):
            return print, ("executed",)

    path = tmp_path / "model.pth"
    torch.save({"model": Code()}, path)
    with pytest.raises(ValueError, match=r"model\.pth could not be read.*weights only"):
        load_clap(encoder(), str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, r"no weights under 'model'.*\['state_dict'\]"),
        ({"model": {"gpt.wte": torch.zeros(1)}}, r"no audio_encoder\.base\.htsat.*gpt"),
    ],
)
def test_another_layout_is_refused_with_what_was_found(tmp_path, content, message):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        load_clap(encoder(), str(path))


@pytest.mark.parametrize(
    "source",
    [
        "missing.pth",
        "weights/missing.pth",
        "./a/b/missing.pth",
        "/nowhere/a/missing.pth",
        "here/runs/missing.pth",
        "a/b/c",
    ],
)
def test_a_missing_path_is_not_taken_for_a_hub_name(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(FileNotFoundError, match=f"no file or folder {source}"):
        load_clap(encoder(), source)


@pytest.mark.parametrize("source", ["owner/name/CLAP_weights_2023.pth", "owner/name"])
def test_a_hub_name_that_cannot_be_reached_says_so(source):
    with pytest.raises(FileNotFoundError, match=r"^owner/name is n.* hub"):
        load_clap(encoder(), source)


def test_a_hub_file_is_asked_for_by_repository_and_path(tmp_path, monkeypatch):
    path, htsat = ms_clap_file(tmp_path)
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    loaded = encoder()
    load_clap(loaded, "microsoft/msclap/some/CLAP_weights_2023.pth")
    assert asked == [("microsoft/msclap", "some/CLAP_weights_2023.pth")]
    assert torch.equal(loaded.encoder.norm.weight, htsat.norm.weight)


def test_only_an_htsat_can_take_clap_weights():
    with pytest.raises(ValueError, match=r"audio encoder is a Linear"):
        load_clap(AudioEncoder(torch.nn.Linear(2, 2)), "any.pth")
