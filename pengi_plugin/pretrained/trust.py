"""The YAML of a model's folder in; refused, or the objects that it describes, out.

A HyperPyYAML can call any function that is installed. Here its tags are read first,
and everything that is not on a short list is named and refused before anything is
built; ``trust=True`` leaves that out.
"""

import importlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path

import ruamel.yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from torch import nn

#: What folders of ``pengi convert`` and ``pengi export`` are made of.
OURS = frozenset(
    f"pengi_plugin.{name}"
    for name in (
        "pretrained.FolderPretrainer",
        "lobes.features.LogMel",
        "lobes.audio_encoder.AudioEncoder",
        "lobes.htsat.HTSAT",
        "lobes.convnet.ConvNet",
        "lobes.clap.Clap",
        "lobes.clap.Temperature",
        "lobes.huggingface.HFAudioEncoder",
        "lobes.projection.MLPProjection",
        "lobes.projection.ProjectionHead",
        "lobes.mapping.MLPPrefixMapper",
        "lobes.mapping.PrefixMapper",
        "lobes.mapping.SequencePrefixMapper",
        "lobes.sequence_mapping.TimePrefixMapper",
        "lobes.tokenizer.HFTokenizer",
        "lobes.tokenizer.SentencePieceTokenizer",
        "lobes.text_encoder.CLIPTextEncoder",
        "lobes.text_encoder.TextEncoder",
        "lobes.text_encoder.TrainedTextEncoder",
        "lobes.text_encoder.TokenEmbeddingEncoder",
        "lobes.text_encoder.first_pooling",
        "lobes.text_encoder.last_pooling",
        "lobes.text_encoder.mean_pooling",
        "lobes.prefix_lm.PrefixLM",
        "lobes.pengi.Pengi",
        "decoders.beam.PrefixBeamSearcher",
        "decoders.greedy.PrefixGreedySearcher",
        "decoders.sampling.PrefixSampler",
    )
)

#: Modules below these may be built from, if they are classes of torch modules.
MODULE_ROOMS = (
    "torch.nn",
    "speechbrain.lobes",
    "speechbrain.nnet",
    "speechbrain.decoders",
)

#: Modules in these rooms that read files, fetch or import by name (SpeechBrain 1.1.2).
READERS = (
    *("speechbrain.lobes.models.beats", "speechbrain.lobes.models.MSTacotron2"),
    *("speechbrain.lobes.models.fairseq_wav2vec", "speechbrain.lobes.models.discrete"),
    *("speechbrain.lobes.models.Tacotron2", "speechbrain.lobes.models.kmeans"),
    *("speechbrain.lobes.models.g2p", "speechbrain.nnet.adapters"),
    *("speechbrain.nnet.schedulers", "speechbrain.decoders.scorer"),
)

#: Arguments that make an allowed class read something outside the folder, or run code
#: that it names: paths and hub names, and what transformers fetches or imports.
OUTSIDE = frozenset(
    (
        *("source", "path", "save_path", "ckpt_path", "cache_dir", "gguf_file"),
        *("pretrained_model_name_or_path", "trust_remote_code", "auto_map"),
        *("attn_implementation", "_attn_implementation", "experts_implementation"),
        *("use_kernels", "quantization_config"),
        *("backbone", "use_pretrained_backbone", "use_timm_backbone"),
    )
)

#: Tags of plain values; dates are plain too.
PLAIN = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp")
)

#: ``<key>`` or ``<key[key]>``: no attribute, no arithmetic, no text around it.
REFERENCE = re.compile(r"<\w+(\[\w+\])*>")

#: What HyperPyYAML takes for a reference, in a text that a reference leads to.
ANY_REFERENCE = re.compile(r"<[^>]*>")

#: Bytes; the YAML of the largest model here has 5,000.
MAX_BYTES = 1 << 20

#: Values of a YAML where each alias counts as what it repeats; ours have some hundred.
MAX_NODES = 20_000

#: Levels of nesting, of values and of included files.
MAX_DEPTH = 50

ADVICE = (
    "A model's folder may build classes of pengi_plugin's lobes and decoders, torch.nn "
    "and SpeechBrain's lobes, nnet and searchers, from plain values. If you trust "
    "whoever made the folder, give trust=True (on the command line: --trust)."
)


class UntrustedError(ValueError):
    """A model's folder asks for something that only a trusted one may have."""


class YamlText(StringIO):
    """A YAML's text that HyperPyYAML reads as it reads the file ``name``.

    Arguments
    ---------
    text : str
        HyperPyYAML.
    name : str
        Path of a file; ``!include:`` is relative to its folder.
    """

    def __init__(self, text: str, name: str | os.PathLike):
        super().__init__(text)
        self.name = str(name)


def build_hparams(
    path: Path,
    folder: Path | None = None,
    overrides: Mapping | str | None = None,
    overrides_must_match: bool = True,
    trust: bool = False,
) -> dict:
    """Return the objects that the YAML of a model's folder describes.

    Arguments
    ---------
    path : Path
        The YAML.
    folder : Path
        The folder that files must not lead out of; None for one of the hub, whose
        YAML may include nothing.
    overrides : dict or str
        As of ``load_hyperpyyaml``.
    overrides_must_match : bool
        Whether overrides that the YAML has no key for are an error.
    trust : bool
        Whether to build whatever the YAML names.

    Returns
    -------
    hparams : dict

    Raises
    ------
    UntrustedError
        If the YAML needs trust; names what for, and where. Nothing was built.
    KeyError
        If an override has no key.
    ValueError
        If the YAML cannot be read or built.
    """
    text = read_text(path)
    try:
        if not trust:
            check_text(text, path, folder)
            stream = YamlText(text, path)
            text = resolve_references(stream, overrides, overrides_must_match).read()
            check_text(text, path, folder, is_resolved=True)
            overrides = None
        stream = YamlText(text, path)
        hparams = load_hyperpyyaml(stream, overrides, overrides_must_match)
    except (OSError, UntrustedError):
        raise
    except KeyError as error:
        if str(error.args[0]).startswith("Override '"):  # HyperPyYAML's words
            raise
        raise unbuildable(path, error) from error
    except Exception as error:
        raise unbuildable(path, error) from error
    return hparams


def unbuildable(path: str | os.PathLike, error: Exception) -> ValueError:
    """Return the error of a YAML from which no model can be built."""
    reason = " ".join(" ".join(map(str, error.args)).split()) or "no reason given"
    return ValueError(
        f"{path} is not the YAML of a model that can be built "
        f"({type(error).__name__}: {reason}). Write the folder anew with pengi convert "
        "or pengi export."
    )


def read_text(path: Path) -> str:
    """Return the text of a YAML of bounded size."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(
            f"{path} has {size} bytes; a model's YAML has at most {MAX_BYTES}."
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error


def check_text(
    text: str,
    path: Path,
    folder: Path | None = None,
    is_resolved: bool = False,
    depth: int = 0,
) -> None:
    """Raise an error if a YAML needs trust; nothing of it is built.

    Arguments
    ---------
    text : str
        The YAML.
    path : Path
        Its file, for messages and for what it includes.
    folder : Path
        As of ``build_hparams``.
    is_resolved : bool
        Whether references have been replaced already. HyperPyYAML turns some
        references into calls, so that the result is checked again.
    depth : int
        How many files include this one.

    Raises
    ------
    UntrustedError
        Names the tag, the line and what to do.
    ValueError
        If it is no YAML.
    """
    if re.search(r"^%", text, re.MULTILINE):
        raise UntrustedError(f"{path} holds a YAML directive (%), which is refused.")
    try:
        root = ruamel.yaml.Loader(text).get_single_node()  # as load_hyperpyyaml parses
    except (YAMLError, RecursionError, ValueError) as error:
        raise unbuildable(path, error) from error
    if not isinstance(root, MappingNode):
        raise ValueError(f"The top level of {path} must be keys and values.")
    check_size(root, path)
    for node in every_node(root):
        fault = fault_of(node, root, is_resolved)
        if fault:
            line = node.start_mark.line + 1
            raise UntrustedError(f"{path}, line {line}: {fault} is refused. {ADVICE}")
        if str(node.tag).startswith("!include:"):
            check_included(str(node.tag)[len("!include:") :], path, folder, depth)
        if str(node.tag) == "!new:pengi_plugin.pretrained.FolderPretrainer":
            check_files(files_of(node), folder)


def check_size(root: Node, path: Path) -> None:
    """Raise ValueError if a YAML is too deep or too large once aliases are followed."""
    sizes, open_nodes = {}, set()

    def size_of(node, depth):
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes or depth > MAX_DEPTH:
            raise UntrustedError(
                f"{path}, line {node.start_mark.line + 1}: an alias that holds itself, "
                f"or more than {MAX_DEPTH} levels, is refused."
            )
        open_nodes.add(id(node))
        size = 1 + sum(size_of(child, depth + 1) for child in children(node))
        open_nodes.discard(id(node))
        sizes[id(node)] = size
        return size

    size = size_of(root, 0)
    if size > MAX_NODES:
        raise UntrustedError(
            f"{path} has more than {MAX_NODES} values, aliases included; it is refused."
        )


def children(node: Node) -> list[Node]:
    """Return the keys and values below a node."""
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def every_node(root: Node) -> Iterator[Node]:
    """Yield each node once, parents first."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += reversed(children(node))


def fault_of(node: Node, root: MappingNode, is_resolved: bool) -> str:
    """Return what is refused about a node, or an empty string."""
    tag = str(node.tag)
    if isinstance(node, MappingNode):
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or str(key.tag) not in PLAIN:
                return f"the key {describe(key)}"
            if key.value in OUTSIDE:
                return f"the argument {key.value!r} ({tag})"
    if tag in PLAIN:
        return ""
    if tag == "!PLACEHOLDER":
        return ""  # load_hyperpyyaml says that it must be filled
    if tag == "!tuple":  # its text is another YAML
        text = node.value if isinstance(node, ScalarNode) else "!"
        return "" if re.fullmatch(r"\([\w\s.,+-]*\)", text) else describe(node)
    if tag == "!ref" and not is_resolved:
        is_safe = isinstance(node, ScalarNode) and is_plain_reference(node.value, root)
        return "" if is_safe else describe(node)
    if tag.startswith("!include:") and not is_resolved:
        given = [part for part in every_node(node) if isinstance(part, ScalarNode)]
        texts = [part for part in given if ANY_REFERENCE.search(part.value)]
        texts = [part for part in texts if str(part.tag) in PLAIN]
        return describe(texts[0]) if texts else ""
    kind, _, name = tag.partition(":")
    if kind in ("!new", "!name") and is_allowed(name, kind):
        if name in OURS and isinstance(node, SequenceNode):
            return f"{tag} with arguments that have no name"
        return ""
    return describe(node)


def describe(node: Node) -> str:
    """Return a node's tag, and its value where it is short."""
    value = node.value if isinstance(node, ScalarNode) else ""
    return f"{node.tag} {value[:80]}".strip()


def is_plain_reference(text: str, root: MappingNode) -> bool:
    """Tell whether a reference leads to a value that is no reference itself.

    HyperPyYAML follows a text such as ``<key.attribute>`` on, wherever it stands.
    """
    if not REFERENCE.fullmatch(text):
        return False
    node = root
    for part in re.findall(r"\w+", text):
        if not isinstance(node, MappingNode) or str(node.tag).startswith("!include:"):
            return False
        values = [value for key, value in node.value if key.value == part]
        if not values:
            return True  # load_hyperpyyaml says that there is no such key
        node = values[0]
    return not (isinstance(node, ScalarNode) and ANY_REFERENCE.search(node.value))


def is_allowed(name: str, kind: str) -> bool:
    """Tell whether a class or function may be built by any folder.

    Arguments
    ---------
    name : str
        Dotted path.
    kind : str
        ``!new`` or ``!name``.

    Example
    -------
    >>> is_allowed("torch.nn.Linear", "!new"), is_allowed("os.system", "!name")
    (True, False)
    >>> is_allowed("torch.nn.modules.module.torch.load", "!name")
    False
    """
    if name in OURS:
        return True
    module_name, _, class_name = name.rpartition(".")
    if not all(part.isidentifier() for part in name.split(".")) or not is_room(
        module_name
    ):
        return False
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        return False
    return (
        inspect.isclass(found)
        and issubclass(found, nn.Module)
        and is_room(found.__module__)
    )


def is_room(module: str) -> bool:
    """Tell whether the torch modules of a Python module may be built."""

    def lies_in(names):
        return any(module == name or module.startswith(f"{name}.") for name in names)

    return lies_in(MODULE_ROOMS) and not lies_in(READERS)


def check_included(name: str, path: Path, folder: Path | None, depth: int) -> None:
    """Check a file that a YAML includes."""
    if folder is None:
        raise UntrustedError(f"{path} includes {name}, which is refused. {ADVICE}")
    included = Path(os.path.realpath(path)).parent / name  # as HyperPyYAML finds it
    check_inside(included, folder, name)
    if depth >= MAX_DEPTH:
        raise UntrustedError(f"{path}: too many files include one another.")
    if not included.is_file():
        raise FileNotFoundError(f"{path} includes {name}, and there is no {included}.")
    check_text(read_text(included), included, folder, depth=depth + 1)


def files_of(node: Node) -> list[str]:
    """Return the file names that a ``FolderPretrainer``'s node lists."""
    if not isinstance(node, MappingNode):
        return []
    return [
        str(value.value)
        for key, files in node.value
        if key.value == "files" and isinstance(files, MappingNode)
        for _, value in files.value
    ]


def check_files(names: list[str], folder: Path | None) -> None:
    """Raise an error if a file of a model lies outside its folder."""
    for name in names:
        if Path(name).is_absolute() or ".." in re.split(r"[/\\]", name):
            raise UntrustedError(
                f"The file {name} lies outside the model's folder, which is refused. "
                f"{ADVICE}"
            )
        if folder is not None:
            check_inside(folder / name, folder, name)


def check_inside(path: Path, folder: Path, name: str) -> None:
    """Raise an error if a path leads out of a folder, by ``..`` or by a link.

    In the hub's cache, the files of a folder are links to ``blobs`` beside it.
    """
    target, real = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    allowed = [real]
    if real.parent.name == "snapshots":
        allowed.append(real.parent.parent / "blobs")
    if not any(target.is_relative_to(root) for root in allowed):
        raise UntrustedError(
            f"{name} leads out of the model's folder {folder}, to {target}, which is "
            f"refused. {ADVICE}"
        )
