"""Write a confusion matrix: counts in, a CSV file and a picture out."""

import csv
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pengi_plugin.storage.atomic import write_file

NO_ANSWER = "(no answer)"


def write_confusion(
    counts: np.ndarray, classes: Sequence[str], folder: Path, name: str
) -> list[Path]:
    """Write counts as CSV, and as a picture where matplotlib is installed.

    Arguments
    ---------
    counts : numpy.ndarray
        [class, class + 1]; rows are right classes, the last column is no answer.
    classes : list of str
        Their names.
    folder : Path
        Where to.
    name : str
        Of the way that answers became classes.

    Returns
    -------
    paths : list of Path
        What was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"confusion_{name.replace(' ', '_')}.csv"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["right \\ predicted", *classes, NO_ANSWER])
    for label, row in zip(classes, counts.tolist(), strict=True):
        writer.writerow([label, *row])
    write_file(path, text.getvalue())
    if importlib.util.find_spec("matplotlib") is None:
        return [path]
    picture = path.with_suffix(".png")
    _draw(counts, classes, picture)
    return [path, picture]


def _draw(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    from matplotlib.figure import Figure

    side = max(4.0, 0.22 * len(classes))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="viridis")
    axes.set_xticks(range(len(classes) + 1), [*classes, NO_ANSWER], rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("predicted")
    axes.set_ylabel("right")
    figure.colorbar(image, label="share of the class's clips", shrink=0.6)
    figure.savefig(path, dpi=120)
