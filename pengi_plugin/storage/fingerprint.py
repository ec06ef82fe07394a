"""A model's folder, or its name on the hub, in; what tells it from others out."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from speechbrain.utils.fetching import FetchFrom, FetchSource

from pengi_plugin.storage.locate import HUB, download, locate


def fingerprint(
    model: str | os.PathLike | FetchSource, without: Sequence[str] = ()
) -> str:
    """Return what tells one model from another.

    Arguments
    ---------
    model : str, Path or FetchSource
        A folder, or the name of a hub repository; a FetchSource says which.
    without : list of str
        Files of the folder that do not count, such as its card.

    Returns
    -------
    name : str
        Hexadecimal digest of the folder's files; or ``owner/name@commit``, of the
        commit that the hub's local cache has.

    Raises
    ------
    FileNotFoundError
        If it is a path and nothing is there; see ``storage.locate``.
    """
    if isinstance(model, FetchSource):
        kind, name = model
        model = Path(name) if kind == FetchFrom.LOCAL else f"{HUB}{name}"
    location = locate(model, "owner/name")
    if location.path is None:
        # The cache keeps a repository's files in a folder that its commit names.
        commit = download(location.repository, "hyperparams.yaml").parent.name
        return f"{location.repository}@{commit}"
    folder = location.path
    files = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if str(path.relative_to(folder)) in without:
            continue
        files.update(str(path.relative_to(folder)).encode())
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                files.update(block)
    return files.hexdigest()[:16]
