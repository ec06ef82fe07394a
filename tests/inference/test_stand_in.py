"""What a user of ``EncoderDecoderASR`` may rely on, in devices and threads too."""

import inspect
from concurrent.futures import ThreadPoolExecutor

import pytest
from hyperpyyaml import load_hyperpyyaml
from speechbrain.inference.ASR import EncoderDecoderASR
from speechbrain.inference.interfaces import Pretrained

from pengi_plugin.inference import AudioLanguageModel

#: Public methods that the two classes share; torch's own are left out.
RELIED_ON = {
    *("transcribe_file", "transcribe_batch", "encode_batch", "forward"),
    *("load_audio", "from_hparams"),
}


def public_methods(*classes):
    """Return the names of the public methods that the bodies of classes define."""
    found = {name for one in classes for name in vars(one) if name[0] != "_"}
    return {name for name in found if callable(getattr(classes[0], name))}


def test_every_public_method_of_the_installed_class_is_relied_on():
    assert public_methods(EncoderDecoderASR, Pretrained) == RELIED_ON


@pytest.mark.parametrize("name", sorted(RELIED_ON))
def test_a_call_of_the_installed_class_is_a_call_of_ours(name):
    theirs = inspect.signature(getattr(EncoderDecoderASR, name)).parameters
    ours = inspect.signature(getattr(AudioLanguageModel, name)).parameters
    shared = [key for key in theirs if key not in ("kwargs", "self", "args")]
    assert shared == list(ours)[: len(shared)] or shared == [
        key for key in ours if key in shared
    ]
    required = [
        key
        for key, value in ours.items()
        if value.default is inspect.Parameter.empty and key not in theirs
    ]
    assert [key for key in required if key != "self"] == []


@pytest.mark.parametrize("method", ["generate_files", "answer_files", "describe_files"])
def test_one_path_is_no_list_of_files(method, model, record):
    path = record("x.wav")
    for given in (str(path), path):
        with pytest.raises(ValueError, match=r"Give a list of paths; got one: '.*x\.w"):
            list(getattr(model, method)(given))
    with pytest.raises(ValueError, match="Give a list of paths"):
        list(model.classify_files(str(path), ["dog", "rain"]))


def test_threads_get_the_answers_that_one_gets(model, record):
    paths = [record(f"{n}.wav", 0.5 + n / 4, n) for n in range(4)]
    prompts = ["what is it?", "who?", "generate audio caption", "this is a sound of"]
    jobs = [(path, prompt) for path in paths for prompt in prompts]

    def ask(job):
        batch = [job[0], *paths[: jobs.index(job) % 3]]  # sizes differ
        return model.generate_files(batch, job[1])

    expected = [ask(job) for job in jobs]
    assert len({answer for answers in expected for answer in answers}) > 3
    for part in model.modules():
        if hasattr(part, "clear_cache"):
            part.clear_cache()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(ask, jobs)) == expected


def test_to_moves_all_of_a_model(root):
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        hparams = load_hyperpyyaml(file)
    model = AudioLanguageModel(hparams["modules"], hparams, run_opts={"device": "cpu"})
    model.encode_prompt(["who?"])  # fills a cache
    assert model.to("meta") is model
    assert model.device == "meta"
    kept = [*model.mods.parameters(), *model.mods.buffers()]
    assert {tensor.device.type for tensor in kept} == {"meta"}
