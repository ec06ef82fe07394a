"""Every YAML says how it is run and loads; every model runs a training step."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references

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


class Letters:
    """Stands in for the tokenizers; the frame is CLIP's, or BERT's."""

    def __init__(self, frame):
        self.frame = frame

    def encode_as_ids(self, text, add_special_tokens=False):
        ids = [ord(letter) % 90 + 5 for letter in text]
        return [self.frame[0], *ids, self.frame[1]] if add_special_tokens else ids


def build(root, name):
    """Build a model of full size with random weights and no files."""
    lm, text = CONFIGS[name]
    overrides = f"lm: {{source: null, config: {lm}}}\n"
    overrides += "tokenizer: null\nsearcher: null\nmodules: null\n"
    if text:
        overrides += f"text_encoder: {{tokenizer: null, source: null, config: {text}}}"
    with open(root / "hparams" / "model" / f"{name}.yaml") as file:
        hparams = load_hyperpyyaml(file, overrides, overrides_must_match=False)
    frame = (49406, 49407) if text == CLIP else (101, 102)
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
        torch.randn(2, n_sample) / 10, torch.ones(2), ["what is it", "who"], ids
    )
    assert log_probs.shape == (2, 5)
    (-log_probs.mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    torch.optim.SGD(trained, 0.1).step()
    changed = [not torch.equal(p, old) for p, old in zip(trained, before)]
    assert sum(changed) > 0.9 * len(changed)
    assert not any(p.requires_grad for p in pengi.lm.parameters())
    assert not any(p.requires_grad for p in pengi.text_encoder.parameters())


def yamls(root):
    return sorted(root.glob("hparams/*.yaml"))


def test_every_recipe_yaml_names_the_command_that_runs_it(root):
    for path in yamls(root):
        header = path.read_text().split("\nseed:")[0]
        assert f"hparams/{path.name}" in header, path.name
        assert "python recipes/" in header or "recipes/" in header, path.name


def test_every_yaml_resolves_once_its_placeholders_are_set(root):
    for path in [*yamls(root), *sorted(root.glob("hparams/model/*.yaml"))]:
        text = path.read_text()
        overrides = {
            line.split(":")[0]: "somewhere"
            for line in text.splitlines()
            if "!PLACEHOLDER" in line and not line.startswith((" ", "#"))
        }
        with path.open() as file:
            resolved = resolve_references(file, overrides).read()
        assert "!PLACEHOLDER" not in resolved, path.name


def test_every_model_yaml_has_the_same_keys_that_inference_and_training_use(root):
    wanted = {
        *("sample_rate", "clip_seconds", "default_prompt", "answer_end", "eos_index"),
        *("normalize_prompt", "beam_size", "max_new_tokens", "audio_encoder"),
        *("audio_projection", "audio_mapper", "text_encoder", "text_projection"),
        *("text_mapper", "lm", "tokenizer", "pengi", "searcher", "modules"),
    }
    for path in sorted(root.glob("hparams/model/*.yaml")):
        keys = {line.split(":")[0] for line in path.read_text().splitlines()}
        assert wanted <= keys, f"{path.name} lacks {sorted(wanted - keys)}"


def test_an_unset_placeholder_is_named(root):
    with (
        open(root / "hparams" / "pengi_base.yaml") as file,
        pytest.raises(ValueError, match="manifest_folder"),
    ):
        load_hyperpyyaml(file)


def test_the_benchmark_takes_the_clips_of_the_main_job(root):
    def sizes(name):
        lines = (root / "hparams" / name).read_text().splitlines()
        names = ("n_train:", "n_valid:", "n_test:")
        return {line for line in lines if line.startswith(names)}

    assert len(sizes("pengi.yaml")) == 3
    assert sizes("pengi.yaml") == sizes("benchmark.yaml")


def without_comments(path):
    lines = path.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_model_that_hears_order_differs_from_the_default_where_it_says_so(root):
    models = root / "hparams" / "model"
    default = without_comments(models / "mini.yaml")
    ordered = without_comments(models / "mini_sequence.yaml")
    kept = [line for line in ordered if "# order" not in line]
    assert len(ordered) - len(kept) == 5
    missing = [line for line in default if line not in kept]
    assert len(missing) == 1
    assert missing[0].startswith("audio_mapper:")
    recipe = without_comments(root / "hparams" / "pengi_sequence.yaml")
    changed = set(recipe) ^ set(without_comments(root / "hparams" / "pengi.yaml"))
    assert {line.split(":")[0] for line in changed} == {"output_folder", "model"}


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
