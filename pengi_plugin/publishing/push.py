"""A model's folder in, a repository of the Hugging Face hub out.

Only the files that the model's YAML names are uploaded, in one commit.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from pengi_plugin.inference import AudioLanguageModel, AudioTextModel
from pengi_plugin.pretrained.card import CARD_FILE
from pengi_plugin.pretrained.folder import HPARAMS_FILE, open_folder
from pengi_plugin.pretrained.trust import (
    UntrustedError,
    check_inside,
    check_text,
    read_text,
)


def files_to_push(folder: str | os.PathLike) -> dict[str, Path]:
    """Load a model as its users will load it, and return its files.

    Arguments
    ---------
    folder : str
        What ``pengi convert`` or ``pengi export`` wrote.

    Returns
    -------
    files : dict
        Name in the repository -> file, without the card. Nothing else of the folder is
        part of the model.

    Raises
    ------
    FileNotFoundError
        If it is no folder, or lacks a file.
    ValueError
        If others could not load it: it needs trust, includes files, or its weights do
        not fit; if it is the folder of a run; or if its card is a link to elsewhere.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}; give a model's folder.")
    if (folder / "save").is_dir() and (folder / "model" / HPARAMS_FILE).is_file():
        raise ValueError(
            f"{folder} is the folder of a training; its model is in {folder / 'model'}."
        )
    try:
        check_inside(folder / CARD_FILE, folder, CARD_FILE)
    except UntrustedError as error:
        target = (folder / CARD_FILE).resolve()
        raise ValueError(
            f"{folder / CARD_FILE} is a link to {target}: what lies outside the folder "
            "is not published. Put a copy of it into the folder."
        ) from error
    path = folder / HPARAMS_FILE
    if path.is_file():  # that of a hub may include nothing
        check_text(read_text(path), path, folder=None)
    hparams, _ = open_folder(folder)
    kind = AudioLanguageModel if "pengi" in hparams else AudioTextModel
    kind.from_hparams(source=folder, run_opts={"device": "cpu"})
    names = [HPARAMS_FILE, *map(str, hparams["pretrainer"].files.values())]
    return {name: folder / name for name in dict.fromkeys(names)}


def left_out(folder: str | os.PathLike, files: Mapping[str, Path]) -> list[str]:
    """Return the files of a folder that are not uploaded."""
    folder = Path(folder).expanduser()
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    kept = {*files, CARD_FILE}
    return sorted(
        name for name in found if name not in kept and (folder / name).is_file()
    )


def upload(
    files: Mapping[str, Path], card: str, repository: str, is_private: bool = False
) -> str:
    """Upload a model in one commit; the repository is made if it is not there.

    Arguments
    ---------
    files : dict
        Of ``files_to_push``.
    card : str
        Text of its README.md.
    repository : str
        ``owner/name``.
    is_private : bool
        Whether only its owner may see it.

    Returns
    -------
    url : str
        Of the commit.

    Raises
    ------
    ValueError
        If the repository is there already and everybody may see it, where a private one
        was asked for; nothing was uploaded.
    OSError
        If the hub refuses, or cannot be reached.
    """
    api = HfApi()
    api.create_repo(repository, private=is_private, exist_ok=True)
    if is_private and not api.model_info(repository).private:
        raise ValueError(
            f"{repository} is there already and public, which --private does not "
            "change. Make it private in its settings on the hub, or give another name."
        )
    operations = [CommitOperationAdd(CARD_FILE, card.encode("utf-8"))]
    operations += [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    commit = api.create_commit(
        repository, operations, commit_message="Upload a model with pengi push"
    )
    return str(commit.commit_url)
