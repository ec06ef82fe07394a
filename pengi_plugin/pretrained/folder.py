"""A folder (or hub repository) with a whole model: its parts in, loaded strictly.

``pengi convert`` and ``pengi export`` write such folders, ``AudioLanguageModel``
answers with them, and recipes continue training from them.
"""

import os
from pathlib import Path
from urllib.parse import quote

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from speechbrain.utils.fetching import (
    FetchConfig,
    FetchSource,
    LocalStrategy,
    fetch,
)
from speechbrain.utils.parameter_transfer import Pretrainer
from torch import nn

from pengi_plugin.storage.locate import is_local
from pengi_plugin.storage.parts import load_part

#: The file that makes a folder a model.
HPARAMS_FILE = "hyperparams.yaml"


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

    Example
    -------
    >>> from pengi_plugin.storage.parts import save_part
    >>> folder = getfixture("tmp_path")
    >>> save_part(nn.Linear(2, 3), folder / "lm.safetensors")
    >>> pretrainer = FolderPretrainer({"lm": nn.Linear(2, 3)}, {"lm": "lm.safetensors"})
    >>> _ = pretrainer.collect_files(str(folder))
    >>> pretrainer.load_collected()
    """

    def __init__(self, loadables: dict, files: dict):
        unmatched = sorted(loadables.keys() ^ files.keys())
        if unmatched:
            raise ValueError(
                f"Each loadable needs a file and each file a loadable; got {unmatched} "
                "on one side only."
            )
        modules = [k for k, v in loadables.items() if isinstance(v, nn.Module)]
        super().__init__(
            loadables=loadables, custom_hooks=dict.fromkeys(modules, load_part)
        )
        self.files = dict(files)

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
        for name, file in self.files.items():
            self.paths[name] = place(default_source, file)
        return super().collect_files(
            local_strategy=local_strategy, fetch_config=fetch_config
        )


def place(source: str | os.PathLike | FetchSource, file: str) -> str | FetchSource:
    """Return where ``file`` of a folder or hub repository is, as Pretrainer says it.

    Raises
    ------
    FileNotFoundError
        If ``source`` is a folder without that file, or a path that is not there.
    """
    if isinstance(source, FetchSource):
        kind, path = source
        return FetchSource(kind, f"{path}/{file}")
    if is_local(source):
        folder = Path(source).expanduser().resolve()
        if not (folder / file).exists():
            raise FileNotFoundError(
                f"{folder} holds no {file}; a model's folder has all files that its "
                f"{HPARAMS_FILE} names. Write it anew with pengi convert or pengi "
                "export."
            )
        return str(folder / file)
    return f"{source}/{file}"


def load_pretrained(pretrainer: FolderPretrainer, source: str | os.PathLike) -> None:
    """Fill a model's parts with the weights of a folder or hub repository."""
    pretrainer.collect_files(source)
    pretrainer.load_collected()


def load_folder(folder: str | os.PathLike) -> dict:
    """Return the objects of a model's ``hyperparams.yaml`` with their weights.

    Arguments
    ---------
    folder : str
        What ``pengi convert`` or ``pengi export`` wrote.

    Returns
    -------
    hparams : dict
        As ``load_hyperpyyaml`` returns it.
    """
    with open(place(folder, HPARAMS_FILE), encoding="utf-8") as file:
        hparams = load_hyperpyyaml(file)
    load_pretrained(hparams["pretrainer"], folder)
    return hparams


def continue_from(overrides: str) -> str:
    """Let ``--pretrained_folder FOLDER`` replace the model of a training YAML.

    Arguments
    ---------
    overrides : str
        The YAML text that ``speechbrain.parse_arguments`` returns.

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
    source = (YAML().load(overrides) or {}).get("pretrained_folder")
    if not source:
        return overrides
    if is_local(source):
        source = str(Path(source).expanduser().resolve())
        path = place(source, HPARAMS_FILE)
    else:
        path = str(fetch(HPARAMS_FILE, source))
    lines = [
        line
        for line in overrides.splitlines()
        if not line.startswith("pretrained_folder:")
    ]
    lines += [f"pretrained_folder: {source}", f"model: !include:{quote(path)}"]
    return "\n".join(lines)
