"""A CLAP in, its weights in our audio encoder, or in the whole of our CLAP.

The paper starts the audio encoder from CLAP: from one that ``recipes/clap`` trained
and exported, or a released one. Two released families have an HTSAT:

- MS-CLAP 2023 (Elizalde, Deshmukh, Wang: *Natural Language Supervision for
  General-Purpose Audio Representations*, ICASSP 2024, arXiv 2309.05767), one
  ``.pth`` file whose audio branch is laid out as the released Pengi's. Features:
  44.1 kHz, hop 320, mel bands of 32 kHz.
- LAION-CLAP without fusion (Wu, Chen, Zhang, Hui, Berg-Kirkpatrick, Dubnov:
  *Large-scale Contrastive Language-Audio Pretraining*, ICASSP 2023, arXiv
  2211.06687), in the layout of transformers' ``ClapModel``. Features: 48 kHz, hop
  480, 10 s.
"""

import pickle
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    ClapAudioModelWithProjection,
    PretrainedConfig,
)

from pengi_plugin.lobes.audio_encoder import AudioEncoder
from pengi_plugin.lobes.htsat import HTSAT
from pengi_plugin.lobes.int8 import is_int8
from pengi_plugin.pretrained.folder import HPARAMS_FILE, load_folder
from pengi_plugin.storage.locate import download, locate

#: MS-CLAP's or released Pengi's name -> HTSAT's name, in order.
MS_CLAP_RENAMES = ((r"^audio_encoder\.base\.htsat\.", ""),)

#: Name in transformers' ClapModel -> HTSAT's name, in order. Query, key and value
#: are then joined to ``qkv``.
LAION_RENAMES = (
    (r"^audio_model\.audio_encoder\.", ""),
    (r"^batch_norm\.", "bn0."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.self\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)

#: Names (ours) that checkpoints hold beside what HTSAT learns: what follows from the
#: sizes, and the two class heads, which no embedding passes through.
NOT_LEARNED = (
    r"^spectrogram_extractor\.",
    r"^logmel_extractor\.",
    r"\.relative_position_index$",
    r"\.attn_mask$",
    r"^bn0\.num_batches_tracked$",
)
UNUSED_HEADS = (r"^tscam_conv\.", r"^head\.")

#: Names on the hub of one of each family.
EXAMPLES = "microsoft/msclap/CLAP_weights_2023.pth or laion/clap-htsat-unfused"


def load_clap(audio_encoder: AudioEncoder, source: str) -> None:
    """Load a CLAP's audio encoder into ours, strictly.

    The projection is not loaded; it keeps its initial weights.

    Arguments
    ---------
    audio_encoder : AudioEncoder
        Holds an HTSAT of the checkpoint's sizes; changed in place.
    source : str
        A folder that ``recipes/clap`` (or any run of ours) exported; an MS-CLAP 2023
        file, a folder that transformers' ``ClapModel`` or
        ``ClapAudioModelWithProjection`` saved, or one of these two on the hub:
        ``owner/name/file.pth`` or ``owner/name``.

    Raises
    ------
    FileNotFoundError
        If the source is a path and nothing is there (see ``storage.locate``), or
        the hub does not have it.
    ValueError
        If it holds no HTSAT, or one whose names or shapes differ; names them. Of an
        exported folder also if its features are others, or its weights in int8.
    """
    folder = Path(source).expanduser()
    if (folder / HPARAMS_FILE).is_file():
        load_exported(audio_encoder, folder)
        return
    htsat = audio_encoder.encoder
    if not isinstance(htsat, HTSAT):
        raise ValueError(
            "A CLAP checkpoint is loaded into an HTSAT; this audio encoder is a "
            f"{type(htsat).__name__}."
        )
    location = locate(source, "owner/name", "owner/name/file")
    path = location.path
    if location.file:
        path = download(location.repository, location.file)
    if path and path.is_file():
        weights = ms_clap_weights(read_checkpoint(path), source)
    else:
        weights = laion_weights(str(location))
    check_fit(htsat.state_dict(), weights, source)
    htsat.load_state_dict(weights)


def load_exported(audio_encoder: AudioEncoder, folder: Path) -> None:
    """Load the audio encoder of an exported folder, of any kind, into one like it."""
    exported = load_folder(folder)["audio_encoder"]
    if is_int8(exported):
        raise ValueError(
            f"{folder} holds weights in int8, which cannot be trained. Give the folder "
            "in float32 that pengi export writes without --int8."
        )
    theirs, ours = feature_settings(exported), feature_settings(audio_encoder)
    differ = sorted(
        name for name in ours | theirs if ours.get(name) != theirs.get(name)
    )
    if differ:
        told = [f"{name}: {theirs.get(name)}, not {ours.get(name)}" for name in differ]
        raise ValueError(
            f"{folder} was trained on other features than this model's: "
            f"{'; '.join(told)}. Give both models the same."
        )
    check_fit(audio_encoder.state_dict(), exported.state_dict(), str(folder))
    audio_encoder.load_state_dict(exported.state_dict())


def feature_settings(audio_encoder: AudioEncoder) -> dict[str, object]:
    """Return the plain settings and the filters of an audio encoder's features."""
    features = audio_encoder.features
    if features is None:
        return {}
    settings = {
        name: value
        for name, value in vars(features).items()
        if isinstance(value, int | float | str) and name != "training"
    }
    # f_min, f_max and the like are in the filters alone.
    filters = {
        name: f"values that sum to {value.double().sum():.6g}"
        for name, value in features.named_buffers()
    }
    return settings | filters


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the weights of a ``.pth`` file that keeps them under ``model``.

    Only tensors and plain containers are read; a pickle with code is refused.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} could not be read as a checkpoint that holds weights only: {error}"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        found = list(content)[:5] if isinstance(content, dict) else type(content)
        raise ValueError(f"{path} has no weights under 'model'; it holds {found}.")
    return content["model"]


def ms_clap_weights(weights: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return HTSAT's weights from an MS-CLAP 2023 (or released Pengi) state dict.

    Keys may be prefixed ``module.``; those of other parts are left alone.

    Arguments
    ---------
    weights : dict
        The state dict under ``model``.
    source : str
        Where it comes from, for error messages.
    """
    names = [re.sub(r"^module\.", "", name) for name in weights]
    if any(name.startswith("audio_encoder.base.conv_block") for name in names):
        raise ValueError(
            f"{source} is MS-CLAP 2022, whose audio encoder is a Cnn14, not an HTSAT. "
            "Take MS-CLAP 2023 (CLAP_weights_2023.pth)."
        )
    if not any(name.startswith("audio_encoder.base.htsat.") for name in names):
        raise ValueError(
            f"{source} has no audio_encoder.base.htsat.* weights, so it is not MS-CLAP "
            f"2023; its first are {names[:3]}."
        )
    htsat = {
        name: value
        for name, value in zip(names, weights.values())
        if name.startswith("audio_encoder.base.htsat.")
    }
    return renamed(htsat, MS_CLAP_RENAMES)


def laion_weights(source: str) -> dict[str, Tensor]:
    """Return HTSAT's weights from a folder or hub name of transformers' CLAP."""
    config = laion_config(source)
    if config.model_type not in ("clap", "clap_audio_model"):
        raise ValueError(
            f"{source} is a {config.model_type!r} model; give a CLAP, such as "
            f"{EXAMPLES}."
        )
    audio = config.audio_config if config.model_type == "clap" else config
    if audio.enable_fusion:
        raise ValueError(
            f"{source} is a LAION-CLAP with feature fusion, which HTSAT cannot "
            "hold. Take one without, such as laion/clap-htsat-unfused."
        )
    weights = {
        name: value
        for name, value in laion_state(
            ClapAudioModelWithProjection, source, audio
        ).items()
        if name.startswith("audio_model.")
    }
    return joined_qkv(renamed(weights, LAION_RENAMES))


def laion_config(source: str) -> PretrainedConfig:
    """Return the configuration of a folder or hub name of transformers' CLAP."""
    try:
        return AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{source} is neither a folder here nor a name on the hub that "
            f"transformers can load as CLAP: {error}"
        ) from error


def laion_state(
    model_class: type, source: str, config: PretrainedConfig
) -> dict[str, Tensor]:
    """Return the state dict of a CLAP of transformers; ValueError if it lacks any."""
    model, report = model_class.from_pretrained(
        source, config=config, dtype=torch.float32, output_loading_info=True
    )
    if report["missing_keys"]:
        raise ValueError(f"{source} lacks {sorted(report['missing_keys'])}.")
    return model.state_dict()


def renamed(
    weights: dict[str, Tensor], renames: Iterable[tuple[str, str]]
) -> dict[str, Tensor]:
    """Apply a table of renames; leave out what HTSAT does not learn or use."""
    result = {}
    for name, value in weights.items():
        for pattern, replacement in renames:
            name = re.sub(pattern, replacement, name)
        if not any(re.search(p, name) for p in NOT_LEARNED + UNUSED_HEADS):
            result[name] = value
    return result


def joined_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join each attention's ``query``, ``key`` and ``value`` to ``qkv``."""
    result = {}
    for name, value in weights.items():
        if re.search(r"\.attn\.(key|value)\.", name):
            continue
        if ".attn.query." in name:
            parts = [
                name.replace(".query.", f".{p}.") for p in ("query", "key", "value")
            ]
            name = name.replace(".query.", ".qkv.")
            value = torch.cat([weights[part] for part in parts])
        result[name] = value
    return result


def check_fit(
    expected: dict[str, Tensor], weights: dict[str, Tensor], source: str
) -> None:
    """Raise ValueError that names each weight that does not fit."""
    faults = [f"lacks {name}" for name in expected if name not in weights]
    for name, value in weights.items():
        if name not in expected:
            faults.append(f"has an unexpected {name}")
        elif value.shape != expected[name].shape:
            faults.append(
                f"has {name} as {list(value.shape)}, not {list(expected[name].shape)}"
            )
    if faults:
        raise ValueError(
            f"{source} does not fit this model (check its dim, depths, heads, window, "
            f"patch_size and n_mels): it {'; it '.join(faults)}."
        )
