"""A tiny CLAP as an interface, from the folder that a run exports."""

import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML

from pengi_plugin.conversion.clap import load_clap
from pengi_plugin.inference import AudioTextModel
from pengi_plugin.pretrained.write import write_model


@pytest.fixture(scope="module")
def exported(root, tmp_path_factory):
    torch.manual_seed(4)
    path = root / "hparams" / "model" / "clap_tiny.yaml"
    with open(path) as file:
        section = YAML().load(resolve_references(file))
    with open(path) as file:
        hparams = load_hyperpyyaml(file)
    hparams["temperature"].logit_scale.data.fill_(1.5)
    folder = tmp_path_factory.mktemp("clap")
    write_model(folder, section, hparams)
    return hparams["clap"].eval(), folder


@pytest.fixture(scope="module")
def model(exported):
    return AudioTextModel.from_hparams(source=str(exported[1]))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    torch.manual_seed(5)
    paths = []
    for hertz in (100, 700, 3000):
        wav = torch.sin(torch.arange(8000) / 8000 * 6.283 * hertz) * 0.3
        paths.append(str(folder / f"{hertz}.wav"))
        soundfile.write(paths[-1], wav.numpy(), 8000)
    return paths


def test_an_exported_clap_embeds_as_the_one_that_was_written(exported, model):
    clap, folder = exported
    wavs, texts = torch.randn(2, 8000) / 10, ["a dog", "rain on a roof"]
    with torch.no_grad():
        audio, text, scale = clap(wavs, torch.ones(2), texts)
    torch.testing.assert_close(model.encode_audio(wavs, torch.ones(2)), audio)
    torch.testing.assert_close(model.encode_text(texts), text)
    assert model.mods.clap.temperature().item() == scale.item() != 1 / 0.07
    assert (folder / "text_tokenizer.model").is_file()
    assert "clap" in (folder / "README.md").read_text().lower()


def test_labels_are_ranked_by_the_cosine_of_the_prompt_and_the_clip(model, files):
    labels = ["dog", "rain", "wind"]
    ranking = model.classify_file(files[0], labels, "a recording of {label}")
    audio = model.encode_audio(model.load_clip(files[0])[None], torch.ones(1))[0]
    texts = model.encode_text([f"a recording of {label}" for label in labels])
    expected = dict(zip(labels, (texts @ audio).tolist(), strict=True))
    assert dict(ranking) == pytest.approx(expected, abs=1e-5)
    assert [score for _, score in ranking] == sorted(expected.values(), reverse=True)
    default = model.classify_file(files[0], labels)
    written = model.classify_file(files[0], labels, "this is a sound of {label}")
    assert default == written != ranking


def test_an_unreadable_file_does_not_stop_the_others(model, files, tmp_path):
    (tmp_path / "bad.wav").write_text("no audio")
    paths = [files[0], str(tmp_path / "bad.wav"), files[1]]
    found = list(model.classify_files(paths, ["dog", "rain"], batch_size=2))
    assert [answer.error is None for answer in found] == [True, False, True]
    alone = model.classify_file(files[1], ["dog", "rain"])
    assert dict(found[2].answer) == pytest.approx(dict(alone), abs=1e-5)


def test_retrieval_ranks_files_for_a_text_and_texts_for_a_file(model, files):
    texts = ["low", "middle", "a very high tone"]
    cosines = model.encode_files(files) @ model.encode_text(texts).T
    best = model.retrieve_audio(texts[2], files, n_best=2)
    order = cosines[:, 2].argsort(descending=True)
    assert [path for path, _ in best] == [files[i] for i in order[:2]]
    best = model.retrieve_texts(files[1], texts, n_best=3)
    order = cosines[1].argsort(descending=True)
    assert [text for text, _ in best] == [texts[i] for i in order]


def test_what_cannot_be_classified_is_refused(model, files):
    with pytest.raises(ValueError, match=r"list of texts; got 'dog'"):
        model.classify_file(files[0], "dog")
    with pytest.raises(ValueError, match=r"needs '\{label\}' in it; got 'sound'"):
        model.classify_file(files[0], ["dog"], "sound")


def test_pengi_starts_from_the_audio_encoder_of_an_exported_clap(root, exported):
    clap, folder = exported
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        pengi = load_hyperpyyaml(file)["pengi"]
    wavs = torch.randn(2, 8000) / 10
    ours = pengi.audio_encoder.eval()
    with torch.no_grad():
        assert not torch.equal(ours(wavs), clap.audio_encoder(wavs))
        load_clap(ours, str(folder))
        assert torch.equal(ours(wavs), clap.audio_encoder(wavs))


def test_an_exported_clap_of_other_features_is_refused(root, exported):
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        features = load_hyperpyyaml(file, {"features": {"f_max": 3000}})
    with pytest.raises(ValueError, match=r"trained on other features.*bands"):
        load_clap(features["audio_encoder"], str(exported[1]))
