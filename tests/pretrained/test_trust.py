"""A model's folder builds parts of models, and anything else only if trusted."""

import os
import re
import shutil
from io import StringIO
from pathlib import Path

import pytest
import torch
from hyperpyyaml import resolve_references
from ruamel.yaml import YAML

import pengi_plugin
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.pretrained.folder import continue_from, load_folder
from pengi_plugin.pretrained.trust import (
    MODULE_ROOMS,
    OURS,
    UntrustedError,
    check_text,
    is_allowed,
    is_room,
)

#: What writes this file, if it is ever called.
TRACE = "called"

#: Lines of a YAML that would call something -> what the refusal names.
HARMFUL = {
    "apply": ("x: !apply:os.system ['touch called']", "!apply:os.system"),
    "apply with text": ("x: !apply:os.system touch called", "!apply:os.system"),
    "applyref": ("x: !applyref:os.system ['touch called']", "!applyref:os.system"),
    "new": ("x: !new:subprocess.Popen [[touch, called]]", "!new:subprocess.Popen"),
    "name": ("x: !name:os.system", "!name:os.system"),
    "module": ("x: !module:os", "!module:os"),
    "copy": ("y: {z: 1}\nx: !copy <y>", "!copy <y>"),
    "attribute": ("x: !ref <lm.forward>", "!ref <lm.forward>"),
    "attribute in a text": (
        "y: <lm.forward>\nx: !ref <y>",
        "!ref <y>",
    ),
    "attribute made of two texts": (
        "y: <lm\nx: !ref <y>.forward>",
        "!ref <y>.forward>",
    ),
    "arithmetic that takes for ever": (
        "y: 9**9**9**9\nx: !ref <y> + 1",
        "!ref <y> + 1",
    ),
    "python": (
        "x: !!python/object/apply:os.system ['touch called']",
        "python/object/apply:os.system",
    ),
    "verbatim tag": (
        "x: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch called']",
        "python/object/apply:os.system",
    ),
    "escaped tag": ("x: !apply%3Aos.system ['touch called']", "!apply"),
    "directive": (
        "%TAG !p! tag:yaml.org,2002:python/object/apply:\n---\n"
        "x: !p!os.system ['touch called']",
        "directive",
    ),
    "tuple": (
        "x: !tuple (!!python/object/apply:os.system [touch called])",
        "!tuple",
    ),
    "anchor": (
        "y: &a [1, &b !apply:os.system ['touch called']]\nx: *b",
        "!apply:os.system",
    ),
    "merge key": (
        "y: &a {p: !apply:os.system ['touch called']}\nx: {<<: *a}",
        "is refused",
    ),
    "key": ("? !apply:os.system ['touch called']\n: 1", "the key"),
    "a way round by attributes of a module": (
        "x: !name:torch.nn.modules.module.warnings.sys.exit",
        "!name:torch.nn.modules.module.warnings.sys.exit",
    ),
    "a class that reads a pickle": (
        "x: !new:speechbrain.lobes.models.beats.BEATs {ckpt_path: x.pt}",
        "ckpt_path",
    ),
    "a preparation": (
        "x: !apply:pengi_plugin.corpora.esc50.prepare_esc50 [a, b]",
        "!apply:pengi_plugin.corpora.esc50.prepare_esc50",
    ),
    "a writer of this package": (
        "x: !name:pengi_plugin.storage.atomic.write_file",
        "!name:pengi_plugin.storage.atomic.write_file",
    ),
    "code of a hub repository": (
        "x: !new:pengi_plugin.lobes.prefix_lm.PrefixLM\n"
        "    config: {model_type: gpt2, trust_remote_code: True}",
        "trust_remote_code",
    ),
    "a kernel of a hub repository": (
        "x: !new:pengi_plugin.lobes.prefix_lm.PrefixLM\n"
        "    config: {model_type: gpt2, attn_implementation: someone/kernel}",
        "attn_implementation",
    ),
    "weights from elsewhere": (
        "x: !new:pengi_plugin.lobes.prefix_lm.PrefixLM {source: gpt2}",
        "'source'",
    ),
    "a path by position": (
        "x: !new:pengi_plugin.lobes.tokenizer.HFTokenizer [/etc/passwd]",
        "no name",
    ),
    "an alias of itself": ("x: &a [*a]", "holds itself"),
    "a billion laughs": (
        "\n".join(
            [
                "a0: &a0 [1, 1]",
                *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}0]" for n in range(1, 12)),
            ]
        ),
        "more than 20000 values",
    ),
    "endless nesting": (f"x: {'[' * 300}{']' * 300}", "levels"),
}


@pytest.fixture
def folder(tiny_folder, tmp_path, monkeypatch):
    """A copy of a good folder; commands would run in a folder of their own."""
    shutil.copytree(tiny_folder, tmp_path / "model")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "model"


def add(folder, text):
    """Put lines into a folder's YAML: a directive before, all else behind."""
    path = folder / "hyperparams.yaml"
    whole = path.read_text()
    is_directive = text.startswith("%")
    path.write_text(f"{text}\n{whole}" if is_directive else f"{whole}\n{text}\n")


@pytest.mark.parametrize("name", HARMFUL)
def test_what_could_run_code_is_named_and_refused_before_anything_is_built(
    name, folder, monkeypatch
):
    text, named = HARMFUL[name]
    add(folder, text)
    built = []
    monkeypatch.setattr(torch.nn.Module, "__init__", lambda self: built.append(self))
    for load in (AudioLanguageModel.from_hparams, load_folder, continued):
        with pytest.raises(UntrustedError, match=re.escape(named)):
            load(folder)
    assert built == []
    assert not list(Path().iterdir())


def continued(folder):
    """Load a folder as a training does that starts from it."""
    return continue_from(f"pretrained_folder: {folder}")


def test_a_trusted_folder_may_call_anything(folder):
    add(folder, HARMFUL["apply"][0])
    AudioLanguageModel.from_hparams(folder, trust=True)
    assert Path(TRACE).exists()
    assert "!include:" in continue_from(
        f"pretrained_folder: {folder}\ntrust_pretrained_folder: True"
    )


def test_a_refusal_says_where_and_what_to_do(folder):
    add(folder, "x: !apply:os.system ['true']")
    n_line = len((folder / "hyperparams.yaml").read_text().splitlines())
    message = rf"hyperparams\.yaml, line {n_line}: .*trust=True \(on the command line: "
    with pytest.raises(UntrustedError, match=message):
        AudioLanguageModel.from_hparams(folder)


def test_an_include_may_not_lead_out_of_the_folder(folder, tmp_path):
    (tmp_path / "outside.yaml").write_text("a: 1\n")
    original = (folder / "hyperparams.yaml").read_text()
    for name in ("../outside.yaml", str(tmp_path / "outside.yaml")):
        (folder / "hyperparams.yaml").write_text(original)
        add(folder, f"x: !include:{name}")
        with pytest.raises(UntrustedError, match="leads out of the model's folder"):
            AudioLanguageModel.from_hparams(folder)
    (folder / "inside.yaml").write_text("a: !apply:os.system ['touch called']\n")
    (folder / "hyperparams.yaml").write_text(original)
    add(folder, "x: !include:inside.yaml")
    with pytest.raises(UntrustedError, match=r"inside\.yaml, line 1: !apply:os.system"):
        AudioLanguageModel.from_hparams(folder)
    (folder / "inside.yaml").write_text("a: 1\n")
    model = AudioLanguageModel.from_hparams(folder)
    assert model.hparams.x == {"a": 1}
    assert not list(Path().iterdir())


def test_references_that_an_include_would_complete_are_refused(folder):
    (folder / "inside.yaml").write_text("a: 1\nb: !ref <a>\n")
    add(folder, "x: !include:inside.yaml\n    a: 9**9**9**9<b>")
    with pytest.raises(UntrustedError, match=r"9\*\*9\*\*9\*\*9<b>"):
        AudioLanguageModel.from_hparams(folder)


@pytest.mark.parametrize("name", ["hyperparams.yaml", "lm.safetensors"])
def test_a_link_out_of_the_folder_is_refused(name, folder, tmp_path):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    for load in (AudioLanguageModel.from_hparams, load_folder, continued):
        with pytest.raises(UntrustedError, match=f"{name} leads out of the model's"):
            load(folder)
    AudioLanguageModel.from_hparams(folder, trust=True)


def test_a_file_name_that_leads_out_of_the_folder_is_refused(folder, tmp_path):
    path = folder / "hyperparams.yaml"
    shutil.copy(folder / "lm.safetensors", tmp_path / "lm.safetensors")
    original = path.read_text()
    for name in ("../lm.safetensors", str(tmp_path / "lm.safetensors")):
        path.write_text(original.replace("lm: lm.safetensors", f"lm: {name}"))
        with pytest.raises(UntrustedError, match="lies outside the model's folder"):
            load_folder(folder)


def test_a_snapshot_in_the_hubs_cache_loads_through_its_links(folder, tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "1f2e"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(folder.iterdir()):
        shutil.copy(file, blobs / str(number))
        os.symlink(f"../../blobs/{number}", snapshot / file.name)
    load_folder(snapshot)


def test_weights_that_are_a_pickle_are_not_unpickled(folder):
    class Harmful:
        def __reduce__(self):
            return os.system, ("touch called",)

    torch.save(Harmful(), folder / "lm.safetensors")
    with pytest.raises(ValueError, match=r"lm\.safetensors does not hold the weights"):
        load_folder(folder)
    assert not list(Path().iterdir())


def yamls(root):
    """Return name -> text of every YAML of a model that this project writes or has."""
    texts = {
        path.name: path.read_text()
        for folder in (Path(pengi_plugin.__file__).parent / "assets" / "released",)
        for path in folder.glob("*.yaml")
    }
    for path in (root / "tests" / "pretrained").glob("exported_*.yaml"):
        texts[path.name] = path.read_text()
    return texts


def test_every_yaml_that_is_exported_or_converted_passes(root, tiny_folder, tmp_path):
    for name, text in yamls(root).items():
        text = re.sub(r"\$\{?\w+\}?", "1", text)  # the words of a template
        check_text(text, Path(name), tmp_path)
    path = tiny_folder / "hyperparams.yaml"
    check_text(path.read_text(), path, tiny_folder)


@pytest.mark.parametrize(
    "name",
    ["mini", "mini_sequence", "tiny", "base", "base_no_text_encoder", "smollm2"],
)
def test_every_class_of_the_models_of_hparams_may_be_built(name, root):
    with open(root / "hparams" / "model" / f"{name}.yaml") as file:
        text = resolve_references(file).read()
    found = re.findall(r"(!new|!name):([\w.]+)", text)
    assert len(found) > 10
    for kind, path in found:
        assert is_allowed(path, kind), path
    assert set(YAML().load(StringIO(text)))  # it was a whole YAML


def test_every_name_on_the_list_is_there():
    import pydoc

    for name in OURS:
        assert pydoc.locate(name) is not None, name


def test_modules_that_may_be_built_read_no_files():
    """The list was made for one version of SpeechBrain: another one is read anew."""
    import speechbrain

    reads = re.compile(
        r"torch\.load|joblib|pickle|\bopen\(|fetch\(|from_pretrained|subprocess"
        r"|\beval\(|\bexec\(|import_module|hf_hub|np\.load|audio_io"
    )
    root = Path(speechbrain.__file__).parent
    seen = 0
    for room in MODULE_ROOMS[1:]:
        for path in (root / room.split(".")[1]).rglob("*.py"):
            parts = path.relative_to(root.parent).with_suffix("").parts
            module = ".".join(part for part in parts if part != "__init__")
            if is_room(module):
                seen += 1
                assert not reads.search(path.read_text()), module
    assert seen > 50
