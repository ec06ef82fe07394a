"""A name in, what it stands for out: a local path, a hub name or a web address.

Everything that users name by one word is located here: models, their parts,
tokenizers, CLAP checkpoints, recordings.
"""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

logger = logging.getLogger(__name__)

#: What a name begins with that is one of the hub whatever lies on this machine.
HUB = "hub:"

_WORD = r"\w[\w.-]*"

#: How something remote may be named -> the pattern of such names, and what they are.
#: ``name`` alone is for parts of models that the hub has kept from its first days.
REMOTE_FORMS = {
    "owner/name": (rf"{_WORD}/{_WORD}", "a repository on the Hugging Face hub"),
    "name": (_WORD, "a repository on the Hugging Face hub such as gpt2"),
    "owner/name/file": (
        rf"{_WORD}/{_WORD}(/{_WORD})*/{_WORD}\.\w+",
        "a file on the Hugging Face hub",
    ),
    "https://...": (r"https?://.+", "a web address"),
}

#: What ends so is a file, and never the name of a repository.
FILE_SUFFIXES = (
    *(".json", ".model", ".txt", ".yaml"),
    *(".bin", ".ckpt", ".gguf", ".pt", ".pth", ".safetensors"),
)


@dataclass(frozen=True)
class Location:
    """Where something is: either ``path``, ``repository`` or ``url`` is set.

    Arguments
    ---------
    path : Path
        A local file or folder, which exists.
    repository : str
        Name of a repository on the Hugging Face hub.
    file : str
        The file in that repository, where one was named.
    url : str
        A web address.
    """

    path: Path | None = None
    repository: str | None = None
    file: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        return str(self.path or self.url or self.repository)


def locate(name: str | os.PathLike, *remote_forms: str) -> Location:
    """Tell whether a name is a path, or something on the hub or the web.

    ``hub:owner/name`` is a repository, also where there is such a folder. Another
    name is a path if the path exists, if its first part exists (``models/gone``
    where there is a folder ``models``), if it is a ``Path`` object, or if it has none
    of the remote forms that may be meant. A path that does not exist is an error: it
    is not looked for on the hub.

    Arguments
    ---------
    name : str or Path
        The name.
    *remote_forms : str
        Keys of ``REMOTE_FORMS`` that may be meant besides a path.

    Returns
    -------
    location : Location

    Raises
    ------
    FileNotFoundError
        If the name is a path and nothing is there.
    ValueError
        If ``hub:`` is not followed by ``owner/name``.

    Example
    -------
    >>> locate("openai/clip-vit-base-patch16", "owner/name").repository
    'openai/clip-vit-base-patch16'
    >>> locate("hub:openai/clip-vit-base-patch16", "owner/name").repository
    'openai/clip-vit-base-patch16'
    >>> locate("./openai/clip-vit-base-patch16", "owner/name")
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no file or folder ./openai/clip-vit-base-patch16 ...
    """
    text = str(name)
    if isinstance(name, str) and name.startswith(HUB) and "owner/name" in remote_forms:
        repository = name.removeprefix(HUB)
        if not re.fullmatch(REMOTE_FORMS["owner/name"][0], repository):
            raise ValueError(f"Give {HUB}owner/name; got {name!r}.")
        return _on_the_hub(Location(repository=repository))
    path = Path(text).expanduser()
    if text and path.exists():
        return Location(path=path)
    first = re.split(r"[/\\]", text)[0]
    may_be_remote = isinstance(name, str) and not Path(first or "/").exists()
    for form in remote_forms if may_be_remote else ():
        if not re.fullmatch(REMOTE_FORMS[form][0], text):
            continue
        if form == "https://...":
            return Location(url=text)
        if form == "owner/name/file":
            owner, repository, file = text.split("/", 2)
            return _on_the_hub(Location(repository=f"{owner}/{repository}", file=file))
        if not text.endswith(FILE_SUFFIXES):
            return _on_the_hub(Location(repository=text))
    accepted = [f"{form} ({REMOTE_FORMS[form][1]})" for form in remote_forms]
    raise FileNotFoundError(
        f"There is no file or folder {text}"
        + ("" if path.is_absolute() else f" in {Path.cwd()}")
        + f". Give {' or '.join(['a path that exists', *accepted])}."
    )


def _on_the_hub(location: Location) -> Location:
    logger.info(
        "%s is not a path on this machine; asking the Hugging Face hub for it.",
        "/".join(filter(None, (location.repository, location.file))),
    )
    return location


def download(repository: str, file: str) -> Path:
    """Fetch a file of a hub repository, or find it in the hub's local cache.

    Raises
    ------
    FileNotFoundError
        If it cannot be had.
    """
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except (OSError, ValueError) as error:  # OSErrors, and one for ill-formed names
        raise FileNotFoundError(
            f"{repository} is not a path on this machine, and its {file} could not be "
            f"fetched from the Hugging Face hub: {error}"
        ) from error
