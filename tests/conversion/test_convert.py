"""Released checkpoints are taken whole or refused by name."""

import json
import logging
import os
import re

import pytest
import torch
from hyperpyyaml import resolve_references
from ruamel.yaml import YAML
from safetensors.torch import load_file

from pengi_plugin.conversion import released
from pengi_plugin.conversion.convert import (
    check_tied,
    convert,
    parts_of,
    read_checkpoint,
)
from pengi_plugin.conversion.layout import check_layout

NAMES = ("base_seed0", "base_no_text_enc_seed0")

GPT = "caption_decoder.gpt.transformer."
TEXT = "caption_encoder."

#: Buffers that checkpoints of older transformers hold besides, and their shapes.
OLD_BUFFERS = {
    f"{GPT}h.0.attn.bias": (1, 1, 1024, 1024),
    f"{GPT}h.1.attn.bias": (1, 1, 1024, 1024),
    f"{GPT}h.0.attn.masked_bias": (),
    f"{GPT}h.1.attn.masked_bias": (),
}


@pytest.fixture(scope="module", params=NAMES)
def golden(request, reference):
    return json.loads((reference / f"{request.param}.json").read_text())


@pytest.fixture
def shapes(golden):
    return {name: tuple(shape) for name, shape in golden["keys"].items()}


def test_sizes_are_read_from_the_shapes(golden, shapes):
    sizes, names = check_layout(shapes)
    assert sizes["depths"] == [2, 2, 6, 2]
    assert sizes["n_head"] == 4
    assert sizes["window"] == 8
    assert sizes["n_prefix"] == 40
    assert sizes["d_model"] == golden["gpt2"]["n_embd"]
    assert sizes["n_lm_layer"] == golden["gpt2"]["n_layer"]
    if golden["checkpoint"] == "base":
        clip = golden["clip_text"]
        assert sizes["n_clip_layer"] == clip["num_hidden_layers"]
        assert sizes["clip_hidden"] == clip["intermediate_size"]
    is_bias = {n for n in golden["derived_keys"] if n.endswith("c_attn.bias")}
    assert set(names) == set(shapes) - set(golden["derived_keys"]) | is_bias


def test_derived_keys_may_be_absent_and_older_buffers_present(golden, shapes):
    sizes, names = check_layout(shapes)
    bare = {k: v for k, v in shapes.items() if k not in golden["derived_keys"]}
    assert check_layout(bare)[0] == sizes
    assert set(check_layout(bare)[1]) == set(names)
    old = shapes | OLD_BUFFERS
    if golden["checkpoint"] == "base":
        old[f"{TEXT}base.embeddings.position_ids"] = (1, 77)
    assert check_layout(old)[0] == sizes


def one_of_each_kind(names):
    """Return the last of the names that differ in their numbers only."""
    return {re.sub(r"\d+", "#", name): name for name in names}.values()


def test_every_missing_key_is_named(golden, shapes):
    for name in one_of_each_kind(set(shapes) - set(golden["derived_keys"])):
        rest = {key: shape for key, shape in shapes.items() if key != name}
        with pytest.raises(ValueError, match="not the layout") as error:
            check_layout(rest)
        assert f"  {name} is missing" in str(error.value)


def test_every_wrong_shape_is_named(shapes):
    sole = {  # no other key tells how many rows these have
        f"{GPT}wpe.weight",
        f"{TEXT}base.embeddings.position_embedding.weight",
        f"{TEXT}base.embeddings.token_embedding.weight",
    }
    for name in one_of_each_kind(shapes):
        shape = shapes[name]
        wrong = [(*shape, 1)]
        if shape:
            wrong.append((*shape[:-1], shape[-1] + 1))
        if shape and name not in sole:
            wrong.append((shape[0] - 1, *shape[1:]))
        for bad in wrong:
            with pytest.raises(ValueError, match="not the layout") as error:
                check_layout(shapes | {name: bad})
            assert name in str(error.value)


@pytest.mark.parametrize(
    "stray",
    [
        "optimizer.step",
        f"{GPT}h.2.ln_1.weight",
        f"{GPT}h.0.attn.bias2",
        "audio_encoder.base.htsat.layers.3.downsample.norm.weight",
        "module.audio_encoder.projection.linear1.weight",
    ],
)
def test_an_unexpected_key_is_named(shapes, stray):
    with pytest.raises(
        ValueError, match=rf"  {stray} is unexpected".replace(".", "\\.")
    ):
        check_layout(shapes | {stray: (3,)})


def test_a_partly_absent_bias_is_missing_but_wholly_absent_ones_are_zero(
    golden, shapes, caplog
):
    names = [name for name in shapes if name.endswith("c_attn.bias")]
    rest = {key: shape for key, shape in shapes.items() if key != names[1]}
    with pytest.raises(ValueError, match=rf"{names[1]} is missing"):
        check_layout(rest)
    weights = {k: torch.ones(v) for k, v in shapes.items() if k not in names}
    with caplog.at_level(logging.WARNING):
        parts = parts_of(weights, check_layout(shapes)[1], "base" in golden)
    assert parts["lm"]["model.transformer.h.1.attn.c_attn.bias"].abs().sum() == 0
    assert len(parts["lm"]["model.transformer.h.1.attn.c_attn.bias"]) == 384
    assert names[0] in caplog.text
    biased = weights | {name: torch.full((384,), 7.0) for name in names}
    parts = parts_of(biased, check_layout(shapes)[1], "base" in golden)
    assert parts["lm"]["model.transformer.h.1.attn.c_attn.bias"].unique() == 7


def test_an_untied_output_layer_is_refused():
    output, embedding = released.TIED
    with pytest.raises(ValueError, match=r"lm_head\.weight differs from"):
        check_tied({output: torch.ones(3, 2), embedding: torch.zeros(3, 2)})


@pytest.fixture
def small(tmp_path):
    """Return a function that writes {'model': content} and gives its path."""

    def write(content):
        path = tmp_path / "small.pth"
        torch.save(content, path)
        return path

    return write


def test_the_module_prefix_goes(small):
    path = small({"model": {"module.a.b": torch.ones(2)}})
    assert list(read_checkpoint(path)) == ["a.b"]


class Code:
    """Something whose unpickling runs code."""

    def __reduce__(self):
        return os.mkdir, ("must_not_exist",)


def test_a_file_with_code_is_refused_and_the_code_does_not_run(
    small, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = small({"model": {"a": torch.ones(1)}, "args": Code()})
    with pytest.raises(ValueError, match=r"is refused.*could run code"):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "must_not_exist").exists()


def test_files_that_are_no_checkpoints_are_refused(small, tmp_path):
    with pytest.raises(ValueError, match=r"no weights under \['model'\].*'weights'"):
        read_checkpoint(small({"weights": {}}))
    with pytest.raises(ValueError, match="not tensors: epoch"):
        read_checkpoint(small({"model": {"epoch": 3, "a": torch.ones(1)}}))
    (tmp_path / "sound.pth").write_bytes(b"RIFF and other sound")
    with pytest.raises(ValueError, match="cannot be read"):
        convert(tmp_path / "sound.pth", tmp_path / "out")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        read_checkpoint(tmp_path / "cut.pth")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_checkpoint(tmp_path / "absent.pth")


def test_a_failed_conversion_leaves_nothing(reference, pseudo, tmp_path):
    golden = json.loads((reference / "base_no_text_enc_seed0.json").read_text())
    weights = pseudo.state_dict(golden)
    name = "audio_encoder.projection.linear1.weight"
    weights[name] = weights[name][:, :-1]
    torch.save({"model": weights}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=rf"{name} has shape \[1024, 767\]"):
        convert(tmp_path / "wrong.pth", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.pth"]


def test_a_folder_that_holds_something_is_not_overwritten(small, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        convert(small({"model": {}}), tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"


def test_a_converted_folder_is_flat_and_names_no_hub(convert_golden):
    _, folder = convert_golden("base_seed0")
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "hyperparams.yaml",
        "audio_encoder.safetensors",
        "audio_mapper.safetensors",
        "audio_projection.safetensors",
        "lm.safetensors",
        "lm_tokenizer.json",
        "text_encoder.safetensors",
        "text_mapper.safetensors",
        "text_projection.safetensors",
        "text_tokenizer.json",
    }
    text = (folder / "hyperparams.yaml").read_text()
    assert "source:" not in text
    assert "openai" not in text


def test_weights_arrive_unchanged(convert_golden, pseudo):
    golden, folder = convert_golden("base_seed0")
    key = "caption_decoder.text_project.transformer.layers.3.attn.to_queries.weight"
    weight = pseudo.weight(key, golden["keys"][key], golden["seed"])
    mapper = load_file(folder / "text_mapper.safetensors")
    ours = mapper["transformer.layers.3.attention.query.weight"]
    assert torch.equal(ours, torch.from_numpy(weight))


@pytest.mark.parametrize(
    ("ours", "name"),
    [("base", "base_seed0"), ("base_no_text_encoder", "base_no_text_enc_seed0")],
)
def test_a_converted_yaml_is_the_models_of_the_recipes(
    ours, name, convert_golden, root
):
    recipe = resolved(root / "hparams" / "model" / f"{ours}.yaml")
    converted = resolved(convert_golden(name)[1] / "hyperparams.yaml")
    assert set(recipe) - set(converted) <= {"lm_source", "text_source"}
    assert set(converted) - set(recipe) <= {
        "features",
        "pretrainer",
        "text_tokenizer",
    }
    for key in ("audio_encoder", "audio_projection", "answer_end"):
        assert converted[key] == recipe[key], key
    for key in ("pengi", "searcher", "modules"):
        assert list(converted[key]) == list(recipe[key]), key


def resolved(path):
    """Return a YAML's tree with every reference filled in."""
    with open(path) as file:
        return YAML().load(resolve_references(file))
