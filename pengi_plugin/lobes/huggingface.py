"""Build a frozen Hugging Face model from a hub name, a folder or a configuration."""

import logging

import torch
from transformers import AutoConfig, PreTrainedModel

from pengi_plugin.storage.locate import is_local

logger = logging.getLogger(__name__)


def build_frozen(
    auto_class: type,
    source: str | None = None,
    config: dict | None = None,
    **from_pretrained,
) -> PreTrainedModel:
    """Return a float32 model in eval mode whose parameters take no gradient.

    Arguments
    ---------
    auto_class : type
        A transformers class such as ``AutoModelForCausalLM``.
    source : str
        Hub name (``gpt2``) or local folder; gives architecture and weights.
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
        If ``source`` looks like a local path and is not there.

    Example
    -------
    >>> from transformers import AutoModel
    >>> tiny = {"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 4}
    >>> build_frozen(AutoModel, config=tiny).training
    False
    """
    if (source is None) == (config is None):
        raise ValueError(
            f"Give either source or config; got source={source!r}, config={config!r}."
        )
    if config is not None:
        if "model_type" not in config:
            raise ValueError(
                "config needs model_type (such as gpt2); "
                f"got the keys {sorted(config)}."
            )
        model = auto_class.from_config(AutoConfig.for_model(**config)).float()
    else:
        if not is_local(source):
            logger.info("Loading %s from the Hugging Face hub or its cache.", source)
        model = auto_class.from_pretrained(
            source, dtype=torch.float32, **from_pretrained
        )
    return model.eval().requires_grad_(False)
