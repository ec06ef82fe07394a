"""A trained run becomes a folder that answers and that training continues from."""

import io
import json
import shutil

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from safetensors.torch import load_file
from speechbrain.core import create_experiment_directory
from speechbrain.utils.checkpoints import Checkpointer
from torch import nn

from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.lobes.huggingface import HFAudioEncoder
from pengi_plugin.lobes.prefix_lm import PrefixLM
from pengi_plugin.pretrained import FolderPretrainer
from pengi_plugin.pretrained.folder import continue_from, load_pretrained
from pengi_plugin.pretrained.write import describe_architecture, write_model
from pengi_plugin.storage.parts import save_part
from pengi_plugin.training.checkpoints import WholeCheckpointer
from pengi_plugin.training.export import export_run
from pengi_plugin.training.hparams import read_hparams

TRAINING_YAML = """
output_folder: !PLACEHOLDER
pretrained_folder: null
model: !include:tiny.yaml
modules:
    pengi: !ref <model[pengi]>
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: 1
checkpointer: !new:pengi_plugin.training.checkpoints.WholeCheckpointer
    checkpoints_dir: !ref <output_folder>/save
    recoverables:
        pengi: !ref <modules[pengi]>
        counter: !ref <epoch_counter>
"""

PROMPTS = ["what is it?", "generate metadata", "who?"]


@pytest.fixture(scope="module")
def hparams_file(root, tmp_path_factory):
    """A training YAML of the tiny model with an LM from a folder."""
    folder = tmp_path_factory.mktemp("hparams")
    config = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16}
    config |= {"vocab_size": 4000, "bos_token_id": 1, "eos_token_id": 2}
    PrefixLM(config=config).model.save_pretrained(folder / "lm")
    tiny = YAML().load(root / "hparams" / "model" / "tiny.yaml")
    for part in ("lm", "text_encoder"):
        del tiny[part]["config"]
        tiny[part]["source"] = f"{folder}/lm"
    YAML().dump(tiny, folder / "tiny.yaml")
    (folder / "train.yaml").write_text(TRAINING_YAML)
    return folder / "train.yaml"


def train(hparams_file, run_folder, pretrained_folder=None):
    """Make a run: move the weights somewhere, and leave two checkpoints."""
    overrides = f"output_folder: {run_folder}"
    if pretrained_folder:
        overrides += f"\npretrained_folder: {pretrained_folder}"
    overrides = continue_from(overrides)
    with open(hparams_file) as file:
        hparams = load_hyperpyyaml(file, overrides)
    create_experiment_directory(run_folder, hparams_file, overrides)
    if hparams["pretrained_folder"]:
        load_pretrained(hparams["model"]["pretrainer"], hparams["pretrained_folder"])
    start = {k: v.clone() for k, v in hparams["model"]["pengi"].state_dict().items()}
    pengi = hparams["modules"]["pengi"]
    for loss in (0.5, 2.0):  # the best, then a worse one
        with torch.no_grad():
            for parameter in pengi.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.05 * torch.randn(parameter.shape))
        if loss == 0.5:
            wavs = torch.randn(3, 8000)
            lens = torch.ones(3)
            expected = pengi.eval().encode(wavs, lens, PROMPTS), wavs, lens
        hparams["checkpointer"].save_checkpoint(meta={"loss": loss})
    return hparams, start, expected


@pytest.fixture(scope="module")
def run(hparams_file, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "first run"
    return folder, *train(hparams_file, folder)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "a model"
    export_run(run[0], folder)
    return folder


def test_an_exported_run_answers_as_its_best_checkpoint_did(run, exported):
    _, hparams, _, (prefix, wavs, lens) = run
    model = AudioLanguageModel.from_hparams(exported, run_opts={"device": "cpu"})
    ours = model.encode_batch(wavs, lens, PROMPTS)
    torch.testing.assert_close(ours, prefix)
    tokens, *_ = hparams["model"]["searcher"](prefix)
    assert list(model.generate_batch(wavs, lens, PROMPTS)[1]) == list(tokens)


def test_an_exported_folder_needs_nothing_outside(exported):
    text = (exported / "hyperparams.yaml").read_text()
    assert "source:" not in text
    assert " path:" not in text
    assert "!apply" not in text
    assert {path.suffix for path in exported.iterdir()} == {
        ".md",
        ".model",
        ".safetensors",
        ".yaml",
    }


def test_training_continues_from_an_exported_folder(
    run, exported, hparams_file, tmp_path
):
    checkpointer = run[1]["checkpointer"]
    best = checkpointer.find_checkpoint(min_key="loss").paramfiles["pengi"]
    expected = torch.load(best, weights_only=True)
    hparams, start, (prefix, wavs, lens) = train(
        hparams_file, tmp_path / "second", exported
    )
    assert hparams["modules"]["pengi"] is hparams["model"]["pengi"]
    for name, weight in expected.items():
        torch.testing.assert_close(start[name], weight)
    frozen = run[1]["model"]["pengi"].state_dict()
    for name in start.keys() - expected.keys():
        torch.testing.assert_close(start[name], frozen[name])
    export_run(tmp_path / "second", tmp_path / "again")
    model = AudioLanguageModel.from_hparams(tmp_path / "again")
    torch.testing.assert_close(model.encode_batch(wavs, lens, PROMPTS), prefix)


def test_the_recipe_of_the_paper_continues_from_a_converted_checkpoint(
    convert_golden, root, tmp_path
):
    _, folder = convert_golden("base_no_text_enc_seed0")
    overrides = continue_from(
        f"manifest_folder: {tmp_path}\noutput_folder: {tmp_path}\n"
        f"pretrained_folder: {folder}"
    )
    text = read_hparams(root / "hparams" / "pengi_base.yaml")
    hparams = load_hyperpyyaml(text, overrides)
    load_pretrained(hparams["model"]["pretrainer"], hparams["pretrained_folder"])
    pengi = hparams["modules"]["pengi"]
    assert hparams["checkpointer"].recoverables["pengi"] is pengi
    for part in ("audio_encoder", "audio_mapper", "text_mapper", "lm"):
        state = dict(getattr(pengi, part).state_dict())
        for name, weight in load_file(folder / f"{part}.safetensors").items():
            assert torch.equal(state[name], weight), (part, name)
    trained = [p for p in pengi.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) > 30_000_000


def test_relative_folders_and_folders_with_spaces_are_found(
    exported, monkeypatch, hparams_file, tmp_path
):
    monkeypatch.chdir(exported.parent)
    overrides = continue_from("seed: 1\npretrained_folder: a model\nbeam: 2")
    given = YAML(typ="safe").load(overrides.replace("!include:", "include "))
    assert given["pretrained_folder"] == str(exported)
    assert (given["seed"], given["beam"]) == (1, 2)
    with open(hparams_file) as file:
        load_hyperpyyaml(
            file,
            overrides.replace("seed: 1", f"output_folder: {tmp_path}").replace(
                "beam: 2", ""
            ),
        )


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file or folder /"):
        continue_from(f"pretrained_folder: {tmp_path}/absent")
    with pytest.raises(FileNotFoundError, match=r"holds no hyperparams\.yaml"):
        continue_from(f"pretrained_folder: {tmp_path}")


def test_a_checkpoint_that_was_cut_off_is_not_exported(run, tmp_path):
    run_folder = shutil.copytree(run[0], tmp_path / "run")
    pengi = run[1]["modules"]["pengi"]
    checkpointer = Checkpointer(run_folder / "save", {"pengi": pengi})
    checkpointer.save_checkpoint(meta={"loss": 0.1})  # better, but no file says whole
    export_run(run_folder, tmp_path / "out")
    expected = run[1]["checkpointer"].find_checkpoint(min_key="loss")
    weights = torch.load(expected.paramfiles["pengi"], weights_only=True)
    exported = load_file(tmp_path / "out" / "audio_mapper.safetensors")
    for name, value in exported.items():
        assert torch.equal(weights[f"audio_mapper.{name}"], value), name


def test_runs_that_cannot_be_exported_say_why(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no hyperparams\.yaml"):
        export_run(tmp_path, tmp_path / "out")
    (tmp_path / "hyperparams.yaml").write_text("seed: 3\n")
    with pytest.raises(
        ValueError, match=r"no section 'model'; its keys are \['seed'\]"
    ):
        export_run(tmp_path, tmp_path / "out")
    yaml = (run[0] / "hyperparams.yaml").read_text()
    (tmp_path / "hyperparams.yaml").write_text(yaml)
    with pytest.raises(FileNotFoundError, match="save holds no whole checkpoint"):
        export_run(tmp_path, tmp_path / "out")
    WholeCheckpointer(tmp_path / "save", {"other": nn.Linear(2, 2)}).save_checkpoint()
    with pytest.raises(ValueError, match=r"no weights of a model.*\['other'\]"):
        export_run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_with_a_random_lm_is_exported_at_its_end_only(root, tmp_path):
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        text = resolve_references(file).read()
    (tmp_path / "tiny.yaml").write_text(text)
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (tmp_path / "train.yaml").write_text("model: !include:tiny.yaml\n")
    with open(tmp_path / "train.yaml") as file:
        (run_folder / "hyperparams.yaml").write_text(resolve_references(file).read())
    with pytest.raises(ValueError, match="text_encoder and lm had random weights"):
        export_run(run_folder, tmp_path / "out")
    with open(tmp_path / "tiny.yaml") as file:
        live = load_hyperpyyaml(file)
    checkpointer = WholeCheckpointer(run_folder / "save", {"pengi": live["pengi"]})
    checkpointer.save_checkpoint(meta={"loss": 1.0})
    export_run(run_folder, tmp_path / "out", live)
    model = AudioLanguageModel.from_hparams(tmp_path / "out")
    wavs = torch.randn(3, 8000)
    expected = live["pengi"].eval().encode(wavs, torch.ones(3), PROMPTS)
    torch.testing.assert_close(
        model.encode_batch(wavs, torch.ones(3), PROMPTS), expected
    )
    with torch.no_grad():
        live["pengi"].audio_projection.linear1.weight.zero_()
    checkpointer.save_checkpoint(meta={"loss": 0.5})
    export_run(run_folder, tmp_path / "out", live)  # as a resumed run does
    later = load_file(tmp_path / "out" / "audio_projection.safetensors")
    assert later["linear1.weight"].abs().sum() == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        export_run(run_folder, tmp_path / "mine", live)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine", "out", "run", "tiny.yaml", "train.yaml"}


def test_a_part_from_the_hub_is_described_by_its_configuration(tmp_path):
    config = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8}
    config |= {"vocab_size": 11, "bos_token_id": 0, "eos_token_id": 0}
    PrefixLM(config=config).model.save_pretrained(tmp_path)
    lm = PrefixLM(source=str(tmp_path))
    node = {"source": str(tmp_path), "gguf_file": "model.gguf"}
    describe_architecture(node, lm)
    assert "source" not in node
    assert "gguf_file" not in node
    assert node["config"].items() >= config.items()
    assert str(tmp_path) not in str(node)
    rebuilt = PrefixLM(**node)
    rebuilt.load_state_dict(lm.state_dict())
    prefix = torch.randn(1, 3, 8)
    torch.testing.assert_close(rebuilt.prefill(prefix)[0], lm.prefill(prefix)[0])


WAV2VEC2 = {
    "model_type": "wav2vec2",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "conv_dim": [4, 4],
    "conv_kernel": [10, 8],
    "conv_stride": [5, 4],
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}


@pytest.fixture
def speech_folder(tmp_path):
    """A small wav2vec 2.0 on disk, as it would be on the hub."""
    folder = tmp_path / "wav2vec2"
    HFAudioEncoder(config=WAV2VEC2).model.save_pretrained(folder)
    preprocessor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    preprocessor |= {"do_normalize": False, "sampling_rate": 8000}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def model_with_encoder(root, encoder):
    """Return the YAML tree of the tiny model with another encoder, and its objects."""
    text = (root / "hparams" / "model" / "tiny.yaml").read_text()
    start, end = text.index("audio_encoder:"), text.index("audio_projection:")
    node = "audio_encoder: !new:pengi_plugin.lobes.audio_encoder.AudioEncoder\n"
    text = text[:start] + node + encoder + "\n" + text[end:]
    section = YAML().load(resolve_references(io.StringIO(text)))
    return section, load_hyperpyyaml(text)


def test_an_encoder_inside_the_audio_encoder_loads_without_its_source(
    root, speech_folder, tmp_path
):
    section, hparams = model_with_encoder(
        root,
        f"""
    encoder: !new:pengi_plugin.lobes.huggingface.HFAudioEncoder
        source: {speech_folder}
""",
    )
    (tmp_path / "out").mkdir()
    write_model(tmp_path / "out", section, hparams)
    shutil.rmtree(speech_folder)
    text = (tmp_path / "out" / "hyperparams.yaml").read_text()
    assert "source:" not in text
    assert str(speech_folder) not in text
    model = AudioLanguageModel.from_hparams(tmp_path / "out")
    wavs = torch.randn(2, 8000)
    expected = hparams["pengi"].eval().encode(wavs, torch.ones(2), PROMPTS[:2])
    torch.testing.assert_close(
        model.encode_batch(wavs, torch.ones(2), PROMPTS[:2]), expected
    )


WRAPPER = """
    encoder: !new:speechbrain.integrations.huggingface.wav2vec2.Wav2Vec2
        source: {source}
        save_path: {source}/cache
"""
BY_REFERENCE = """
    encoder: !ref <speech>
speech: !new:speechbrain.integrations.huggingface.wav2vec2.Wav2Vec2
    source: {source}
    save_path: {source}/cache
"""


@pytest.mark.parametrize(
    ("encoder", "name"),
    [(WRAPPER, "audio_encoder.encoder"), (BY_REFERENCE, "speech")],
    ids=["nested", "by reference"],
)
def test_an_encoder_that_needs_its_source_is_refused_by_name(
    root, speech_folder, tmp_path, encoder, name
):
    section, hparams = model_with_encoder(root, encoder.format(source=speech_folder))
    (tmp_path / "out").mkdir()
    message = rf"^{name} \(!new:.*Wav2Vec2\) is built from source: .*wav2vec2, which is"
    with pytest.raises(ValueError, match=message):
        write_model(tmp_path / "out", section, hparams)
    assert not list((tmp_path / "out").iterdir())


def test_weights_that_do_not_fit_are_named(tmp_path):
    save_part(nn.Linear(2, 3), tmp_path / "lm.safetensors")
    pretrainer = FolderPretrainer({"lm": nn.Linear(2, 4)}, {"lm": "lm.safetensors"})
    with pytest.raises(ValueError, match=r"lm\.safetensors.*weight"):
        load_pretrained(pretrainer, tmp_path)
    with pytest.raises(ValueError, match=r"one side only|on one side"):
        FolderPretrainer({"lm": nn.Linear(2, 4)}, {})
