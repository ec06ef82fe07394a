"""How a trained model is adapted: parts frozen, parts slower, LoRA on its LM.

Three keys of a training's YAML, for runs that begin with ``pretrained_folder``:

    freeze: ["audio_encoder.*"]             # weights that keep their values
    lr_factors: {"audio_encoder.*": 0.1}    # weights that learn more slowly
    lora: {r: 8, lora_alpha: 16}            # low-rank updates of the LM's layers

Names are those of ``Pengi.named_parameters()``; ``*`` stands for anything.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from pengi_plugin.lobes.pengi import Pengi
from pengi_plugin.lobes.trained_parts import LORA, TrainedParts
from pengi_plugin.pretrained.write import kind_of

#: Layers that get low-rank updates where ``lora`` names none: all linear ones of the
#: transformer, which trains best (Dettmers et al. 2023, section 4). The output layer
#: shares its weights with the embeddings and is left out.
ALL_LINEAR = "all-linear"


def adapt(model: Mapping, hparams: Mapping) -> None:
    """Do what a training's ``lora`` and ``freeze`` say, where it has them.

    Arguments
    ---------
    model : dict
        A constructed model YAML.
    hparams : dict
        A training's YAML.
    """
    if hparams.get("lora") and "pengi" not in model:
        raise ValueError("lora: only a Pengi has a language model to adapt.")
    if hparams.get("lora"):
        add_lora(model["pengi"], hparams["lora"])
    freeze(model[kind_of(model)], hparams.get("freeze") or [])


def matching(names: Iterable[str], pattern: str, key: str) -> list[str]:
    """Return the names that a pattern of a YAML's ``key`` matches, at least one."""
    names = list(names)
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        parts = sorted({name.split(".")[0] for name in names})
        raise ValueError(
            f"{key}: no trained weight is named {pattern!r}. Names begin with "
            f"{', '.join(parts)}, as in '{parts[0]}.*'; the language model and the "
            "text encoder are always frozen."
        )
    return found


def freeze(model: TrainedParts, patterns: Sequence[str]) -> None:
    """Keep weights as they are, and modules of such weights in evaluation mode.

    So a frozen batch normalisation keeps its statistics, and a frozen part has no
    dropout.

    Arguments
    ---------
    model : TrainedParts
        Pengi or CLAP, changed in place.
    patterns : list of str
        Names of weights; ``*`` stands for anything.

    Raises
    ------
    ValueError
        If a pattern matches nothing, or no weight is left to train.
    """
    weights = {k: v for k, v in model.named_parameters() if model.is_trained(k)}
    for pattern in patterns:
        for name in matching(weights, pattern, "freeze"):
            weights[name].requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise ValueError(f"freeze: {list(patterns)} leaves no weight to train.")
    if patterns:
        for module in model.modules():
            held = list(module.parameters())
            if held and not any(weight.requires_grad for weight in held):
                # Brain calls train() on all modules before every epoch.
                module.train = partial(stay_in_eval, module)
                module.eval()


def stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stand in for ``module.train``: evaluation mode whatever is asked."""
    return nn.Module.train(module, False)


def parameter_groups(
    named: Iterable[tuple[str, Tensor]], factors: Mapping[str, float]
) -> list[dict]:
    """Divide weights into groups with learning rates of their own.

    Arguments
    ---------
    named : iterable of (str, torch.Tensor)
        The weights to train.
    factors : dict
        Pattern of names -> factor on the learning rate, above 0. The first pattern
        that matches a weight counts.

    Returns
    -------
    groups : list of dict
        ``params`` and ``lr_factor``, for an optimizer; those with factor 1 first.

    Raises
    ------
    ValueError
        If a pattern matches nothing, or a factor is not above 0.

    Example
    -------
    >>> layer = nn.Linear(2, 3)
    >>> groups = parameter_groups(layer.named_parameters(), {"bias": 0.1})
    >>> [(group["lr_factor"], len(group["params"])) for group in groups]
    [(1.0, 1), (0.1, 1)]
    """
    named = dict(named)
    of_weight = dict.fromkeys(named, 1.0)
    for pattern, factor in reversed(factors.items()):
        if factor <= 0:
            raise ValueError(
                f"lr_factors: {pattern!r} has the factor {factor}, which must be above "
                "0; freeze keeps weights as they are."
            )
        of_weight |= dict.fromkeys(matching(named, pattern, "lr_factors"), factor)
    values = sorted(set(of_weight.values()), key=lambda factor: (factor != 1, -factor))
    return [
        {
            "params": [named[name] for name, f in of_weight.items() if f == factor],
            "lr_factor": float(factor),
        }
        for factor in values
    ]


def add_lora(pengi: Pengi, settings: Mapping) -> None:
    """Give the LM's layers low-rank updates to train (Hu et al. 2022), with ``peft``.

    Its own weights stay frozen and unchanged. At first the updates are zero: the
    model answers as before.

    Arguments
    ---------
    pengi : Pengi
        The model, changed in place.
    settings : dict
        Arguments of ``peft.LoraConfig``, such as ``r`` and ``lora_alpha``.

    Raises
    ------
    ModuleNotFoundError
        If peft is not installed.
    ValueError
        If peft does not know a setting.
    """
    peft = import_peft()
    try:
        config = peft.LoraConfig(**{"target_modules": ALL_LINEAR, **settings})
    except TypeError as error:
        raise ValueError(f"lora: {error}") from None
    if settings.get("lora_dropout") or settings.get("inference_mode"):
        raise ValueError(
            "lora: lora_dropout and inference_mode are not supported: the LM has no "
            "dropout in training. Leave them out."
        )
    lm = pengi.lm.model
    peft.inject_adapter_in_model(config, lm)
    ends = (lm.get_input_embeddings(), lm.get_output_embeddings())
    if any(hasattr(layer, "get_base_layer") for layer in ends):
        raise ValueError(
            "lora: the embeddings or the output layer are among target_modules; they "
            "share weights in many LMs, so that an update of one cannot be added to "
            "the model. Name layers between them."
        )
    others = [
        name
        for name, p in lm.named_parameters()
        if p.requires_grad and LORA not in name
    ]
    if others:
        raise ValueError(
            f"lora: its settings would also train {', '.join(others[:3])}, which is no "
            "low-rank update and not in checkpoints. Leave out bias, modules_to_save "
            "and trainable_token_indices."
        )


def has_lora(lm: nn.Module) -> bool:
    """Tell whether an LM has low-rank updates."""
    return any(LORA in name for name in lm.state_dict())


def write_adapter(lm: nn.Module, folder: Path) -> None:
    """Write an LM's low-rank updates alone, for ``PeftModel.from_pretrained``.

    Arguments
    ---------
    lm : PrefixLM
        An LM that ``add_lora`` changed.
    folder : Path
        Made if it is not there.
    """
    peft = import_peft()
    folder.mkdir(parents=True, exist_ok=True)
    lm.model.peft_config["default"].save_pretrained(folder)
    state = peft.get_peft_model_state_dict(lm.model, adapter_name="default")
    # A PeftModel holds the LM as base_model.model; here the LM holds the updates.
    state = {f"base_model.model.{key}": value for key, value in state.items()}
    save_file(state, folder / "adapter_model.safetensors")


def merged(lm: nn.Module) -> nn.Module:
    """Return a copy of a ``PrefixLM`` with its updates added to its weights."""
    lm = copy.deepcopy(lm)
    for name, layer in list(lm.model.named_modules()):
        if hasattr(layer, "get_base_layer"):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(lm.model.get_submodule(parent), child, layer.get_base_layer())
    return lm


def import_peft():
    """Return the module peft, or say how to install it."""
    try:
        import peft
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "lora: needs peft, which is not installed; "
            "pip install 'pengi-plugin[lora]' (or peft)."
        ) from None
    return peft
