"""Corpora that a YAML names in; those that are there, their rows and shares out."""

import logging
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
from speechbrain.utils.distributed import run_on_main

from pengi_plugin.data.manifest import (
    SPLITS,
    Rows,
    as_rows,
    concatenate,
    keep_manifests,
    manifest_path,
    read_manifest,
    read_record,
)
from pengi_plugin.training.identity import is_under_way

logger = logging.getLogger(__name__)


def chosen_corpora(hparams: Mapping) -> dict[str, dict]:
    """Return the corpora that are to be trained on, with their manifest folders.

    Arguments
    ---------
    hparams : dict
        ``corpora`` is a mapping, name -> ``manifest_folder``, ``share`` and, if its
        manifests are to be written, ``prepare`` (a function without arguments); one
        whose ``source`` is null is left out. Or ``corpora`` names corpora of
        ``known_corpora``, as a list or a text with commas; none: all that are found.

    Returns
    -------
    corpora : dict
        Name -> its entry.

    Raises
    ------
    FileNotFoundError
        If a corpus that is named, or every one, is not there.
    ValueError
        If a name is unknown.
    """
    corpora = hparams["corpora"]
    if corpora and isinstance(corpora, Mapping):
        return {
            name: corpus
            for name, corpus in corpora.items()
            if corpus.get("source", name) is not None
        }
    known = hparams["known_corpora"]
    names = split_names(corpora)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"corpora names {unknown}; known_corpora has {[*known]}.")
    found = find_corpora(known, hparams["data_root"], hparams["data_folder"])
    absent = [name for name in names or known if name not in found]
    if absent and (names or len(absent) == len(known)):
        looked_for = [folder for n in absent for folder in known[n].get("folders", ())]
        raise FileNotFoundError(
            f"{', '.join(absent)}: not found. data_root is {hparams['data_root']}, its "
            f"folders are compared with {looked_for} of known_corpora. Give the folder "
            "that holds the corpora by --data_root, or manifests of your own by "
            "--manifest_folder."
        )
    return {name: entry for name, entry in found.items() if name in (names or known)}


def split_names(names: str | Iterable[str] | None) -> list[str]:
    """Return the names of a list or of a text with commas.

    Example
    -------
    >>> split_names("clotho, macs"), split_names(None)
    (['clotho', 'macs'], [])
    """
    names = names.split(",") if isinstance(names, str) else names or ()
    return [name.strip() for name in names]


def find_corpora(
    known: Mapping[str, Mapping], data_root: str | None, data_folder: str
) -> dict[str, dict]:
    """Return the known corpora that are there.

    Arguments
    ---------
    known : dict
        Name -> ``manifest_folder`` (null: absent); or ``folders``, names or patterns of
        the corpus' folder in any case, and ``prepare``, a function of that folder and
        of the one where the manifests go.
    data_root : str
        Holds the corpora's folders; None: no such corpus is there.
    data_folder : str
        Where a folder of manifests is made for each corpus.

    Returns
    -------
    found : dict
        Name -> its entry, with ``manifest_folder`` and ``prepare`` without arguments.

    Raises
    ------
    FileNotFoundError
        If ``data_root`` is no folder.
    """
    folders = []
    if data_root is not None:
        if not Path(data_root).is_dir():
            raise FileNotFoundError(f"data_root is {data_root}, which is no folder.")
        folders = sorted(path for path in Path(data_root).iterdir() if path.is_dir())
    found = {}
    for name, entry in known.items():
        if "manifest_folder" in entry:
            if entry["manifest_folder"] is not None:
                found[name] = {**entry}
            continue
        folder = next(
            (
                path
                for pattern in entry["folders"]
                for path in folders
                if fnmatch(path.name.casefold(), pattern.casefold())
            ),
            None,
        )
        if folder is not None:
            manifests = str(Path(data_folder, name))
            prepare = partial(entry["prepare"], str(folder), manifests)
            found[name] = {**entry, "prepare": prepare, "manifest_folder": manifests}
    return found


def prepare_corpora(
    corpora: Mapping[str, Mapping],
) -> tuple[dict[str, dict], dict[str, str]]:
    """Prepare corpora on one process and read them; one that fails stops no other.

    Arguments
    ---------
    corpora : dict
        Name -> entry; see ``chosen_corpora``.

    Returns
    -------
    rows : dict
        Name -> split -> ID -> row, of those that could be prepared and read.
    failed : dict
        Name -> why, of the others.
    """
    rows, failed = {}, {}
    for name, corpus in corpora.items():
        folder = corpus["manifest_folder"]
        error = prepare_on_main(name, corpus)
        # The others then find every manifest converted.
        reading = {"prepare": partial(read_splits, name, folder)}
        error = error or prepare_on_main(name, reading)
        if not error:
            try:
                rows[name] = read_splits(name, folder)
            except (OSError, ValueError) as found:
                error = error_text(found)
        if error:
            failed[name] = error
    return rows, failed


def prepare_on_main(name: str, corpus: Mapping) -> str:
    """Prepare a corpus on one process; return on all why it failed, or nothing."""

    def attempt() -> str:  # an error raised on one process leaves the others waiting
        try:
            corpus.get("prepare", list)()
        except Exception as error:
            logger.warning("%s could not be prepared.", name, exc_info=True)
            return error_text(error)
        return ""

    return run_on_main(attempt)


def error_text(error: Exception) -> str:
    """Return what an error says, or its type where that is more than a text.

    Example
    -------
    >>> error_text(ValueError("no list")), error_text(KeyError("wav"))
    ('no list', "KeyError: 'wav'")
    """
    text = str(error)
    told = isinstance(error, OSError | ValueError) and text.strip()
    return text if told else f"{type(error).__name__}: {text}"


def check_failed(failed: Mapping[str, str], skip: bool) -> None:
    """Raise ValueError with all corpora that failed, unless they are to be skipped."""
    if not failed:
        return
    if skip:
        logger.warning(
            "%s: left out, as they could not be prepared (skip_failed_corpora).",
            ", ".join(failed),
        )
        return
    lines = [f"  {name}: {text}" for name, text in failed.items()]
    raise ValueError(
        f"Corpora that could not be prepared ({len(failed)}):\n"
        + "\n".join(lines)
        + "\nCorrect them, choose others by corpora, or train without these by "
        "--skip_failed_corpora True."
    )


def prepare_held_out(
    hparams: Mapping, corpora: Iterable[str], failed: Iterable[str] = ()
) -> list[str]:
    """Prepare the test sets of ``held_out_corpora`` that are there.

    Arguments
    ---------
    hparams : dict
        Of ``load``.
    corpora : iterable of str
        Names of those that are trained on.
    failed : iterable of str
        Names of those that were to be and could not be prepared.

    Returns
    -------
    paths : list of str
        Their manifest folders; and the test manifests of known corpora that are not
        trained on but in ``data_root``, or prepared in ``data_folder``.

    Raises
    ------
    ValueError
        If some of ``held_out_corpora`` could not be prepared, with all of them;
        ``skip_failed_corpora``: they are logged.
    """
    held_out, known = hparams["held_out_corpora"], hparams["known_corpora"]
    others = {name: entry for name, entry in known.items() if name not in corpora}
    where = (hparams["data_root"], hparams["data_folder"])
    found = find_corpora(held_out, *where), find_corpora(others, *where)
    with keep_manifests(is_under_way(hparams["save_folder"])):
        errors = {name: prepare_on_main(name, c) for name, c in found[0].items()}
        for name in found[1].keys() - set(failed):
            error = prepare_on_main(name, found[1][name])
            if error:
                logger.warning("%s has no test set to hold out: %s", name, error)
    errors = {name: text for name, text in errors.items() if text}
    check_failed(errors, hparams.get("skip_failed_corpora", False))
    tests = [Path(corpus["manifest_folder"]) for corpus in found[1].values()]
    tests += [Path(hparams["data_folder"], name) for name in others]
    names = ("test.json", "test.csv")
    tests = dict.fromkeys(str(folder / name) for folder in tests for name in names)
    ready = [corpus for name, corpus in found[0].items() if name not in errors]
    folders = [corpus["manifest_folder"] for corpus in ready]
    return folders + [path for path in tests if Path(path).is_file()]


def read_splits(name: str, folder: str) -> dict[str, Rows]:
    """Read the manifests of a corpus; a split that it does not have is empty.

    Raises
    ------
    FileNotFoundError
        If there is no manifest of the training split, or one is gone.
    """
    recorded = read_record(folder).get("splits", ())
    rows = {}
    for split in SPLITS:
        there = [(Path(folder) / f"{split}.{kind}") for kind in ("json", "csv")]
        if split == "train" or split in recorded or any(p.is_file() for p in there):
            rows[split] = read_manifest(manifest_path(folder, split), name)
        else:
            logger.warning("The corpus %s has no %s split.", name, split)
            rows[split] = concatenate([])
    return rows


def settle_shares(
    corpora: Mapping[str, Mapping], rows: Mapping[str, Mapping], exponent: float
) -> dict[str, dict]:
    """Return the corpora that have training rows, each with its ``share``.

    Arguments
    ---------
    corpora : dict
        Name -> entry; with ``share`` in all of them or in none.
    rows : dict
        ID -> training row.
    exponent : float
        A share that is not given is the number of clips to this power: 1 gives every
        clip, 0 every corpus the same chance.

    Returns
    -------
    corpora : dict
        Name -> entry, with ``share``, ``clips`` and ``pairs``.

    Raises
    ------
    ValueError
        If some have a share and others have none.
    """
    without = [name for name, corpus in corpora.items() if "share" not in corpus]
    if without and len(without) < len(corpora):
        raise ValueError(
            f"The corpora {without} have no share, others have one; give all of them a "
            "share, or none."
        )
    rows = as_rows(rows)
    codes, names = rows.categories("corpus")
    clips = rows.clips()
    of_corpus = {name: codes == code for code, name in enumerate(names)}
    counts = {
        name: {
            "clips": len(np.unique(clips[is_its])),
            "pairs": int(is_its.sum()),
        }
        for name, is_its in of_corpus.items()
        if is_its.any()
    }
    return {
        name: {
            **corpus,
            "share": corpus.get("share", counts[name]["clips"] ** exponent),
            **counts[name],
        }
        for name, corpus in corpora.items()
        if name in counts
    }


def remarks_on(
    hparams: Mapping, chosen: Iterable[str], failed: Mapping[str, str]
) -> dict[str, str]:
    """Return for the table why a corpus that is there is not trained on.

    Arguments
    ---------
    hparams : dict
        ``known_corpora``, ``data_root`` and ``data_folder``.
    chosen : iterable of str
        Names of those that were to be trained on.
    failed : dict
        Those of them that could not be prepared -> why.
    """
    where = (hparams["data_root"], hparams["data_folder"])
    found = find_corpora(hparams["known_corpora"], *where)
    remarks = dict.fromkeys(found, "not chosen")
    remarks |= dict.fromkeys(chosen, "no training rows")
    first_lines = {name: text.strip().splitlines()[0] for name, text in failed.items()}
    return remarks | {name: f"failed: {line}" for name, line in first_lines.items()}


def mixture_table(
    corpora: Mapping[str, Mapping],
    known: Iterable[str],
    remarks: Mapping[str, str] | None = None,
) -> list[str]:
    """Return a line for each known corpus: training clips, pairs, share; or why not.

    Arguments
    ---------
    corpora : dict
        Of ``settle_shares``.
    known : iterable of str
        Names of all that have a line, besides ``corpora`` and those of ``remarks``.
    remarks : dict
        Name -> what stands in place of the figures; none: ``not found``.

    Example
    -------
    >>> corpora = {"macs": {"clips": 10, "pairs": 50, "share": 1.5}}
    >>> remarks = {"fma": "failed: no tracks.csv"}
    >>> print(*mixture_table(corpora, ["clotho", "macs"], remarks), sep="\\n")
    corpus  clips  pairs  share
    clotho  not found
    macs    10     50     100.00 %
    fma     failed: no tracks.csv
    """
    remarks = remarks or {}
    total = sum(corpus["share"] for corpus in corpora.values())
    lines = [("corpus", "clips", "pairs", "share")]
    for name in dict.fromkeys([*known, *corpora, *remarks]):
        if name in corpora:
            corpus = corpora[name]
            share = f"{corpus['share'] / total:.2%}".replace("%", " %")
            lines.append((name, f"{corpus['clips']:,}", f"{corpus['pairs']:,}", share))
        else:
            lines.append((name, remarks.get(name, "not found")))
    columns = zip(*(line for line in lines if len(line) > 2), strict=True)
    widths = [max(map(len, column)) for column in columns]
    widths[0] = max(len(name) for name, *_ in lines)
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
