"""A model's card: its README.md in, what it declares out, and back.

A card begins with YAML that hubs read (licence, data sets, metrics): SpeechBrain's
form, which ``huggingface_hub`` reads and writes.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import ModelCard

from pengi_plugin.storage.locate import download, locate

logger = logging.getLogger(__name__)

#: Name of the card in a model's folder.
CARD_FILE = "README.md"


def read_card(folder: str | os.PathLike) -> ModelCard:
    """Return the card of a model's folder.

    Raises
    ------
    FileNotFoundError
        If the folder has none.
    ValueError
        If its YAML cannot be read.
    """
    path = Path(folder) / CARD_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {CARD_FILE}; pengi convert and pengi export write one."
        )
    try:
        return ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=False)
    except Exception as error:  # of YAML, of text, and of what the library checks
        reason = str(error).splitlines()[:1]
        raise ValueError(
            f"The head of {path} is no YAML of a card: {reason}"
        ) from error


def datasets_of(folder: str | os.PathLike) -> list[str]:
    """Return the data sets that a model's card names; none without a card.

    A card that the hub lacks, or that cannot be fetched, is warned of.

    Arguments
    ---------
    folder : str
        The model's folder, or its name on the hub.

    Example
    -------
    >>> path = getfixture("tmp_path")
    >>> _ = (path / "README.md").write_text("---\\ndatasets: [clotho]\\n---\\nPengi")
    >>> datasets_of(path)
    ['clotho']
    """
    location = locate(folder, "owner/name")
    if location.path is None:
        try:
            folder = download(location.repository, CARD_FILE).parent
        except FileNotFoundError as error:
            logger.warning(
                "The data sets that %s was trained on are not known, as its card could "
                "not be read: %s",
                *(folder, error),
            )
            return []
    else:
        folder = location.path
    if not (folder / CARD_FILE).is_file():
        return []
    names = read_card(folder).data.get("datasets") or []
    return [names] if isinstance(names, str) else [str(name) for name in names]


def note_datasets(folder: str | os.PathLike, names: Sequence[str]) -> None:
    """Let a folder's card name the data sets that the model was trained on."""
    if names:
        card = read_card(folder)
        card.data.datasets = list(names)
        card.save(Path(folder) / CARD_FILE)
