"""What takes long to find out about a run's data: found by one process, once.

A record names what it depends on: contents and paths of manifests, and settings. Where
a run goes on, or its other processes start, what was found is read back as long as all
of that is the same.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from speechbrain.utils.distributed import run_on_main

from pengi_plugin.storage.atomic import new_folder

#: The record of a folder, written last.
RECORD = "record.json"


def once(
    folder: str | Path, key: Mapping, find: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return what a function finds, which the main process calls if it has to.

    Arguments
    ---------
    folder : str
        Where it is kept.
    key : dict
        All that it depends on, as JSON knows it.
    find : callable
        Returns name -> array.

    Returns
    -------
    found : dict
        Name -> array, mapped into memory: the processes of a machine share it.

    Example
    -------
    >>> folder = getfixture("tmp_path") / "odd"
    >>> once(folder, {"n": 4}, lambda: {"odd": np.arange(1, 4, 2)})["odd"].tolist()
    [1, 3]
    >>> once(folder, {"n": 4}, lambda: print("again"))["odd"].tolist()
    [1, 3]
    """
    folder = Path(folder)
    run_on_main(_keep, args=[folder, json.loads(json.dumps(dict(key))), find])
    names = json.loads((folder / RECORD).read_text("utf-8"))["arrays"]
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}


def _keep(folder: Path, key: dict, find: Callable) -> None:
    """Write what a function finds, if the folder does not hold it."""
    try:
        if json.loads((folder / RECORD).read_text("utf-8"))["key"] == key:
            return
    except (OSError, ValueError, KeyError):  # there is none, or it is damaged
        pass
    found = find()
    with new_folder(folder, replaces=RECORD) as unfinished:
        for name, array in found.items():
            np.save(unfinished / f"{name}.npy", array)
        record = {"key": key, "arrays": list(found)}
        (unfinished / RECORD).write_text(json.dumps(record), "utf-8")
