"""A released CLAP checkpoint in, all of its weights in our CLAP.

- MS-CLAP 2023 (``hparams/model/clap_base.yaml``): both encoders, both projections and
  the temperature of the ``.pth`` file. That texts end with ``" <|endoftext|>"`` and are
  read at their last token is from memory of the published code, and was not compared
  with it.
- LAION-CLAP without fusion, in the layout of transformers' ``ClapModel``
  (``hparams/model/clap_laion.yaml``); the same embeddings as transformers', tested.
"""

import re
from collections.abc import Iterable

from torch import Tensor
from transformers import ClapModel

from pengi_plugin.conversion.clap import (
    LAION_RENAMES,
    MS_CLAP_RENAMES,
    check_fit,
    joined_qkv,
    laion_config,
    laion_state,
    read_checkpoint,
    renamed,
)
from pengi_plugin.lobes.clap import Clap
from pengi_plugin.storage.locate import download, locate

#: Name in the file -> name in ``Clap``, in order.
MS_CLAP_PARTS = (
    (r"^module\.", ""),
    (r"^audio_encoder\.base\.htsat\.", "audio_encoder.encoder."),
    (r"^audio_encoder\.projection\.", "audio_projection."),
    (r"^caption_encoder\.base\.", "text_encoder.model."),
    (r"^caption_encoder\.projection\.", "text_projection."),
    (r"^logit_scale$", "temperature.logit_scale"),
)
LAION_PARTS = (
    (r"^audio_model\.audio_encoder\.", "audio_encoder.encoder."),
    (r"^text_model\.", "text_encoder.model."),
    (r"^logit_scale_a$", "temperature.logit_scale"),
)

#: Names that hold no learned weight that ``Clap`` uses: GPT-2's masks, the positions of
#: RoBERTa, and the second temperature of LAION's loss.
LEFT_OUT = (
    r"\.attn\.(masked_)?bias$",
    r"\.embeddings\.(position_ids|token_type_ids)$",
    r"^logit_scale_t$",
)

#: How the names of HTSAT begin in ``Clap``.
HTSAT_START = "audio_encoder.encoder."


def load_clap_model(clap: Clap, source: str) -> None:
    """Load a released CLAP into ours, strictly.

    Arguments
    ---------
    clap : Clap
        Of the checkpoint's sizes; changed in place.
    source : str
        An MS-CLAP 2023 file, a folder that transformers' ``ClapModel`` saved, or either
        on the hub: ``owner/name/file.pth`` or ``owner/name``.

    Raises
    ------
    FileNotFoundError
        If the source is a path and nothing is there, or the hub does not have it.
    ValueError
        If it is no such model, or names or shapes differ; names them.
    """
    location = locate(source, "owner/name", "owner/name/file")
    path = location.path
    if location.file:
        path = download(location.repository, location.file)
    if path and path.is_file():
        weights = moved(read_checkpoint(path), MS_CLAP_PARTS)
        weights = with_htsat(weights, MS_CLAP_RENAMES)
    else:
        weights = moved(whole_laion_state(str(location)), LAION_PARTS)
        weights = joined_qkv(with_htsat(weights, LAION_RENAMES))
    check_fit(clap.state_dict(), weights, source)
    clap.load_state_dict(weights)


def whole_laion_state(source: str) -> dict[str, Tensor]:
    """Return the state dict of a folder or hub name of transformers' ``ClapModel``."""
    config = laion_config(source)
    if config.model_type != "clap" or config.audio_config.enable_fusion:
        raise ValueError(
            f"{source} is not a whole LAION-CLAP without feature fusion (model_type "
            f"{config.model_type!r}); give one such as laion/clap-htsat-unfused."
        )
    return laion_state(ClapModel, source, config)


def moved(
    weights: dict[str, Tensor], parts: Iterable[tuple[str, str]]
) -> dict[str, Tensor]:
    """Give weights the names of ``Clap``'s parts."""
    result = {}
    for name, value in weights.items():
        for pattern, replacement in parts:
            name = re.sub(pattern, replacement, name)
        if not any(re.search(pattern, name) for pattern in LEFT_OUT):
            result[name] = value
    return result


def with_htsat(
    weights: dict[str, Tensor], renames: Iterable[tuple[str, str]]
) -> dict[str, Tensor]:
    """Give the weights of the audio encoder HTSAT's names; the others stay."""
    start = len(HTSAT_START)
    htsat = {k[start:]: v for k, v in weights.items() if k.startswith(HTSAT_START)}
    others = {k: v for k, v in weights.items() if not k.startswith(HTSAT_START)}
    found = {HTSAT_START + k: v for k, v in renamed(htsat, renames).items()}
    return others | found
