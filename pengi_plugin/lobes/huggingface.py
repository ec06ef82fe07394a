"""Hugging Face models from a hub name, a folder or a configuration.

A lobe that takes its architecture as ``config`` beside ``source``, and keeps the model
as ``model``, can be exported: the folder's YAML then holds the configuration.
"""

from pathlib import Path

import torch
from huggingface_hub.constants import HF_HUB_CACHE
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from pengi_plugin.storage.locate import locate


def build(
    auto_class: type,
    source: str | None = None,
    config: dict | None = None,
    **from_pretrained,
) -> PreTrainedModel:
    """Return a float32 model.

    Arguments
    ---------
    auto_class : type
        A transformers class such as ``AutoModelForCausalLM``.
    source : str
        Local folder or hub name (``owner/name`` or ``gpt2``), see
        ``storage.locate``; gives architecture and weights.
    config : dict
        The configuration alone, ``model_type`` included; the weights are random
        until something loads them. Give this or ``source``.
    **from_pretrained : dict
        Passed on to ``from_pretrained``, such as ``gguf_file``.

    Returns
    -------
    model : PreTrainedModel

    Raises
    ------
    ValueError
        If not exactly one of ``source`` and ``config`` is given.
    FileNotFoundError
        If ``source`` is a path and nothing is there, or a hub name that is neither
        in the cache nor can be fetched.
    """
    if (source is None) == (config is None):
        raise ValueError(
            f"Give either source or config; got source={source!r}, config={config!r}."
        )
    if config is None:
        location = locate(source, "owner/name", "name")
        try:
            return auto_class.from_pretrained(
                str(location), dtype=torch.float32, **from_pretrained
            )
        except OSError as error:
            if location.path is not None:
                raise
            raise FileNotFoundError(
                f"{source} is neither a file or folder in {Path.cwd()} nor a model in "
                f"the cache of the Hugging Face hub ({HF_HUB_CACHE}), and could not be "
                "fetched from the hub. Correct the name, give the path of a folder "
                "with the model, or run once with a network and without "
                f"HF_HUB_OFFLINE=1. ({error})"
            ) from error
    if "model_type" not in config:
        raise ValueError(
            f"config needs model_type (such as gpt2); got the keys {sorted(config)}."
        )
    return auto_class.from_config(AutoConfig.for_model(**config)).float()


def build_frozen(*arguments, **options) -> PreTrainedModel:
    """Return a model in eval mode whose parameters take no gradient.

    Arguments and errors are those of ``build``.

    Example
    -------
    >>> tiny = {"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 4}
    >>> build_frozen(AutoModel, config=tiny).training
    False
    """
    return build(*arguments, **options).eval().requires_grad_(False)


class HFAudioEncoder(nn.Module):
    """Encode waveforms by a Hugging Face model such as wav2vec 2.0, HuBERT or WavLM.

    An ``encoder`` of ``AudioEncoder`` that is trained with the rest. SpeechBrain's
    wrappers fit there too, but need their hub repository whenever they are built, so
    that a model with one cannot be exported; this one can.

    Arguments
    ---------
    source : str
        Hub name or local folder.
    config : dict
        A configuration instead (weights are loaded later).
    normalize_wav : bool
        Whether clips get zero mean and unit variance, as ``do_normalize`` in the
        model's ``preprocessor_config.json`` says.

    Example
    -------
    >>> encoder = HFAudioEncoder(config={"model_type": "wav2vec2", "hidden_size": 8,
    ...     "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    ...     "conv_dim": [4, 4], "conv_kernel": [10, 8], "conv_stride": [5, 4],
    ...     "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2})
    >>> encoder(torch.randn(2, 1000)).shape
    torch.Size([2, 48, 8])
    """

    def __init__(
        self,
        source: str | None = None,
        config: dict | None = None,
        normalize_wav: bool = False,
    ):
        super().__init__()
        self.model = build(AutoModel, source, config)
        self.model.config.apply_spec_augment = False  # else parts of clips are masked
        self.normalize_wav = normalize_wav

    def forward(self, wavs: Tensor) -> Tensor:
        """Encode clips [batch, sample] as [batch, time, d_audio]."""
        if self.normalize_wav:
            wavs = nn.functional.layer_norm(wavs, wavs.shape[1:])
        return self.model(wavs).last_hidden_state
