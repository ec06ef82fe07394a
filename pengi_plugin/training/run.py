"""From a recipe's YAML to a trained and tested model, one function per step.

Recipes call these in turn: ``prepare``, ``fit``, ``test``. What may differ between
recipes is in their YAML.
"""

import json
from pathlib import Path

import numpy as np
from speechbrain.utils.distributed import if_main_process, run_on_main
from torch import distributed

from pengi_plugin.data.batch import PairBatch
from pengi_plugin.data.dataset import ClipDataset, make_sampler
from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.metrics.captioning import cider_d
from pengi_plugin.metrics.text import exact_match
from pengi_plugin.protocols.control import (
    commonest_answers,
    control_table,
    format_table,
    group_of,
    shuffle_clips,
)
from pengi_plugin.storage.atomic import write_file
from pengi_plugin.tasks import extend
from pengi_plugin.training.brain import PengiBrain

SPLITS = ("train", "valid", "test")


def exact(answers: list[str], references: list[list[str]]) -> float:
    """Return how many of the answers are one of their references."""
    best = [max(exact_match(a, r) for r in rs) for a, rs in zip(answers, references)]
    return float(np.mean(best))


def caption_score(answers: list[str], references: list[list[str]]) -> float:
    """Return the corpus CIDEr-D."""
    return float(np.mean(cider_d(answers, references)))


#: Task -> how its answers are scored; "" is for all others.
METRICS = {"": ("exact match", exact), "captioning": ("CIDEr-D", caption_score)}


def prepare(hparams: dict) -> dict[str, dict]:
    """Prepare every corpus that is to be used, on one process.

    Arguments
    ---------
    hparams : dict
        Its ``corpora`` names for each corpus ``manifest_folder``, ``share`` and, if
        its manifests are to be written, ``prepare`` (a function without arguments).
        A corpus whose ``source`` is null is left out; one without ``source`` needs
        none.

    Returns
    -------
    rows : dict
        Split -> ID -> manifest row, all corpora together.
    """
    rows = {split: {} for split in SPLITS}
    for name, corpus in hparams["corpora"].items():
        if corpus.get("source", name) is None:
            continue
        if "prepare" in corpus:
            run_on_main(corpus["prepare"])
        for split in SPLITS:
            path = Path(corpus["manifest_folder"]) / f"{split}.json"
            rows[split] |= read_manifest(path, name)
    return rows


def make_dataset(hparams: dict, rows: dict, train: bool = False) -> ClipDataset:
    """Return a data set whose every prompt and answer fits the model.

    Arguments
    ---------
    hparams : dict
        With ``model``, ``tasks``, ``task_weights``, ``pairs_per_clip`` and ``seed``.
    rows : dict
        ID -> manifest row.
    train : bool
        Whether rows and crops are drawn anew in each epoch.
    """
    model = hparams["model"]
    drawn = {"pairs_per_clip": hparams["pairs_per_clip"], "random_crop": True}
    dataset = ClipDataset(
        rows,
        model["sample_rate"],
        model["clip_seconds"],
        model["tokenizer"],
        model["answer_end"],
        templates=extend(hparams["tasks"]),
        task_weights=hparams["task_weights"],
        seed=hparams["seed"],
        **(drawn if train else {}),
    )
    model["text_encoder"].check({pair["prompt"] for pair in dataset.pairs})
    n_prefix = model["audio_mapper"].n_prefix + model["text_mapper"].n_prefix
    if model["lm"].max_positions is not None:
        dataset.check_answers(model["lm"].max_positions - n_prefix)
    return dataset


def fit(hparams: dict, run_opts: dict, rows: dict[str, dict]) -> PengiBrain:
    """Train; go on from the newest checkpoint if there is one.

    Arguments
    ---------
    hparams : dict
        A recipe's YAML, loaded.
    run_opts : dict
        Of ``speechbrain.parse_arguments``.
    rows : dict
        Split -> ID -> manifest row.

    Returns
    -------
    brain : PengiBrain
        Trained; ``test`` loads its best checkpoint.
    """
    hparams["tensorboard_logger"] = hparams["tensorboard_logger"]()
    brain = PengiBrain(
        hparams["modules"],
        hparams["opt_class"],
        hparams,
        run_opts,
        hparams["checkpointer"],
    )
    brain.train_set = make_dataset(hparams, rows["train"], train=True)
    valid_set = make_dataset(hparams, rows["valid"])
    if "word_head" in hparams["modules"]:
        said = brain.train_set.count_said()
        hparams["modules"]["word_head"].weigh(said, len(brain.train_set))
    shares = {name: corpus["share"] for name, corpus in hparams["corpora"].items()}
    loader = {
        **hparams["train_dataloader_opts"],
        "sampler": make_sampler(brain.train_set, shares, hparams["seed"]),
        "collate_fn": PairBatch,
    }
    # SpeechBrain tells only the samplers that it makes itself which epoch it is.
    brain.train_sampler = loader["sampler"]
    n_update = count_updates(
        len(brain.train_set),
        loader["batch_size"],
        hparams["number_of_epochs"],
        brain.grad_accumulation_factor,
        distributed.get_world_size() if distributed.is_initialized() else 1,
        loader["drop_last"],
    )
    brain.hparams.lr_annealing = hparams["lr_annealing"](
        num_training_steps=n_update + 1
    )
    brain.sample_batch = every(valid_set, hparams["n_sample_answer"])
    brain.fit(
        hparams["epoch_counter"],
        brain.train_set,
        valid_set,
        train_loader_kwargs=loader,
        valid_loader_kwargs=test_loader(hparams),
    )
    return brain


def every(dataset: ClipDataset, n_clip: int) -> PairBatch:
    """Return about ``n_clip`` clips, evenly from all of a data set, one row each."""
    items = [dataset[i] for i in range(0, len(dataset), max(1, len(dataset) // n_clip))]
    return PairBatch(
        [
            {**item, "pairs": [item["pairs"][place % len(item["pairs"])]]}
            for place, item in enumerate(items)
        ]
    )


def test_loader(hparams: dict) -> dict:
    """Return the options of a DataLoader that reads everything in order."""
    return {**hparams["test_dataloader_opts"], "collate_fn": PairBatch}


def test(brain: PengiBrain, hparams: dict, rows: dict[str, dict]) -> list[dict]:
    """Answer the test rows, about their own and about other clips.

    Writes ``test_scores.{md,csv,json}`` and ``test_answers.jsonl`` to the output
    folder, and prints the table and some answers.

    Returns
    -------
    table : list of dict
        See ``pengi_plugin.protocols.control.control_table``.
    """
    test_set = make_dataset(hparams, rows["test"])
    other_clips = shuffle_clips(rows["test"], seed=hparams["seed"])
    loader = test_loader(hparams)
    answers = brain.generate(test_set, loader, min_key="loss")
    shuffled = brain.generate(make_dataset(hparams, other_clips), loader)
    answered = [
        {
            "id": pair["id"],
            "wav": rows["test"][pair["id"]]["wav"],
            "task": pair["task"],
            "group": group_of(rows["test"][pair["id"]]),
            "prompt": pair["prompt"],
            "answer": answers[pair["id"]],
            "shuffled": shuffled[pair["id"]],
            "references": rows["test"][pair["id"]].get("references", [pair["answer"]]),
        }
        for pair in test_set.pairs
    ]
    trained = brain.train_set.pairs
    commonest = commonest_answers(
        [group_of(rows["train"][pair["id"]]) for pair in trained],
        [pair["answer"] for pair in trained],
    )
    table = control_table(answered, commonest, METRICS, hparams["answer_parts"])
    if if_main_process():
        report(Path(hparams["output_folder"]), table, answered)
    return table


def report(folder: Path, table: list[dict], answered: list[dict]) -> None:
    """Write a table of scores and all answers; print the table and a few answers."""
    for form in ("md", "csv", "json"):
        write_file(folder / f"test_scores.{form}", format_table(table, form))
    lines = "".join(json.dumps(row) + "\n" for row in answered)
    write_file(folder / "test_answers.jsonl", lines)
    print(format_table(table, "md"))
    for row in answered[:: max(1, len(answered) // 12)]:
        print("{prompt} -> {answer} (reference: {references[0]})".format(**row))


def count_updates(
    n_rows: int,
    batch_size: int,
    n_epoch: int,
    grad_accumulation_factor: int = 1,
    n_process: int = 1,
    drop_last: bool = False,
) -> int:
    """Return the number of optimizer updates of a whole run.

    SpeechBrain drops the gradients left over at an epoch's end.

    Example
    -------
    >>> count_updates(n_rows=100, batch_size=8, n_epoch=3, grad_accumulation_factor=4)
    9
    """
    per_process = -(-n_rows // n_process)
    n_batch = per_process // batch_size if drop_last else -(-per_process // batch_size)
    return n_epoch * (n_batch // grad_accumulation_factor)
