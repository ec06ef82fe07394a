"""A trained model in, a folder with all of it out: weights, tokenizers, YAML, card."""

import inspect
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, TaggedScalar
from ruamel.yaml.tag import Tag
from torch import nn

from pengi_plugin.assets import folder as asset_folder
from pengi_plugin.pretrained.folder import HPARAMS_FILE, SETTINGS
from pengi_plugin.storage.locate import REMOTE_FORMS
from pengi_plugin.storage.parts import save_part

#: Parts that have a file of their own, if the model has them and they have weights.
PARTS = (
    "temperature",
    "audio_encoder",
    "audio_projection",
    "audio_mapper",
    "text_encoder",
    "text_projection",
    "text_mapper",
    "lm",
)


#: What a model's YAML holds, in this order; what it refers to comes first. Of
#: ``SETTINGS``, it holds those that its parts take.
PENGI_KEYS = (
    "sample_rate",
    "clip_seconds",
    "default_prompt",
    "answer_end",
    "eos_index",
    "normalize_prompt",
    "beam_size",
    "max_new_tokens",
    "max_windows",
    "audio_encoder",
    "audio_projection",
    "audio_mapper",
    "tokenizer",
    "text_encoder",
    "text_projection",
    "text_mapper",
    "lm",
    "pengi",
    "searcher",
    "modules",
)


#: The same of a CLAP.
CLAP_KEYS = (
    "sample_rate",
    "clip_seconds",
    "class_prompt",
    "answer_end",
    "audio_encoder",
    "audio_projection",
    "tokenizer",
    "text_encoder",
    "text_projection",
    "temperature",
    "clap",
    "modules",
)

#: Keys that not every model has.
OPTIONAL = ("max_windows",)


class Kind(NamedTuple):
    """What is written of one kind of model.

    Arguments
    ---------
    keys : tuple of str
        Keys of its YAML.
    header : str
        How the YAML begins.
    card : str
        Template of its model card.
    tokenizer : str
        Name of the file of the YAML's ``tokenizer``, without ending.
    """

    keys: tuple[str, ...]
    header: str
    card: str
    tokenizer: str


PENGI_HEADER = """\
# A trained Pengi (Deshmukh et al., NeurIPS 2023), written by pengi export.
#
# AudioLanguageModel.from_hparams(source=FOLDER) answers with it, and
# recipes/multitask/train.py continues from it with --pretrained_folder FOLDER.

"""

CLAP_HEADER = """\
# A trained CLAP (Elizalde et al., ICASSP 2023), written by pengi export.
#
# AudioTextModel.from_hparams(source=FOLDER) compares clips and texts with it, and
# recipes/multitask/train.py starts from its audio encoder with
# --audio_encoder_init FOLDER.

"""

#: Name of the model in its YAML -> what is written of it.
KINDS = {
    "pengi": Kind(
        PENGI_KEYS, PENGI_HEADER, "exported_model_card.md", tokenizer="lm_tokenizer"
    ),
    "clap": Kind(
        CLAP_KEYS, CLAP_HEADER, "exported_clap_card.md", tokenizer="text_tokenizer"
    ),
}


#: Settings of a Hugging Face configuration that say where it came from.
PROVENANCE = ("_name_or_path", "architectures", "dtype", "transformers_version")


def kind_of(section: Mapping) -> str:
    """Return which of ``KINDS`` a model's YAML is of.

    Raises
    ------
    ValueError
        If it is of none.
    """
    for kind in KINDS:
        if kind in section:
            return kind
    raise ValueError(
        f"A model's YAML has one of the keys {sorted(KINDS)}; got {sorted(section)}."
    )


def write_model(folder: Path, section: CommentedMap, hparams: dict) -> None:
    """Write weights, tokenizers, YAML and model card of a model.

    Arguments
    ---------
    folder : Path
        An empty folder.
    section : CommentedMap
        The model's YAML, resolved and not constructed; changed in place.
    hparams : dict
        The same, constructed and trained.

    Raises
    ------
    ValueError
        If a part cannot be built from what the folder holds; names it.
    """
    kind = KINDS[kind_of(section)]
    parts = [name for name in PARTS if name in hparams and hparams[name].state_dict()]
    files = {name: f"{name}.safetensors" for name in parts}
    loadables = dict(zip(parts, parts))
    tokenizers = {}
    tree, keys = independent_tree(section, hparams)
    for name, key in keys.items():
        tokenizer = hparams["tokenizer" if key == "tokenizer" else "text_encoder"]
        tokenizers[name] = getattr(tokenizer, "tokenizer", tokenizer)
        files[name] = f"{name}{tokenizers[name].suffix}"
        loadables[name] = key
    tree["pretrainer"] = tagged(
        "!new:pengi_plugin.pretrained.FolderPretrainer",
        {
            "loadables": {name: reference(key) for name, key in loadables.items()},
            "files": files,
        },
    )
    for name in parts:
        save_part(hparams[name], folder / files[name])
    for name, tokenizer in tokenizers.items():
        tokenizer.save(folder / files[name])
    (folder / HPARAMS_FILE).write_text(kind.header + dumped(tree), encoding="utf-8")
    write_template(kind.card, folder / "README.md", {})


def independent_tree(
    section: CommentedMap, hparams: dict
) -> tuple[CommentedMap, dict[str, str]]:
    """Return a model's YAML that names nothing outside the model's folder.

    Arguments
    ---------
    section : CommentedMap
        The model's YAML, resolved and not constructed; changed in place.
    hparams : dict
        The same, constructed, trained or not.

    Returns
    -------
    tree : CommentedMap
        To be completed by a pretrainer.
    keys : dict
        As of ``separate_tokenizers``.

    Raises
    ------
    ValueError
        If a part cannot be built without what is elsewhere; names it.
    """
    kind = KINDS[kind_of(section)]
    keys = separate_tokenizers(section, kind.tokenizer)
    tree = with_references(section, kind.keys)
    refer_to_settings(tree)
    for name, node in tree.items():
        make_independent(name, node, hparams.get(name))
    # What only a source named, such as the package's folder of an LM, is not needed.
    for name in [name for name in tree if name not in kind.keys]:
        if f"<{name}>" not in dumped(tree):
            del tree[name]
    return tree, keys


def make_independent(name: str, node, built) -> None:
    """Let a part of a model's YAML name nothing outside the model's folder.

    A node with a ``source`` whose class also takes a ``config``, as the Hugging Face
    lobes do, gets the configuration instead, at any depth.

    Arguments
    ---------
    name : str
        Of the part, for messages, such as ``audio_encoder.encoder``.
    node : CommentedMap or other value
        The part's YAML; changed in place.
    built : object
        What was built from it, or None where that is not known.

    Raises
    ------
    ValueError
        If the part, or a part of it, is built from a path, a hub name or a web
        address and cannot be described otherwise.
    """
    if isinstance(node, list):
        for index, value in enumerate(node):
            make_independent(f"{name}[{index}]", value, None)
    if not isinstance(node, dict):
        return
    tag = node.tag.value if isinstance(node, CommentedMap) else None
    if tag and "source" in node and takes_config(built):
        describe_architecture(node, built)
    for key, value in node.items():
        if tag and isinstance(value, str) and names_outside(key, value):
            raise ValueError(
                f"{name} ({tag}) is built from {key}: {value}, which is not "
                "in the model's folder, so the exported model could not be loaded "
                "without it. Use a class for this part that also takes its "
                "architecture as `config:`, such as HFAudioEncoder, TextEncoder and "
                "PrefixLM of pengi_plugin.lobes."
            )
        make_independent(f"{name}.{key}", value, getattr(built, key, None))


def takes_config(module) -> bool:
    """Tell whether a module can be built from the configuration that it holds."""
    takes = inspect.signature(type(module).__init__).parameters
    return "config" in takes and hasattr(getattr(module, "model", None), "config")


def names_outside(key: str, value: str) -> bool:
    """Tell whether an argument is a path, a hub name or a web address.

    Example
    -------
    >>> [names_outside(*pair) for pair in (
    ...     ("source", "gpt2"), ("ckpt", "~/beats.pt"), ("hub", "me/model"),
    ...     ("act", "gelu"))]
    [True, True, True, False]
    """
    if key == "source" or value.startswith(("~", "http://", "https://")):
        return True
    if re.fullmatch(REMOTE_FORMS["owner/name"][0], value):
        return True
    return ("/" in value or "\\" in value) and Path(value).exists()


def describe_architecture(node: CommentedMap, module: nn.Module) -> None:
    """Let a Hugging Face part's YAML say its configuration, not its source."""
    takes = inspect.signature(type(module).__init__).parameters
    for name in [name for name in node if name not in takes or name == "source"]:
        del node[name]
    config = module.model.config
    usual = json.loads(type(config)().to_json_string(use_diff=False))
    settings = json.loads(config.to_json_string(use_diff=False))
    node["config"] = {"model_type": config.model_type} | {
        name: value
        for name, value in settings.items()
        if name not in PROVENANCE and (name not in usual or usual[name] != value)
    }


def separate_tokenizers(section: CommentedMap, name: str) -> dict[str, str]:
    """Empty the tokenizers' YAML and give each a key of its own.

    Arguments
    ---------
    section : CommentedMap
        The model's YAML; changed in place.
    name : str
        Of the file of its ``tokenizer``.

    Returns
    -------
    keys : dict
        Name of the file -> key of the tokenizer in the YAML.
    """
    keys = {name: "tokenizer"}
    section["tokenizer"].clear()
    text_node = section["text_encoder"].get("tokenizer")
    if text_node is not None and text_node is not section["tokenizer"]:
        text_node.clear()
        section["text_tokenizer"] = text_node
        keys["text_tokenizer"] = "text_tokenizer"
    return keys


def with_references(section: CommentedMap, keys: Sequence[str]) -> CommentedMap:
    """Return the model's YAML with ``!ref`` in place of repeated nodes.

    Beside ``keys``, those that they refer to are kept.
    """
    names = {
        id(node): name
        for name, node in section.items()
        if isinstance(node, dict | list)
    }
    used: list[str] = []

    def replaced(node, is_top: bool = False):
        if id(node) in names and not is_top:
            visit(names[id(node)])
            return reference(names[id(node)])
        if isinstance(node, dict):
            for key, value in node.items():
                node[key] = replaced(value)
        elif isinstance(node, list):
            node[:] = [replaced(value) for value in node]
        return node

    def visit(name: str) -> None:
        if name not in used:
            replaced(section[name], is_top=True)
            used.append(name)

    for name in keys:
        if name in section or name not in (*SETTINGS, *OPTIONAL):
            visit(name)
    return CommentedMap((name, section[name]) for name in used)


def refer_to_settings(tree: CommentedMap) -> None:
    """Let the parts take ``SETTINGS`` from the keys, so that a key can be overridden.

    The parts' own values are kept. A key that no part takes is removed (``beam_size``
    where the search is greedy): to override it would change nothing.
    """
    for name, part in SETTINGS.items():
        if name in tree.get(part, ()):
            tree[name] = tree[part][name]
            tree[part][name] = reference(name)
        elif name != "eos_index":  # AudioLanguageModel reads it too
            tree.pop(name, None)


def reference(name: str) -> TaggedScalar:
    """Return the YAML node ``!ref <name>``."""
    return TaggedScalar(value=f"<{name}>", style=None, tag=Tag(suffix="!ref"))


def tagged(tag: str, content: dict) -> CommentedMap:
    """Return a YAML mapping with a tag."""
    node = CommentedMap(content)
    node.yaml_set_ctag(Tag(suffix=tag))
    return node


def dumped(tree: CommentedMap) -> str:
    """Return a YAML tree as text."""
    text = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=4, sequence=4, offset=2)
    yaml.dump(tree, text)
    return text.getvalue()


def write_template(name: str, path: Path, values: dict) -> None:
    """Write a template of the package with its ``$words`` filled in."""
    text = (Path(asset_folder("released")) / name).read_text(encoding="utf-8")
    path.write_text(Template(text).substitute(values), encoding="utf-8")
