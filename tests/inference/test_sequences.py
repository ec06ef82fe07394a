"""A model that reads sequences answers about whole recordings, in order of time."""

import numpy as np
import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml

from pengi_plugin.inference import DESCRIBE_PROMPTS, AudioLanguageModel
from pengi_plugin.inference.sequences import encode_recording

RATE, SECONDS = 16000, 2.55


@pytest.fixture(scope="module")
def model(root):
    torch.manual_seed(0)
    with open(root / "hparams" / "model" / "mini_sequence.yaml") as file:
        hparams = load_hyperpyyaml(file)
    return AudioLanguageModel(hparams["modules"], hparams)


@pytest.fixture
def record(tmp_path):
    """Return a function: tones in Hz, each as long as a window -> path of a file."""

    def make(*tones, cut=0.0):
        time = np.arange(round(SECONDS * RATE)) / RATE
        wave = np.concatenate([0.3 * np.sin(2 * np.pi * hz * time) for hz in tones])
        path = tmp_path / f"{'_'.join(map(str, tones))}_{cut}.wav"
        soundfile.write(path, wave[: len(wave) - round(cut * RATE)], RATE)
        return path

    return make


def test_windows_stand_one_behind_the_other_as_each_is_encoded_alone(model, record):
    whole = encode_recording(model, record(300, 900, 2000), batch_size=2)
    parts = [encode_recording(model, record(hertz)) for hertz in (300, 900, 2000)]
    assert whole.shape[1] == 3 * parts[0].shape[1]
    torch.testing.assert_close(whole, torch.cat(parts, dim=1), atol=2e-4, rtol=0)


def test_of_a_window_that_is_cut_only_what_was_recorded_is_kept(model, record):
    n_time = encode_recording(model, record(300)).shape[1]
    half = encode_recording(model, record(300, 900, cut=SECONDS / 2))
    assert half.shape[1] == n_time + n_time // 2
    short = encode_recording(model, record(300, cut=SECONDS - 0.01))
    assert short.shape[1] == 1


def test_an_answer_is_about_the_whole_recording_and_depends_on_its_order(model, record):
    one, other = record(300, 2000), record(2000, 300)
    prefixes = [
        model.encode_embeddings(encode_recording(model, path), "what comes first?")
        for path in (one, other)
    ]
    assert prefixes[0].shape == prefixes[1].shape
    assert not torch.allclose(prefixes[0], prefixes[1], atol=1e-2)
    answer = model.generate_after(prefixes[0], max_new_tokens=4)[0][0]
    asked = {"prompt": "what comes first?", "max_new_tokens": 4}
    assert model.generate_file(one, **asked) == answer
    assert model.generate_file(one, window="whole", **asked) == answer


def test_a_recording_beyond_the_limit_is_named(model, record, monkeypatch, caplog):
    path = record(300, 900, 2000)
    monkeypatch.setattr(model.hparams, "max_windows", 2)
    with pytest.raises(ValueError, match=r"has 3 windows of 2.55 s; the model reads 2"):
        model.generate_file(path, window="whole")
    first = model.generate_file(path, "what?", window="first", max_new_tokens=3)
    assert model.generate_file(path, "what?", max_new_tokens=3) == first
    assert "The answer is about the first" in caplog.text


def test_a_model_that_reads_one_vector_refuses_whole_recordings(tiny_folder, record):
    model = AudioLanguageModel.from_hparams(source=tiny_folder)
    with pytest.raises(
        ValueError, match="needs a model whose audio mapper reads a seq"
    ):
        model.generate_file(record(300), window="whole")


def test_likelihoods_of_a_model_that_reads_sequences_are_those_of_its_answers(
    model, record, tmp_path
):
    from pengi_plugin.protocols.likelihoods import answer_likelihoods
    from pengi_plugin.protocols.session import Session

    rows = [
        {"id": str(hz), "wav": str(record(hz)), "prompt": "what is it?"}
        for hz in (300, 2000)
    ]
    session = Session(model, tmp_path / "answers", {"model": "sequence"})
    found = answer_likelihoods(session, rows, ["dog", "rain"])
    clips = torch.stack([model.load_clip(row["wav"]) for row in rows])
    for column, text in enumerate(("dog", "rain")):
        scores = model.score_batch(clips, torch.ones(2), "what is it?", [text] * 2)
        np.testing.assert_allclose(found[:, column], scores.numpy(), atol=1e-3)


def test_methods_for_many_files_hear_all_of_each(model, record, tmp_path):
    paths = [record(300, 2000), record(900), record(2000, 300, 900)]
    asked = {"max_new_tokens": 4}
    whole = [
        model.generate_file(path, "what is it?", window="whole", **asked)
        for path in paths
    ]
    assert model.generate_files(paths, "what is it?", **asked) == whole
    absent = tmp_path / "absent.wav"
    found = list(model.answer_files([absent, paths[0]], "what is it?", **asked))
    assert [item.answer for item in found] == [None, whole[0]]
    assert isinstance(found[0].error, FileNotFoundError)
    with pytest.raises(ValueError, match="No search has the options"):
        model.answer_files(paths, "what is it?", beam_sise=3)


def test_every_method_hears_the_end_of_a_recording(model, record, monkeypatch):
    path, heard = record(300, 2000), []
    expected = encode_recording(model, path)[0]
    encode = model.encode_embeddings

    def listen(features, prompts):
        heard.append(features[0])
        return encode(features, prompts)

    monkeypatch.setattr(model, "encode_embeddings", listen)
    labels, asked = ["dog", "rain"], {"max_new_tokens": 2}
    n_prompt = len(DESCRIBE_PROMPTS)
    for call, n in (
        (lambda: model.describe_file(path, **asked), n_prompt),
        (lambda: list(model.describe_files([path, path], **asked)), 2 * n_prompt),
        (lambda: model.classify_file(path, labels), 1),
        (lambda: model.classify_file(path, labels, method="likelihood"), 1),
        (lambda: model.ranked_file(path, "what is it?", n_best=2), 1),
        (lambda: model.sample_file(path, "what is it?", n_samples=2, **asked), 1),
        (lambda: model.generate_files([path], "what is it?", **asked), 1),
    ):
        heard.clear()
        call()
        assert len(heard) == n
        for features in heard:
            torch.testing.assert_close(features, expected)


def test_of_a_recording_beyond_the_limit_every_method_hears_the_first_window(
    model, record, monkeypatch, caplog
):
    path, first = record(300, 900, 2000), record(300)
    asked = {"n_best": 2}
    expected = model.ranked_file(first, "what is it?", **asked)
    monkeypatch.setattr(model.hparams, "max_windows", 2)
    found = model.ranked_file(path, "what is it?", **asked)
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert "The answer is about the first" in caplog.text


def test_a_transcription_hears_the_end_of_a_recording(model, record, monkeypatch):
    heard = []
    encode = model.encode_embeddings
    monkeypatch.setattr(
        model,
        "encode_embeddings",
        lambda features, prompts: heard.append(features) or encode(features, prompts),
    )
    path = record(300, 2000)
    model.transcribe_file(path)
    assert heard[0].shape == encode_recording(model, path).shape
