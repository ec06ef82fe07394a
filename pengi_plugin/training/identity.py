"""What a run is: its settings and data in, a refusal if its folder holds another run.

A training that goes on in a folder takes up the checkpoints there. With another
corpus, model or schedule they would be taken for this run's: nothing, or the wrong
thing, would be trained, and a table be printed all the same.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from pengi_plugin.storage.atomic import write_file
from pengi_plugin.training.checkpoints import FOLDERS

#: Written into the folder of the checkpoints when a run starts for the first time.
RUN_FILE = "run.json"

#: Name of the setting that tells the files of ``pretrained_folder`` from others.
PRETRAINED = "pretrained_folder (files)"

#: Part of what is written down: the data sets that the model has been trained on.
DATASETS = "datasets"

#: Settings that may change while a run goes on: where things are, how fast it goes,
#: what is printed, how it is tested, and how long it trains (`total_steps` and
#: `cooldown` of a schedule follow from that).
CHANGEABLE = (
    *("output_folder", "save_folder", "data_folder", "export_folder", "data_root"),
    *("manifest_folder", "tokenizer_file", "num_workers", "precision"),
    *("gradient_checkpointing", "compile", "pin_memory", "fused"),
    *("number_of_epochs", "total_steps", "cooldown", "nonfinite_patience"),
    *("max_unreadable_share", "held_out", "trust_pretrained_folder"),
    *("ckpt_interval_minutes", "ckpt_interval_steps", "n_sample_answer"),
    *("train_logger", "tensorboard_logger", "checkpointer", "epoch_counter"),
    *("valid_dataloader_opts", "eval_batch_size", "test_protocols", "search"),
)

#: How many differences a message names.
MAX_LISTED = 8


def flat_settings(tree, prefix: str = "") -> dict[str, object]:
    """Return every value of a YAML tree under its dotted path.

    Settings of ``CHANGEABLE`` are left out, wherever they are.

    Example
    -------
    >>> flat_settings({"lr": 0.1, "model": {"heads": [2, 4]}, "num_workers": 3})
    {'lr': 0.1, 'model.heads.0': 2, 'model.heads.1': 4}
    """
    if isinstance(tree, Mapping):
        items = tree.items()
    elif isinstance(tree, list | tuple):
        items = enumerate(tree)
    else:
        value = getattr(tree, "value", tree)  # of a scalar with a YAML tag
        is_plain = value is None or isinstance(value, bool | int | float | str)
        return {prefix: value if is_plain else str(value)}
    tag = getattr(getattr(tree, "tag", None), "value", None)  # which class it makes
    settings = {f"{prefix} (tag)": str(tag)} if tag else {}
    for key, value in items:
        if key not in CHANGEABLE:
            settings |= flat_settings(value, f"{prefix}.{key}" if prefix else str(key))
    return settings


def check_same_run(
    folder: str | Path, part: str, values: Mapping[str, object], hint: str = ""
) -> None:
    """Write down what a run is, or compare it with what is written there.

    A folder without a checkpoint holds no run yet: what is written is replaced.

    Arguments
    ---------
    folder : str
        Of the checkpoints; made if it is not there.
    part : str
        What the values are of, such as ``settings``; each part is compared alone.
    values : dict
        Name -> plain value.
    hint : str
        What can be done about other values, for the message.

    Raises
    ------
    ValueError
        If the folder holds a run with other values; names them.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> check_same_run(folder, "settings", {"lr": 0.1})
    >>> (folder / "CKPT+1").mkdir()
    >>> check_same_run(folder, "settings", {"lr": 0.2})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...lr: 0.1 then, 0.2 now...
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RUN_FILE
    values = json.loads(json.dumps(dict(values)))
    run = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if part not in run or not is_under_way(folder):
        run[part] = values
        write_file(path, json.dumps(run, indent=1, sort_keys=True) + "\n")
        return
    before = run[part]
    changed = [
        f"{name}: {before.get(name, 'absent')!r} then, "
        f"{values.get(name, 'absent')!r} now"
        for name in sorted(before.keys() | values.keys())
        if before.get(name, "absent") != values.get(name, "absent")
    ]
    if changed:
        more = len(changed) - MAX_LISTED
        listed = "; ".join(changed[:MAX_LISTED]) + (
            f"; {more} more" if more > 0 else ""
        )
        raise ValueError(
            f"{folder} holds the checkpoints of another run ({listed}). "
            f"{hint}{'give' if hint else 'Give'} another output_folder, or delete "
            "this one to train anew."
        )


def recorded(folder: str | Path, part: str) -> dict[str, object]:
    """Return what ``check_same_run`` has written down; nothing if it never ran."""
    path = Path(folder) / RUN_FILE
    return json.loads(path.read_text("utf-8")).get(part, {}) if path.exists() else {}


def is_under_way(folder: str | Path) -> bool:
    """Tell whether a folder of checkpoints holds one, finished or not."""
    return any(Path(folder).glob(FOLDERS))
