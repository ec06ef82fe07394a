"""Every YAML loads, holds nothing unused, and says how it is run."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from speechbrain.utils.run_opts import RunOptions

from pengi_plugin.lobes.pengi import Pengi
from pengi_plugin.training.checkpoints import WholeCheckpointer
from pengi_plugin.training.hparams import read_hparams
from tests.doubles import Letters

HPARAMS = Path(__file__).resolve().parent.parent / "hparams"
#: What trainings share; not run themselves.
SHARED = {"any_training", "training"}
#: The YAMLs that train a model of ``model:``, and the models.
TRAININGS = sorted(
    path.stem
    for path in HPARAMS.glob("*.yaml")
    if "\ninclude: " in path.read_text() and path.stem not in SHARED
)
ALL_MODELS = sorted(path.stem for path in HPARAMS.glob("model/*.yaml"))
MODELS = [name for name in ALL_MODELS if not name.startswith("clap")]


GPT2 = "{model_type: gpt2}"
SMOLLM2 = """{model_type: llama, hidden_size: 576, intermediate_size: 1536,
    num_hidden_layers: 30, num_attention_heads: 9, num_key_value_heads: 3,
    vocab_size: 49152, max_position_embeddings: 8192, tie_word_embeddings: true}"""
CLIP = """{model_type: clip_text_model, projection_dim: 512, bos_token_id: 49406,
    eos_token_id: 49407}"""
MINILM = """{model_type: bert, hidden_size: 384, intermediate_size: 1536,
    num_hidden_layers: 6, num_attention_heads: 12}"""

#: Model YAML -> configurations of its LM and text encoder, of the real sizes.
CONFIGS = {
    "base": (GPT2, CLIP),
    "base_no_text_encoder": (GPT2, None),
    "smollm2": (SMOLLM2, MINILM),
}


def small(config):
    """Return a configuration with one layer and a small vocabulary."""
    config = re.sub(r"(vocab_size|num_hidden_layers): \d+,? *", "", config)
    layers = "n_layer" if "gpt2" in config else "num_hidden_layers"
    return config.replace("{", f"{{{layers}: 1, vocab_size: 500, ")


def build(root, name, is_small=False):
    """Build a model of full size, or with small text parts, with random weights."""
    with open(root / "hparams" / "model" / f"{name}.yaml") as file:
        if name not in CONFIGS:  # needs no files but the package's
            return load_hyperpyyaml(file)
    lm, text = CONFIGS[name]
    if is_small:
        lm, text = (config and small(config) for config in (lm, text))
    overrides = f"lm: {{source: null, config: {lm}}}\n"
    overrides += "tokenizer: null\n"
    if text:
        overrides += f"text_encoder: {{tokenizer: null, source: null, config: {text}}}"
    else:
        overrides += "text_encoder: {prompt_end: end}"  # which Letters can read
    with open(root / "hparams" / "model" / f"{name}.yaml") as file:
        hparams = load_hyperpyyaml(file, overrides, overrides_must_match=False)
    frame = (49406, 49407) if text and "clip" in text else (101, 102)
    hparams["pengi"].text_encoder.tokenizer = Letters(frame)
    return hparams


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_model_of_full_size_runs_a_training_step(root, name):
    hparams = build(root, name)
    pengi = hparams["pengi"].train()
    trained = [p for p in pengi.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    n_sample = int(hparams["clip_seconds"] * hparams["sample_rate"])
    ids = torch.randint(1000, (2, 5))
    log_probs = pengi(
        torch.randn(2, n_sample) / 10, torch.ones(2), ["what", "who"], ids
    )
    assert log_probs.shape == (2, 5)
    (-log_probs.mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    torch.optim.SGD(trained, 0.1).step()
    changed = [not torch.equal(p, old) for p, old in zip(trained, before)]
    assert sum(changed) > 0.9 * len(changed)
    assert not any(p.requires_grad for p in pengi.lm.parameters())
    assert not any(p.requires_grad for p in pengi.text_encoder.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_yaml_builds_one_model_for_training_and_answering(root, name):
    hparams = build(root, name, is_small=True)
    pengi = hparams["modules"]["pengi"]
    assert isinstance(pengi, Pengi)
    assert pengi is hparams["pengi"]
    assert pengi.audio_encoder.features.sample_rate == hparams["sample_rate"]
    assert hparams["modules"]["searcher"].lm is pengi.lm
    assert hparams["searcher"].beam_size == hparams["beam_size"]


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_yaml_builds_what_a_training_needs(root, name, tmp_path):
    path = root / "hparams" / f"{name}.yaml"
    tree = YAML().load(read_hparams(path))
    kind = "clap" if name.startswith("clap") else "pengi"
    tiny = {"pengi": "tiny", "clap": "clap_tiny"}[kind]
    overrides = {"output_folder": str(tmp_path), "model": f"!include:model/{tiny}.yaml"}
    for key, value in tree.items():
        if getattr(value, "tag", None) and value.tag.value == "!PLACEHOLDER":
            overrides.setdefault(key, str(tmp_path))
    lines = [f"{key}: {value}" for key, value in overrides.items()]
    hparams = load_hyperpyyaml(read_hparams(path), "\n".join(lines))

    modules = hparams["modules"]
    assert modules[kind] is hparams["model"][kind]
    recoverables = hparams["checkpointer"].recoverables
    assert isinstance(hparams["checkpointer"], WholeCheckpointer)
    assert {name: recoverables[name] for name in modules} == modules
    assert recoverables["counter"] is hparams["epoch_counter"]
    assert hparams["epoch_counter"].limit == hparams["number_of_epochs"]
    optimizer = hparams["opt_class"](modules[kind].audio_projection.parameters())
    schedule = hparams["lr_annealing"](num_training_steps=2 * hparams["n_warmup"])
    rates = [schedule(optimizer)[1] for _ in range(hparams["n_warmup"])]
    assert rates[-1] == optimizer.param_groups[0]["lr"] == hparams["lr"]
    assert hparams["train_dataloader_opts"]["batch_size"] == hparams["batch_size"]
    corpora = (hparams["corpora"] or {}).values()
    assert all(corpus["share"] > 0 for corpus in corpora)
    known = (hparams["known_corpora"] | hparams["held_out_corpora"]).values()
    assert all(
        callable(corpus["prepare"]) and corpus["folders"]
        for corpus in known
        if "manifest_folder" not in corpus
    )
    assert corpora or known
    if kind == "clap":
        assert all(
            callable(entry["protocol"]) for entry in hparams["test_sets"].values()
        )
        return
    assert all(
        callable(task["protocol"])
        for task in hparams["test_protocols"].values()
        if "by" not in task
    )
    assert callable(hparams["test_protocols"]["default"]["protocol"])


@pytest.mark.parametrize("name", ["pengi_base", "pengi_smollm2", "clap_base"])
def test_a_yaml_for_gpus_pins_memory_and_updates_in_one_kernel(root, name):
    text = read_hparams(root / "hparams" / f"{name}.yaml").getvalue()
    text = re.sub(r"^model:.*$", "model: {}", text, flags=re.MULTILINE)
    text = re.sub(r"<model\[\w+\]>", "<lr>", text).replace("!PLACEHOLDER", "here")
    tree = YAML().load(resolve_references(text))
    for loader in ("train_dataloader_opts", "valid_dataloader_opts"):
        assert tree[loader]["pin_memory"] is True
    assert tree["opt_class"]["fused"] is True


def test_every_yaml_names_the_command_that_runs_it(root):
    shared = {root / "hparams" / f"{name}.yaml" for name in SHARED}
    for path in {*root.glob("hparams/*.yaml")} - shared:
        header = re.match(r"(#.*\n)+", path.read_text()).group()
        assert re.search(rf"recipes/\w+/\w+\.py hparams/{path.name}", header), path.name


#: What comments name with two dashes beside keys and the options of our scripts.
OTHER_OPTIONS = {"help", "key", "nproc_per_node"}


@pytest.mark.parametrize("path", sorted(HPARAMS.rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_option_and_file_that_a_yamls_comments_name_is_there(root, path):
    texts = [other.read_text() for other in HPARAMS.rglob("*.yaml")]
    keys = {key for text in texts for key in re.findall(r"^(\w+):", text, re.MULTILINE)}
    code = "\n".join(file.read_text() for file in root.glob("recipes/*/*.py"))
    options = set(re.findall(r'"--(\w+)"', code)) | OTHER_OPTIONS
    comments = "\n".join(re.findall(r"#.*", path.read_text()))
    assert set(re.findall(r"--(\w+)", comments)) - keys - options == set()
    for name in re.findall(r"[\w/]*\w\.(?:md|py|yaml)\b", comments):
        folders = (HPARAMS, root / "recipes")  # a file may be named by its end
        found = any(next(folder.rglob(name), None) for folder in folders)
        assert found or (root / name).exists(), name
    if path.parent.name == "model":  # each says how it is included
        assert set(re.findall(r"!include:model/(\w+)", comments)) <= {path.stem}


#: YAMLs -> the code that reads their keys.
READERS = {
    **{
        f"{name}.yaml": ["pengi_plugin/training/*.py", "recipes/*/train.py"]
        for name in TRAININGS
    },
    "language_model.yaml": ["recipes/language_model/*.py"],
    **{f"model/{name}.yaml": ["pengi_plugin/**/*.py"] for name in ALL_MODELS},
}


def unused_keys(text, code):
    """Return the top-level keys that neither their YAML nor the code refers to."""
    options = {field.name for field in dataclasses.fields(RunOptions)}
    keys = set(YAML().load(text)) - options
    references = set(re.findall(r"<(\w+)", text))
    reading = r"(?:hparams|model)(?:\.get\(\"|, \"|\[\"|\.)(\w+)"
    read = set(re.findall(reading, code))
    return {key for key in keys - references - read if not key.startswith("__")}


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_variable_of_a_yaml_is_used(root, name):
    files = [path for pattern in READERS[name] for path in root.glob(pattern)]
    code = "\n".join(path.read_text() for path in files)
    text = read_hparams(root / "hparams" / name).getvalue()
    assert unused_keys(text, code) == set()
    assert unused_keys(text + "\nleft_over: 1\n", code) == {"left_over"}


def test_every_model_yaml_has_the_same_keys_that_inference_and_training_use(root):
    wanted = {
        *("sample_rate", "clip_seconds", "default_prompt", "answer_end", "eos_index"),
        *("normalize_prompt", "beam_size", "max_new_tokens", "audio_encoder"),
        *("audio_projection", "audio_mapper", "text_encoder", "text_projection"),
        *("text_mapper", "lm", "tokenizer", "pengi", "searcher", "modules"),
    }
    for path in (root / "hparams" / "model" / f"{name}.yaml" for name in MODELS):
        keys = {line.split(":")[0] for line in path.read_text().splitlines()}
        assert wanted <= keys, f"{path.name} lacks {sorted(wanted - keys)}"


def test_the_mini_clap_has_the_audio_encoder_of_the_embedded_default(root):
    trees = []
    for name in ("mini", "clap_mini"):
        with open(root / "hparams" / "model" / f"{name}.yaml") as file:
            trees.append(YAML().load(resolve_references(file)))
    pengi, clap = trees
    for key in ("sample_rate", "clip_seconds", "audio_encoder", "audio_projection"):
        assert clap[key] == pengi[key], key


def test_an_unset_placeholder_is_named(root):
    text = read_hparams(root / "hparams" / "training.yaml")
    with pytest.raises(ValueError, match=r"'output_folder' is a !PLACEHOLDER"):
        load_hyperpyyaml(text)


def without_comments(path):
    lines = path.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_model_that_hears_order_differs_from_the_default_where_it_says_so(root):
    models = root / "hparams" / "model"
    default = without_comments(models / "mini.yaml")
    ordered = without_comments(models / "mini_sequence.yaml")
    kept = [line for line in ordered if "# order" not in line]
    assert len(ordered) - len(kept) == 6
    missing = [line for line in default if line not in kept]
    assert len(missing) == 1
    assert missing[0].startswith("audio_mapper:")
    recipe = YAML().load(root / "hparams" / "pengi_sequence.yaml")
    assert list(recipe) == ["include", "output_folder", "model"]


@pytest.mark.parametrize(("name", "n_prefix"), [("mini", 4), ("mini_sequence", 8)])
def test_a_small_model_runs_a_training_step(root, name, n_prefix):
    with open(root / "hparams" / "model" / f"{name}.yaml") as file:
        hparams = load_hyperpyyaml(file)
    pengi = hparams["pengi"].train()
    assert hparams["d_audio"] == hparams["audio_encoder"].encoder.d_audio
    wavs = torch.randn(2, int(hparams["clip_seconds"] * hparams["sample_rate"])) / 10
    prompts = ["what is it", "who"]
    prefix = pengi.encode(wavs, torch.ones(2), prompts)
    assert prefix.shape == (2, n_prefix + 4, hparams["d_model"])
    ids = torch.randint(3, 1000, (2, 5))
    (-pengi(wavs, torch.ones(2), prompts, ids).mean()).backward()
    for key, parameter in pengi.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
