"""Manifests of a few clips that are not there."""

import json


def rows_of(corpus, n, first=0, seconds=1.0, **fields):
    """Return rows of a corpus; ``{}`` in a field is their number."""
    return {
        f"{corpus}/{i}": {"wav": f"{corpus}{i}.wav", "duration": seconds}
        | {"corpus": corpus, "task": "x"}
        | {key: value.format(i) for key, value in fields.items()}
        for i in range(first, first + n)
    }


def write(folder, split, rows):
    """Write the manifest of a split."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.json").write_text(json.dumps(rows))


def fail(data_folder, manifest_folder):
    """Stand in for a corpus that is damaged."""
    raise FileNotFoundError("no list")
