"""The graphs of a model give what the model gives, and the example its answers."""

import importlib.util
import json
import wave

import numpy as np
import pytest
import torch

from pengi_plugin.__main__ import main
from pengi_plugin.conversion.onnx_export import check_free, check_model, prompt_form
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.lobes.prefix_lm import PrefixLM
from pengi_plugin.lobes.text_encoder import CLIPTextEncoder, TokenEmbeddingEncoder
from tests.doubles import Letters

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package, reason="needs pip install 'pengi-plugin[onnx]'")
import onnx  # noqa: E402

PROMPTS = ("generate audio caption", "question: what is it?", "dog")
#: Of the largest value, in prefixes and log-probabilities: float32 sums in other order.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def example(root):
    path = root / "recipes" / "onnx" / "answer.py"
    spec = importlib.util.spec_from_file_location("onnx_answer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "model"
    assert main(["export-onnx", str(tiny_folder), str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def model(tiny_folder):
    return AudioLanguageModel.from_hparams(
        source=tiny_folder, run_opts={"device": "cpu"}
    )


@pytest.fixture(scope="module")
def answerer(example, exported):
    return example.Answerer(exported, n_thread=1)


@pytest.fixture(scope="module")
def clips():
    draw = np.random.default_rng(0)
    return [draw.standard_normal(n).astype(np.float32) / 10 for n in (8000, 3000, 9999)]


def close(ours, theirs):
    difference = np.abs(np.asarray(ours) - np.asarray(theirs)).max()
    return difference < TOLERANCE * np.abs(np.asarray(theirs)).max()


def as_batch(clip):
    return torch.from_numpy(clip)[None], torch.ones(1)


def test_prefixes_are_the_models(answerer, model, clips):
    for clip in clips:
        for prompt in PROMPTS:
            halves = [answerer.encode_clip(clip), answerer.encode_prompt(prompt)]
            theirs = model.encode_batch(*as_batch(clip), prompt)
            assert close(np.concatenate(halves, axis=1), theirs)


def test_greedy_answers_are_the_models(answerer, model, clips):
    found = set()
    for clip in clips:
        for prompt in PROMPTS:
            answers, tokens = model.generate_batch(*as_batch(clip), prompt, beam_size=1)
            assert answerer.answer(clip, prompt) == (answers[0], tokens[0])
            found.add(answers[0])
    assert len(found) > 1


def test_graphs_read_several_rows_at_once(answerer, clips):
    wavs = np.stack([np.resize(clip, 8000) for clip in clips])
    ids = np.array([[5, 7, 9, 2], [11, 3, 8, 6], [4, 4, 12, 30]])
    prefix = answerer.run("audio", wav=wavs)[0]
    layers, pair, _, *rest = answerer.settings["past"]
    empty = np.zeros((layers, pair, len(clips), *rest), np.float32)
    found = {
        "audio": prefix,
        "prompt": answerer.run("prompt", ids=ids)[0],
        "lm": answerer.run("lm", prefix=prefix, ids=ids, past=empty)[0],
    }
    for row in range(len(clips)):
        one = slice(row, row + 1)
        inputs = {
            "audio": {"wav": wavs[one]},
            "prompt": {"ids": ids[one]},
            "lm": {"prefix": prefix[one], "ids": ids[one], "past": empty[:, :, one]},
        }
        for name, values in inputs.items():
            assert close(found[name][one], answerer.run(name, **values)[0])
        assert not close(found["lm"][one], found["lm"][row - 1])


def test_an_axis_that_became_a_constant_is_refused():
    value = onnx.helper.make_tensor_value_info("ids", 7, [2, "n_id"])
    check_free([value], ({1: "n_id"},))
    with pytest.raises(ValueError, match=r"axes of ids .* axis -> size: \{0: 2\}"):
        check_free([value], ({0: "batch", 1: "n_id"},))


def test_the_language_model_reads_prefixes_of_any_length(answerer, model):
    torch.manual_seed(0)
    lm = model.mods.pengi.lm
    for n_prefix in (1, 9):
        prefix = torch.randn(1, n_prefix, lm.d_model)
        logits, past = answerer.run(
            "lm",
            prefix=prefix.numpy(),
            ids=np.zeros((1, 0), np.int64),
            past=np.zeros(answerer.settings["past"], np.float32),
        )
        theirs, state = lm.prefill(prefix)
        assert close(logits, theirs)
        for step in range(3):
            ids = torch.randint(4000, (1,))
            logits, past = answerer.run(
                "lm",
                prefix=np.zeros((1, 0, lm.d_model), np.float32),
                ids=ids[:, None].numpy(),
                past=past,
            )
            assert close(logits, lm.step(ids, state))
            assert past.shape[4] == n_prefix + step + 1


def test_the_example_reads_a_wav_file(
    example, exported, model, clips, tmp_path, capsys
):
    path = tmp_path / "clip.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((clips[0] * 32767).astype("<i2").tobytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["answer.py", str(exported), str(path), PROMPTS[1]])
        example.main()
    answer = model.generate_file(path, PROMPTS[1], beam_size=1)
    assert capsys.readouterr().out.rstrip("\n") == answer
    with pytest.raises(ValueError, match="8000 Hz and 16 bits; this example reads"):
        example.read_wav(path, 16000)


def test_prompts_that_are_too_long_and_clips_that_are_none_are_refused(answerer):
    with pytest.raises(ValueError, match="A prompt has 1 to 64 tokens"):
        answerer.encode_prompt("dog " * 99)
    for wav in (np.zeros(0), np.array([np.nan]), np.zeros((2, 3))):
        with pytest.raises(ValueError, match="A clip is finite samples"):
            answerer.encode_clip(wav)


def test_what_cannot_be_exported_is_refused(tiny_folder, tmp_path, capsys):
    from pengi_plugin.pretrained.int8 import write_int8

    (tmp_path / "int8").mkdir()
    for path in tiny_folder.iterdir():
        (tmp_path / "int8" / path.name).write_bytes(path.read_bytes())
    write_int8(tmp_path / "int8")
    words = ["export-onnx", str(tmp_path / "int8"), str(tmp_path / "out")]
    assert main(words) == 2
    assert "holds int8 weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_that_reads_sequences_of_windows_is_refused():
    pengi = torch.nn.Module()
    pengi.audio_encoder = torch.nn.Module()
    pengi.audio_encoder.over_time = True
    with pytest.raises(ValueError, match=r"mine reads the windows .* one sequence"):
        check_model({"pengi": pengi}, "mine")


def test_the_form_of_prompts_follows_from_the_text_encoder(exported):
    settings = json.loads((exported / "pengi.json").read_text())
    assert settings["prompt"] == {
        **{"end": "", "framed": True, "length": None, "pad": 0},
        "max_tokens": 64,
    }
    clip = CLIPTextEncoder(
        Letters(),
        config={
            **{"model_type": "clip_text_model", "hidden_size": 8},
            **{"intermediate_size": 8, "num_hidden_layers": 1},
            **{"num_attention_heads": 2, "projection_dim": 6, "vocab_size": 31},
            **{"bos_token_id": 1, "eos_token_id": 30},
        },
        max_tokens=9,
    )
    form = prompt_form(clip)
    assert (form["length"], form["pad"], form["framed"]) == (9, 30, True)
    lm = PrefixLM(
        config={
            **{"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 4},
            "vocab_size": 27,
        }
    )
    form = prompt_form(TokenEmbeddingEncoder(lm, Letters(), "z", n_token=6, pad_id=3))
    assert form == {
        **{"end": "z", "framed": False, "length": 6, "pad": 3},
        "max_tokens": 6,
    }
