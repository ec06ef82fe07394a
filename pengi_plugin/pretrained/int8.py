"""A model's folder in float32 in, the same folder with int8 weights out."""

from pathlib import Path

from ruamel.yaml import YAML
from torch import nn

from pengi_plugin.lobes.int8 import to_int8
from pengi_plugin.pretrained.card import CARD_FILE
from pengi_plugin.pretrained.folder import HPARAMS_FILE, load_folder
from pengi_plugin.pretrained.write import dumped
from pengi_plugin.storage.parts import save_part

#: Appended to the card.
NOTE = """
## Precision

The weights of linear layers, convolutions and embeddings are int8, with a scale per
output channel; all else is float16. For answering on CPUs; training needs the folder in
float32.
"""


def write_int8(folder: Path, trust: bool = False) -> None:
    """Let a model's folder hold its weights in int8.

    Arguments
    ---------
    folder : Path
        What ``pretrained.write`` or a conversion wrote, and nobody reads yet.
    trust : bool
        Whether its YAML may build anything.
    """
    pretrainer = load_folder(folder, trust)["pretrainer"]
    parts = {
        name: part
        for name, part in pretrainer.loadables.items()
        if isinstance(part, nn.Module)
    }
    for name, part in parts.items():
        path = folder / pretrainer.files[name]
        save_part(to_int8(part), path, is_short=True)
    path = folder / HPARAMS_FILE
    tree = YAML().load(path)
    tree["pretrainer"]["int8"] = list(parts)
    path.write_text(dumped(tree), encoding="utf-8")
    card = folder / CARD_FILE
    card.write_text(card.read_text(encoding="utf-8") + NOTE, encoding="utf-8")
