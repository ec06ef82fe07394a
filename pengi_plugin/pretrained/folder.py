"""A folder (or hub repository) with a whole model: its parts in, loaded strictly.

``pengi convert`` and ``pengi export`` write such folders, ``AudioLanguageModel``
answers with them, and recipes continue training from them.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from ruamel.yaml import YAML
from speechbrain.utils.fetching import (
    FetchConfig,
    FetchFrom,
    FetchSource,
    LocalStrategy,
    fetch,
)
from speechbrain.utils.parameter_transfer import Pretrainer
from torch import nn

from pengi_plugin.lobes.int8 import to_int8
from pengi_plugin.pretrained.trust import (
    build_hparams,
    check_files,
    check_inside,
    check_text,
    read_text,
)
from pengi_plugin.storage.locate import download, locate
from pengi_plugin.storage.parts import load_part

#: The file that makes a folder a model.
HPARAMS_FILE = "hyperparams.yaml"

#: Keys of that file -> the part that takes them as an argument of the same name.
SETTINGS = {
    "normalize_prompt": "pengi",
    "eos_index": "searcher",
    "beam_size": "searcher",
    "max_new_tokens": "searcher",
}

#: Keys that other values in the YAML, or the weights, were made for.
OF_THE_WEIGHTS = ("sample_rate",)


def find_folder(source: str | os.PathLike | FetchSource) -> FetchSource:
    """Return where a model's folder is, on disk or on the hub.

    Arguments
    ---------
    source : str, Path or FetchSource
        A folder, or a hub repository ``owner/name``, which ``hub:owner/name`` always
        is; a FetchSource is returned as it is.

    Raises
    ------
    FileNotFoundError
        If it is a path and nothing is there; see ``storage.locate``.
    NotADirectoryError
        If it is a file.
    """
    if isinstance(source, FetchSource):
        return source
    location = locate(source, "owner/name")
    if location.path is None:
        return FetchSource(FetchFrom.HUGGING_FACE, location.repository)
    if not location.path.is_dir():
        raise NotADirectoryError(f"{source} is a file; give a model's folder.")
    return FetchSource(FetchFrom.LOCAL, str(location.path.resolve()))


def file_in_folder(folder: FetchSource, file: str) -> FetchSource:
    """Return where a file of a model's folder is.

    Raises
    ------
    FileNotFoundError
        If the folder is on disk and lacks the file.
    """
    kind, path = folder  # FetchFrom, and the folder or the repository's name
    if kind == FetchFrom.LOCAL and not (Path(path) / file).exists():
        raise FileNotFoundError(
            f"{path} holds no {file}; a model's folder has all files that its "
            f"{HPARAMS_FILE} names. Write it anew with pengi convert or pengi export."
        )
    return FetchSource(kind, f"{path}/{file}")


def find_yaml(folder: FetchSource, name: str = HPARAMS_FILE) -> Path:
    """Return the path of a model's YAML; from the hub it is fetched."""
    kind, path = file_in_folder(folder, name)
    if kind == FetchFrom.LOCAL:
        return Path(path)
    return download(path.removesuffix(f"/{name}"), name)


def reach_parts(overrides: Mapping, text: str) -> dict:
    """Let overrides of ``SETTINGS`` change parts that do not refer to these keys.

    In folders that version 0.1.0 exported, the parts repeat the values.

    Arguments
    ---------
    overrides : dict
        Key -> value, for ``load_hyperpyyaml``.
    text : str
        The YAML.

    Example
    -------
    >>> reach_parts({"beam_size": 2}, "searcher: {beam_size: 5}")
    {'beam_size': 2, 'searcher': {'beam_size': 2}}
    >>> reach_parts({"beam_size": 2}, "searcher: {beam_size: !ref <beam_size>}")
    {'beam_size': 2}
    """
    fixed = [name for name in OF_THE_WEIGHTS if name in overrides]
    if fixed:
        raise ValueError(
            f"{', '.join(fixed)} cannot be overridden: the weights were trained with "
            "the folder's value."
        )
    reaching = dict(overrides)
    for name, part in SETTINGS.items():
        if name in overrides and f"<{name}>" not in text:
            reaching[part] = {name: overrides[name], **reaching.get(part, {})}
    return reaching


class FolderPretrainer(Pretrainer):
    """Load a model's parts from files that lie beside its ``hyperparams.yaml``.

    SpeechBrain's ``Pretrainer`` looks up a part without a path as ``<name>.ckpt``,
    takes relative paths from the working directory, and loads modules with
    ``strict=False``. This one takes file names relative to wherever the folder is,
    on disk or on the hub, and a module must fit its file key by key.

    Arguments
    ---------
    loadables : dict
        Name -> torch module (from a safetensors file) or tokenizer.
    files : dict
        Name -> file name in the folder.
    int8 : list of str
        Names of modules whose weights are in int8; see ``lobes.int8``.

    Example
    -------
    >>> from pengi_plugin.storage.parts import save_part
    >>> folder = getfixture("tmp_path")
    >>> save_part(nn.Linear(2, 3), folder / "lm.safetensors")
    >>> pretrainer = FolderPretrainer({"lm": nn.Linear(2, 3)}, {"lm": "lm.safetensors"})
    >>> _ = pretrainer.collect_files(str(folder))
    >>> pretrainer.load_collected()
    """

    def __init__(self, loadables: dict, files: dict, int8: Sequence[str] = ()):
        if not all(isinstance(item, Mapping) for item in (loadables, files)):
            raise ValueError(
                "loadables and files must be mappings of names; got "
                f"{type(loadables).__name__} and {type(files).__name__}."
            )
        wrong = [file for file in files.values() if not isinstance(file, str)]
        if wrong:
            raise ValueError(f"files must be names of files; got {wrong}.")
        wrong = [
            name
            for name, item in loadables.items()
            if not isinstance(item, nn.Module) and not hasattr(item, "load")
        ]
        if wrong:
            raise ValueError(
                f"loadables must be torch modules or tokenizers; {', '.join(wrong)} "
                "are not."
            )
        unmatched = sorted(loadables.keys() ^ files.keys())
        if unmatched:
            raise ValueError(
                f"Each loadable needs a file and each file a loadable; got {unmatched} "
                "on one side only."
            )
        modules = [k for k, v in loadables.items() if isinstance(v, nn.Module)]
        wrong = [name for name in int8 if name not in modules]
        if isinstance(int8, str) or wrong:
            raise ValueError(f"int8 must be a list of modules' names; got {int8!r}.")
        super().__init__(
            loadables=loadables, custom_hooks=dict.fromkeys(modules, load_part)
        )
        self.files = dict(files)
        self.int8 = tuple(int8)

    def collect_files(
        self,
        default_source: str | os.PathLike | FetchSource,
        local_strategy: LocalStrategy = LocalStrategy.SYMLINK,
        fetch_config: FetchConfig = FetchConfig(),  # noqa: B008 (as the base class)
    ) -> dict:
        """Find the files in ``default_source``, a folder or a hub name.

        Raises
        ------
        FileNotFoundError
            If a file is not in the folder.
        """
        folder = find_folder(default_source)
        for name, file in self.files.items():
            self.paths[name] = file_in_folder(folder, file)
        return super().collect_files(
            local_strategy=local_strategy, fetch_config=fetch_config
        )

    def load_collected(self) -> None:
        """Load the files that were found; parts of ``int8`` take their form first."""
        for name in self.int8:
            to_int8(self.loadables[name])
        super().load_collected()


def load_pretrained(
    pretrainer: FolderPretrainer, source: str | os.PathLike, trust: bool = False
) -> None:
    """Fill a model's parts with the weights of a folder or hub repository.

    Files that lie outside the folder are refused unless it is trusted.
    """
    kind, name = folder = find_folder(source)
    if not trust:
        names = [str(file) for file in pretrainer.files.values()]
        check_files(names, Path(name) if kind == FetchFrom.LOCAL else None)
    pretrainer.collect_files(folder)
    pretrainer.load_collected()


def open_folder(
    source: str | os.PathLike | FetchSource,
    hparams_file: str = HPARAMS_FILE,
    overrides: Mapping | str | None = None,
    overrides_must_match: bool = True,
    trust: bool = False,
    savedir: str | os.PathLike | None = None,
    **fetching,
) -> tuple[dict, FetchSource]:
    """Return the objects of a model's YAML, without weights, and where its files are.

    Arguments
    ---------
    source : str, Path or FetchSource
        As of ``find_folder``.
    hparams_file : str
        Name of the YAML in it.
    overrides : dict or str
        Changes of keys. Those of ``SETTINGS`` reach the parts that take them.
    overrides_must_match : bool
        Whether overrides that the YAML has no key for are an error.
    trust : bool
        Whether to build whatever the YAML names; see ``pretrained.trust``.
    savedir : str
        Where to put what is fetched.
    **fetching : dict
        ``local_strategy`` and ``fetch_config`` of ``speechbrain``'s ``fetch``.

    Raises
    ------
    FileNotFoundError
        If the folder, its YAML or a file that the YAML names is not there.
    KeyError
        If an override has no key.
    ValueError
        If the folder needs trust (names what for; nothing was built), or its YAML
        cannot be built.
    """
    folder = find_folder(source)
    kind, name = folder
    root = Path(name) if kind == FetchFrom.LOCAL else None
    if root is None and (savedir is not None or fetching):
        path = fetch(hparams_file, folder, savedir=savedir, **fetching)
    else:
        path = find_yaml(folder, hparams_file)
    if root is not None and not trust:
        check_inside(path, root, hparams_file)
    if isinstance(overrides, str):
        overrides = YAML().load(overrides)
    overrides = reach_parts(overrides or {}, read_text(path))
    hparams = build_hparams(path, root, overrides, overrides_must_match, trust)
    pretrainer = hparams.get("pretrainer")
    if not isinstance(pretrainer, Pretrainer):
        raise ValueError(
            f"{path} has no pretrainer, so that no weights could be loaded; its keys "
            f"are {', '.join(map(str, hparams))}."
        )
    if not trust:
        check_files(list(map(str, pretrainer.files.values())), root)
    return hparams, folder


def load_folder(folder: str | os.PathLike, trust: bool = False) -> dict:
    """Return the objects of a model's ``hyperparams.yaml`` with their weights.

    Arguments
    ---------
    folder : str
        What ``pengi convert`` or ``pengi export`` wrote.
    trust : bool
        Whether to build whatever its YAML names; see ``pretrained.trust``.

    Returns
    -------
    hparams : dict
        As ``load_hyperpyyaml`` returns it.
    """
    hparams, source = open_folder(folder, trust=trust)
    load_pretrained(hparams["pretrainer"], source, trust)
    return hparams


def continue_from(overrides: str, text: str = "") -> str:
    """Let ``pretrained_folder`` replace the model of a training YAML.

    Arguments
    ---------
    overrides : str
        The YAML text that ``speechbrain.parse_arguments`` returns.
    text : str
        The training's YAML, whose ``pretrained_folder`` counts if ``overrides`` have
        none. Unless ``trust_pretrained_folder`` is true, the folder's YAML is
        checked by ``pretrained.trust``.

    Returns
    -------
    overrides : str
        With ``model`` included from the folder's ``hyperparams.yaml`` and the
        folder as a full path; as given, if it names no folder.

    Example
    -------
    >>> continue_from("seed: 3")
    'seed: 3'
    """
    given = YAML().load(text) or {}
    given |= YAML().load(overrides) or {}
    source = given.get("pretrained_folder")
    if not source:
        return overrides
    if not isinstance(source, str):
        raise ValueError(
            f"pretrained_folder must be a plain path or hub name; got {source!r}."
        )
    if "model" in (YAML().load(overrides) or {}):
        raise ValueError(
            f"pretrained_folder {source} brings its own model; give it or --model, "
            "not both."
        )
    folder = find_folder(source)
    path = find_yaml(folder)
    is_local = folder[0] == FetchFrom.LOCAL
    if is_local:
        source = folder[1]
    if not given.get("trust_pretrained_folder"):
        root = Path(source) if is_local else None
        if is_local:
            check_inside(path, root, HPARAMS_FILE)
        check_text(read_text(path), path, root)
    check_trainable(path, source)
    lines = [
        line
        for line in overrides.splitlines()
        if not line.startswith("pretrained_folder:")
    ]
    lines += [
        f"pretrained_folder: {json.dumps(str(source))}",
        f"model: !include:{quote(str(path))}",
    ]
    return "\n".join(lines)


def check_trainable(path: Path, source: str) -> None:
    """Raise ValueError if a model's YAML says that its weights are in int8."""
    pretrainer = YAML().load(read_text(path)).get("pretrainer")
    if isinstance(pretrainer, Mapping) and pretrainer.get("int8"):
        raise ValueError(
            f"{source} holds weights in int8, which cannot be trained. Give the folder "
            "in float32 that pengi export or pengi convert writes without --int8."
        )
