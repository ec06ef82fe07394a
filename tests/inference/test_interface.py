"""A trained model with the methods of SpeechBrain's interfaces."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.inference.ASR import EncoderDecoderASR
from speechbrain.utils.fetching import FetchFrom, FetchSource

from pengi_plugin import precision
from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.decoders.sampling import PrefixSampler
from pengi_plugin.inference import AudioLanguageModel, recordings
from pengi_plugin.inference import precision as answering
from pengi_plugin.lobes.packed import PackedLinear
from pengi_plugin.pretrained.folder import load_folder
from pengi_plugin.pretrained.int8 import write_int8

RATE = 8000


def test_the_answers_of_this_model_depend_on_the_sound_and_the_prompt(model, noise):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(5)]))
    first = model.generate_batch(wavs, torch.ones(5), "what is it?")[0]
    other = model.generate_batch(wavs, torch.ones(5), "generate metadata")[0]
    assert len(set(first)) > 1
    assert first != other


def snippet(asr, path):
    """Use a model as one uses EncoderDecoderASR."""
    text = asr.transcribe_file(str(path))
    signal = asr.load_audio(str(path))
    wavs = torch.nn.utils.rnn.pad_sequence(
        [signal, signal[: len(signal) // 2]], batch_first=True
    )
    wav_lens = torch.tensor([1.0, 0.5])
    words, tokens = asr.transcribe_batch(wavs, wav_lens)
    same_words, same_tokens = asr(wavs, wav_lens)
    assert (words, list(tokens)) == (same_words, list(same_tokens))
    assert len(words) == len(tokens) == 2
    return text, words, tokens, asr.encode_batch(wavs, wav_lens)


class PrefixEncoder(torch.nn.Module):
    """What EncoderDecoderASR calls an encoder: Pengi with one prompt."""

    def __init__(self, model):
        super().__init__()
        self.model = [model]

    def forward(self, wavs, wav_lens):
        return self.model[0].encode_batch(wavs, wav_lens)


class PrefixDecoder(torch.nn.Module):
    """What EncoderDecoderASR calls a decoder; prefixes have no padding."""

    def __init__(self, searcher):
        super().__init__()
        self.searcher = searcher

    def forward(self, encoder_out, wav_lens):
        return self.searcher(encoder_out)


def test_a_snippet_for_encoder_decoder_asr_runs_unchanged(model, record):
    path = record("clip.wav", seconds=2.0)
    text, words, tokens, states = snippet(model, path)
    modules = {
        "encoder": PrefixEncoder(model),
        "decoder": PrefixDecoder(model.mods.searcher),
    }
    stock = EncoderDecoderASR(
        modules,
        {
            "tokenizer": model.tokenizer,
            "audio_normalizer": model.audio_normalizer,
        },
        run_opts={"device": "cpu"},
    )
    stock_text, stock_words, stock_tokens, stock_states = snippet(stock, path)
    assert list(tokens) == list(stock_tokens)
    assert [text, *words] == [t.strip() for t in (stock_text, *stock_words)]
    assert torch.equal(states, stock_states)


def test_transcribing_answers_the_default_prompt(model, record):
    path = record("clip.wav")
    default = model.hparams.default_prompt
    assert model.transcribe_file(path) == model.generate_file(path, default)


@pytest.mark.parametrize(
    "name", AudioLanguageModel.MODULES_NEEDED + AudioLanguageModel.HPARAMS_NEEDED
)
def test_what_the_yaml_lacks_is_named(hparams, name):
    modules = {k: v for k, v in hparams["modules"].items() if k != name}
    rest = {k: v for k, v in hparams.items() if k != name}
    with pytest.raises(ValueError, match=f"hyperparams.yaml lacks {name};"):
        AudioLanguageModel(modules, rest)


def test_an_end_mark_that_starts_otherwise_is_refused(hparams):
    with pytest.raises(ValueError, match=r"eos_index must be .*tokens \[2\]; got 3"):
        AudioLanguageModel(hparams["modules"], hparams | {"eos_index": 3})


def test_stereo_is_mixed_not_appended(model, noise, tmp_path):
    left, right = noise(0.7, 0), noise(0.7, 1)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right], 1), RATE, "FLOAT")
    wav = model.load_audio(tmp_path / "s.wav")
    np.testing.assert_allclose(wav, (left + right) / 2, atol=1e-6)
    clip = model.load_clip(tmp_path / "s.wav")
    np.testing.assert_allclose(clip[: len(left)], (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(clip[len(left) :], clip[: RATE - len(left)])
    stereo = torch.from_numpy(np.stack([left, right], 1))[None]
    mono = torch.from_numpy((left + right) / 2)[None]
    ones = torch.ones(1)
    torch.testing.assert_close(
        model.encode_audio(stereo, ones), model.encode_audio(mono, ones)
    )


def test_another_rate_sounds_the_same(model, noise, tmp_path):
    time = np.arange(44100) / 44100
    soundfile.write(tmp_path / "44.wav", np.sin(6.28 * 440 * time), 44100, "FLOAT")
    wav = model.load_audio(tmp_path / "44.wav")
    expected = np.sin(6.28 * 440 * np.arange(RATE) / RATE)
    assert len(wav) == RATE
    np.testing.assert_allclose(wav[200:-200], expected[200:-200], atol=0.02)


def test_short_recordings_are_repeated_without_their_padding(model, noise):
    short = torch.from_numpy(noise(0.3))
    whole = short.repeat(4)[:RATE]
    padded = torch.stack(
        [torch.nn.functional.pad(short, (0, RATE - len(short))), whole]
    )
    lengths = torch.tensor([len(short) / RATE, 1.0])
    embeddings = model.encode_audio(padded, lengths)
    torch.testing.assert_close(embeddings[0], embeddings[1])


def test_returned_tokens_hold_no_part_of_the_end_mark(model, noise):
    wavs = torch.from_numpy(noise(1.0))[None]
    for options in ({}, {"beam_size": 1}, {"max_new_tokens": 3}):
        _, tokens = model.generate_batch(wavs, torch.ones(1), **options)
        assert model.hparams.eos_index not in tokens[0]
        assert len(tokens[0]) <= options.get("max_new_tokens", 8)


def test_a_limit_changes_the_searcher_of_the_yaml_and_nothing_else_of_it(
    model, with_searcher, noise
):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(5)]))
    ones = torch.ones(5)
    default_beam = model.generate_batch(wavs, ones, "who?", max_new_tokens=6)
    for searcher_class, options in (
        (PrefixSampler, {"temperature": 5.0, "seed": 3}),
        (PrefixGreedySearcher, {}),
        (PrefixBeamSearcher, {"beam_size": 2}),
    ):
        longer = with_searcher(searcher_class, max_new_tokens=9, **options)
        shorter = with_searcher(searcher_class, max_new_tokens=6, **options)
        found = longer.generate_batch(wavs, ones, "who?", max_new_tokens=6)
        assert found == shorter.generate_batch(wavs, ones, "who?")
        assert found != default_beam
        assert found != longer.generate_batch(wavs, ones, "who?")


def test_options_of_another_search_choose_it_whatever_the_yaml_has(
    model, with_searcher, noise
):
    wavs, ones = torch.from_numpy(noise(1.0))[None], torch.ones(1)
    drawn = with_searcher(PrefixSampler, max_new_tokens=8, temperature=5.0, seed=3)
    beam = with_searcher(PrefixBeamSearcher, max_new_tokens=8, beam_size=3)
    greedy = with_searcher(PrefixGreedySearcher, max_new_tokens=8)
    for options, expected in (
        ({"temperature": 5.0, "seed": 3}, drawn),
        ({"beam_size": 3}, beam),
        ({"beam_size": 1}, greedy),
    ):
        answer = expected.generate_batch(wavs, ones, "who?")
        for one in (model, drawn, beam, greedy):
            assert one.generate_batch(wavs, ones, "who?", **options) == answer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1; got 0"),
        ({"beam_size": 0}, "beam_size must be at least 1; got 0"),
        ({"temperature": 0}, "temperature must be above 0; got 0"),
        ({"beam_size": 5, "temperature": 1.0}, "beam_size=5, temperature=1.0 together"),
        ({"beams": 5}, "No search has the options beams=5"),
    ],
)
def test_search_options_that_cannot_be_are_refused_by_name(
    model, noise, options, message
):
    wavs = torch.from_numpy(noise(1.0))[None]
    with pytest.raises(ValueError, match=message):
        model.generate_batch(wavs, torch.ones(1), "who?", **options)


def test_several_answers_to_a_prompt_are_refused_where_one_is_returned(
    model, with_searcher, noise
):
    wavs, ones = torch.from_numpy(noise(1.0))[None], torch.ones(1)
    with pytest.raises(ValueError, match="PrefixBeamSearcher returned several answers"):
        model.generate_batch(wavs, ones, topk=2, return_topk=True)
    several = with_searcher(PrefixSampler, n_samples=5, seed=1)
    with pytest.raises(ValueError, match=r"PrefixSampler .*sample_file.*n_samples=1"):
        several.generate_batch(wavs, ones)
    assert len(several.generate_batch(wavs, ones, n_samples=1)[0]) == 1


def test_loading_faults_are_shown(convert_golden, tmp_path):
    _, folder = convert_golden("base_no_text_enc_seed0")
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    shutil.copy(broken / "audio_projection.safetensors", broken / "lm.safetensors")
    with pytest.raises(ValueError, match=r"lm\.safetensors does not hold .*PrefixLM"):
        AudioLanguageModel.from_hparams(source=broken)
    (broken / "lm.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no lm\.safetensors"):
        AudioLanguageModel.from_hparams(source=broken)
    with pytest.raises(FileNotFoundError, match=r"holds no hyperparams\.yaml"):
        AudioLanguageModel.from_hparams(source=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*absent"):
        AudioLanguageModel.from_hparams(source=tmp_path / "absent")


# Precision


@pytest.fixture
def embed_at(tiny_folder, noise):
    """Return a function: run options -> their precision and an audio embedding."""
    wavs = torch.from_numpy(noise(1.0))[None]

    def embed(**run_opts):
        run_opts = {"device": "cpu", **run_opts}
        model = AudioLanguageModel.from_hparams(tiny_folder, run_opts=run_opts)
        return model.precision, model.encode_audio(wavs, torch.ones(1))

    return embed


@pytest.mark.parametrize(("has_half", "chosen"), [(True, "fp16"), (False, "fp32")])
def test_auto_takes_weights_of_16_bits_on_a_cpu_that_multiplies_them(
    embed_at, has_half, chosen, monkeypatch, caplog
):
    monkeypatch.setattr(precision, "bf16_speedup", lambda: 4.0)
    monkeypatch.setattr(answering, "has_half", lambda: has_half)
    with caplog.at_level("INFO"):
        name, embedding = embed_at(precision="auto")
    assert name == chosen
    assert f"precision: {chosen}, chosen because" in caplog.text
    _, expected = embed_at(precision=chosen)
    assert torch.equal(embedding, expected)


def test_the_default_is_fp32_where_others_are_faster(embed_at, monkeypatch):
    monkeypatch.setattr(precision, "bf16_speedup", lambda: 4.0)
    name, embedding = embed_at()
    assert name == "fp32"
    for other, tolerance in (("fp16", 0.002), ("bf16", 0.05)):
        rounded = embed_at(precision=other)[1]
        torch.testing.assert_close(embedding, rounded.float(), rtol=0, atol=tolerance)
        assert not torch.equal(embedding, rounded.float())
    assert embed_at(precision="fp16")[1].dtype == torch.float32


def test_bf16_on_a_cpu_is_computed_and_warned_of(embed_at, caplog):
    assert embed_at(precision="bf16")[0] == "bf16"
    assert "fp16 is faster" in caplog.text


def test_fp16_without_its_kernels_or_with_gradients_or_int8_is_refused(
    tiny_folder, monkeypatch
):
    def load(**options):
        run_opts = {"device": "cpu", "precision": "fp16"}
        AudioLanguageModel.from_hparams(tiny_folder, run_opts=run_opts, **options)

    load()
    with pytest.raises(ValueError, match="freeze_params=False, int8=False"):
        load(freeze_params=False)
    with pytest.raises(ValueError, match="int8=True"):
        load(int8=True)
    monkeypatch.setattr(answering, "has_half", lambda: False)
    with pytest.raises(ValueError, match="missing for this CPU"):
        load()


@pytest.mark.parametrize("options", [{"int8": True}, {"freeze_params": False}])
def test_auto_is_fp32_where_weights_cannot_be_rounded_to_16_bits(tiny_folder, options):
    run_opts = {"device": "cpu", "precision": "auto"}
    model = AudioLanguageModel.from_hparams(tiny_folder, run_opts=run_opts, **options)
    assert model.precision == "fp32"


def test_a_folder_in_int8_is_not_called_fp16(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "model")
    write_int8(tmp_path / "model")

    def load(precision):
        run_opts = {"device": "cpu", "precision": precision}
        return AudioLanguageModel.from_hparams(tmp_path / "model", run_opts=run_opts)

    assert load("auto").precision == "fp32"
    with pytest.raises(ValueError, match="int8=True"):
        load("fp16")


def test_a_precision_of_the_yaml_is_checked_too(tiny_folder, monkeypatch):
    hparams = load_folder(tiny_folder)
    hparams |= {"precision": "fp16", "device": "cpu"}
    assert AudioLanguageModel(hparams["modules"], hparams).precision == "fp16"
    monkeypatch.setattr(answering, "has_half", lambda: False)
    with pytest.raises(ValueError, match="missing for this CPU"):
        AudioLanguageModel(hparams["modules"], hparams)


def test_a_model_that_comes_to_a_cpu_is_packed_for_its_precision(
    tiny_folder, monkeypatch
):
    run_opts = {"device": "cpu", "precision": "fp16"}
    with monkeypatch.context() as elsewhere:  # as on a GPU
        elsewhere.setattr(recordings, "pack_linears", lambda *_, **options: None)
        model = AudioLanguageModel.from_hparams(tiny_folder, run_opts=run_opts)

    def rounds():
        parts = model.mods.modules()
        return [part.half_weights for part in parts if type(part) is PackedLinear]

    assert not rounds()
    model.to("cpu")
    assert rounds()
    assert all(rounds())


@pytest.fixture
def same_answer(tiny_folder, record):
    """Return a function that says whether a model answers as the folder's does."""
    path = record("clip.wav")
    expected = AudioLanguageModel.from_hparams(tiny_folder).transcribe_file(path)
    return lambda model: model.transcribe_file(path) == expected


def test_a_folder_loads_by_way_of_a_savedir(tiny_folder, same_answer, tmp_path):
    savedir = tmp_path / "saved"
    model = AudioLanguageModel.from_hparams(str(tiny_folder), savedir=savedir)
    assert same_answer(model)
    assert (savedir / "lm.ckpt").resolve() == tiny_folder / "lm.safetensors"


def test_a_folder_loads_from_a_hub_as_it_is(tiny_folder, same_answer, monkeypatch):
    asked = []

    def download(repo_id, filename, **_):
        asked.append((repo_id, filename))
        return str(tiny_folder / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    for source in ("me/pengi", FetchSource(FetchFrom.HUGGING_FACE, "me/pengi")):
        asked.clear()
        assert same_answer(AudioLanguageModel.from_hparams(source))
        files = {path.name for path in tiny_folder.iterdir()} - {"README.md"}
        assert set(asked) == {("me/pengi", file) for file in files}


def test_a_recording_that_the_hub_lacks_either_is_named(model):
    with pytest.raises(FileNotFoundError, match="gone/sub is not a path on this"):
        model.load_clip("gone/sub/street.wav")


def test_a_model_that_the_hub_lacks_either_is_named():
    with pytest.raises(FileNotFoundError, match="gone/model is not a path on this"):
        AudioLanguageModel.from_hparams(source="gone/model")
