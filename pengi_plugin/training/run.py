"""From a recipe's YAML to a trained, exported and tested model, a function a step.

Recipes call ``train``, or its steps in turn: ``load``, ``prepare``, ``fit``,
``export``, ``test``. What differs between recipes is in their YAML or Brain class.
"""

import atexit
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from speechbrain.utils.distributed import (
    ddp_broadcast,
    ddp_init_group,
    if_main_process,
    infer_device,
    run_on_main,
)
from torch import distributed

from pengi_plugin.conversion.clap import load_clap
from pengi_plugin.conversion.clap_model import load_clap_model
from pengi_plugin.data.audio import file_state
from pengi_plugin.data.batch import PairBatch
from pengi_plugin.data.dataset import ClipDataset, make_sampler
from pengi_plugin.data.manifest import (
    SPLITS,
    Rows,
    as_rows,
    concatenate,
    keep_manifests,
)
from pengi_plugin.data.overlap import read_held_out
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.precision import choose_precision
from pengi_plugin.pretrained.card import CARD_FILE, datasets_of
from pengi_plugin.pretrained.folder import HPARAMS_FILE, continue_from, load_pretrained
from pengi_plugin.pretrained.write import kind_of
from pengi_plugin.protocols.rows import merge_references
from pengi_plugin.protocols.session import Session, generated_answers
from pengi_plugin.protocols.table import write_table
from pengi_plugin.protocols.task_scores import score_tasks
from pengi_plugin.storage.atomic import write_file
from pengi_plugin.storage.fingerprint import fingerprint
from pengi_plugin.storage.lock import hold_folder
from pengi_plugin.tasks import apply, extend
from pengi_plugin.training.adaptation import adapt
from pengi_plugin.training.base import TrainingBrain
from pengi_plugin.training.brain import PengiBrain
from pengi_plugin.training.checkpoints import remove_unfinished
from pengi_plugin.training.checks import check_exportable, check_one_answer
from pengi_plugin.training.cost import Cost
from pengi_plugin.training.export import export_run
from pengi_plugin.training.gradient_checkpointing import checkpoint_parts
from pengi_plugin.training.hparams import read_hparams
from pengi_plugin.training.identity import (
    DATASETS,
    PRETRAINED,
    RUN_FILE,
    check_same_run,
    flat_settings,
    is_under_way,
    recorded,
)
from pengi_plugin.training.mixture import (
    check_failed,
    chosen_corpora,
    hold_out_valid,
    keep_tasks,
    leave_out_test_clips,
    mixture_table,
    prepare_corpora,
    prepare_held_out,
    remarks_on,
    settle_shares,
)
from pengi_plugin.training.once import once
from pengi_plugin.training.processes import count_processes, share
from pengi_plugin.training.progress import Progress
from pengi_plugin.training.schedule import check_updates, count_updates
from pengi_plugin.training.words import add_clip_tokens, count_tokens

logger = logging.getLogger(__name__)

#: Answers that ``test`` prints.
N_PRINTED = 12

#: Part of a run's record that tells its rows; not the name of versions that made other
#: digests of them.
ROWS = "digests of rows"

#: What to do about other rows than a run has started with.
ROWS_HINT = (
    "If a corpus was prepared again meanwhile, without files that have gone or with "
    "new ones, put its files back as they were and give the same command again. Else "
)

#: Options that make a run shorter when they are lowered, where its YAML has them.
SHORTER = ("number_of_epochs", "n_train")


def train(arguments: Sequence[str]) -> list[dict]:
    """Do all that a training's YAML says; return the table of test scores.

    Arguments are those of ``load``.
    """
    hparams, run_opts = load(arguments)
    rows = prepare(hparams)
    fit(hparams, run_opts, rows)
    export(hparams)
    return test(hparams, run_opts, rows)


def load(arguments: Sequence[str]) -> tuple[dict, sb.utils.run_opts.RunOptions]:
    """Do all that a recipe does before it reads data.

    Joins the processes of ``torchrun``, builds the objects of the YAML, makes the
    output folder with its log and the resolved YAML, holds it until the process ends,
    chooses the precision where it is ``auto``, and loads the weights of
    ``pretrained_folder``, ``audio_encoder_init`` and ``clap_init`` where the YAML names
    them.

    Arguments
    ---------
    arguments : list of str
        The command line: a YAML, options of SpeechBrain, and ``--key value`` for
        every key of the YAML that is to differ.

    Returns
    -------
    hparams : dict
        The YAML's objects.
    run_opts : RunOptions
        For the Brain.

    Raises
    ------
    BlockingIOError
        If another process trains in the output folder.
    FileNotFoundError
        If the YAML, or what it loads weights from, is not there.
    ValueError
        If a placeholder is not filled, weights do not fit the model, or the output
        folder holds a run with other settings.
    """
    hparams_file, run_opts, overrides = sb.parse_arguments(list(arguments))
    join_processes(run_opts)
    overrides = continue_from(overrides, read_hparams(hparams_file).getvalue())
    hparams = load_hyperpyyaml(read_hparams(hparams_file), overrides)
    resolved = resolve_references(read_hparams(hparams_file), overrides).read()
    settings = settings_of(resolved, run_opts)
    if hparams.get("pretrained_folder"):  # its path alone says nothing of what is there
        settings[PRETRAINED] = fingerprint(hparams["pretrained_folder"])
    run_on_main(claim, args=[hparams, settings])
    sb.create_experiment_directory(hparams["output_folder"])
    settle_precision(hparams, run_opts)
    path = Path(hparams["output_folder"], HPARAMS_FILE)
    header = f"# {hparams_file} as it was run.\n# yamllint disable\n"
    run_on_main(write_file, args=[path, header + resolved])
    if hparams.get("pretrained_folder"):
        load_pretrained(
            hparams["model"]["pretrainer"],
            hparams["pretrained_folder"],
            hparams.get("trust_pretrained_folder", False),
        )
    if hparams.get("audio_encoder_init"):
        load_clap(hparams["model"]["audio_encoder"], hparams["audio_encoder_init"])
    if hparams.get("clap_init"):
        load_clap_model(hparams["model"]["clap"], hparams["clap_init"])
    if "model" in hparams:
        adapt(hparams["model"], hparams)
    return hparams, run_opts


def join_processes(run_opts: sb.utils.run_opts.RunOptions) -> None:
    """Join the other processes of ``torchrun``, and leave them when this one ends.

    SpeechBrain leaves the group open, and a process that ends with gloo's threads alive
    may abort after its work is done, which ``torchrun`` takes for a failed run.
    """
    if not distributed.is_initialized():  # a recipe may load several runs
        warn_of_shared_store(os.environ)
        ddp_init_group(run_opts)
        if distributed.is_initialized():
            atexit.register(distributed.destroy_process_group)


def warn_of_shared_store(environment: Mapping[str, str]) -> None:
    """Warn where processes that ``torchrun`` restarts on nodes would not meet again.

    By default they look each other up where those before them have left their
    addresses, and may wait for these: https://github.com/pytorch/pytorch/issues/135712
    """
    restarts = int(environment.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0
    nodes = int(environment.get("GROUP_WORLD_SIZE", 1)) > 1
    if restarts and nodes and environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        logger.warning(
            "Processes that --max-restarts starts again may not find those of other "
            "nodes. Set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun, on all "
            "nodes."
        )


def settings_of(
    resolved: str, run_opts: sb.utils.run_opts.RunOptions
) -> dict[str, object]:
    """Return what a run is, as its YAML and command line say."""
    settings = flat_settings(YAML().load(resolved))
    given = run_opts.overridden_args & settings.keys()
    settings |= {name: run_opts[name] for name in given}  # SpeechBrain lets them win
    return settings | {"processes": count_processes()}


def claim(hparams: Mapping, settings: Mapping[str, object]) -> None:
    """Take the run's folder, if no process has it and no other run is in it."""
    hold_folder(hparams["output_folder"])
    save_folder = Path(hparams["save_folder"])
    is_known = (save_folder / RUN_FILE).exists()
    check_same_run(save_folder, "settings", settings)
    if is_known:  # else its checkpoints may be of another program
        remove_unfinished(save_folder)


def settle_precision(hparams: dict, run_opts: sb.utils.run_opts.RunOptions) -> None:
    """Replace ``auto`` by what is fastest on the run's device, for all processes.

    The command line's ``--precision`` comes before the YAML's; of a slow one the log
    warns. Without an ``eval_precision``, validation is in fp32.
    """
    device = run_opts.get("device") or infer_device()
    for name in ("precision", "eval_precision"):
        is_given = name in run_opts.overridden_args
        asked = run_opts[name] if is_given else hparams.get(name)
        if asked is not None:
            chosen = choose_precision(asked, device) if if_main_process() else None
            hparams[name] = ddp_broadcast(chosen)


def prepare(hparams: dict) -> dict[str, Rows]:
    """Prepare every corpus that is to be used, on one process, and read it.

    Training rows with recordings of test sets are left out (``keep_overlaps``: they are
    counted and stay). Test sets are the corpora's own, those that ``held_out`` names,
    and those of ``held_out_corpora`` that are in ``data_root``. Without validation
    rows, ``valid_share`` of the training clips are taken. Prints the mixture, with the
    corpora that are not trained on and why.

    A run that goes on keeps its manifests, although audio files have come or gone
    since it started: what cannot be read is replaced, see ``max_unreadable_share``.

    Arguments
    ---------
    hparams : dict
        ``save_folder`` is where checkpoints are; of ``corpora`` see
        ``training.mixture.chosen_corpora``. It is replaced by the corpora that have
        training rows, with their shares.

    Returns
    -------
    rows : dict
        Split -> Rows: ID -> manifest row, all corpora together.

    Raises
    ------
    ValueError
        If corpora could not be prepared, with all of them (``skip_failed_corpora``:
        only if no row is left), or there is nothing to train on.
    """
    corpora = chosen_corpora(hparams)
    with keep_manifests(is_under_way(hparams["save_folder"])):
        found, failed = prepare_corpora(corpora)
    rows = concatenate_splits(list(found.values()))
    n_row = sum(map(len, rows.values()))
    if not n_row and not failed:
        raise ValueError(
            "There is nothing to train on: every corpus of the YAML has "
            f"`source: null`. Say where one of {sorted(hparams['corpora'])} is; the "
            "YAML names the option for each."
        )
    remarks = remarks_on(hparams, corpora, failed)
    skip = n_row > 0 and hparams.get("skip_failed_corpora", False)
    corpora = {name: corpora[name] for name in found}
    if failed and not skip:
        ready = settle_shares(corpora, rows["train"], hparams["share_exponent"])
        log_mixture(hparams, ready, remarks)
    check_failed(failed, skip)
    own = [corpus["manifest_folder"] for corpus in corpora.values()]
    others = [*hparams["held_out"], *prepare_held_out(hparams, corpora, failed)]
    run_on_main(read_held_out, args=[others, own])  # converts each manifest, once
    rows = choose_rows(hparams, rows, read_held_out(others, own))
    corpora = settle_shares(corpora, rows["train"], hparams["share_exponent"])
    log_mixture(hparams, corpora, remarks)
    hparams["corpora"] = corpora
    return rows


def concatenate_splits(of_corpora: list[dict[str, Rows]]) -> dict[str, Rows]:
    """Return split -> the rows of all corpora, chosen from the same parts."""
    splits = [concatenate(of[split] for of in of_corpora) for split in SPLITS]
    every = concatenate(splits)
    ends = np.cumsum([len(some) for some in splits])
    return {
        split: every.select(np.arange(end - len(some), end))
        for split, some, end in zip(SPLITS, splits, ends, strict=True)
    }


def choose_rows(
    hparams: Mapping, rows: dict[str, Rows], test_sets: list[tuple[str, Rows]]
) -> dict[str, Rows]:
    """Return the rows that are trained on, validated and tested on; see ``prepare``.

    They are chosen once, until manifests or options change, and kept in
    ``save_folder``.
    """
    options = ("keep_overlaps", "keep_tasks", "valid_share", "tasks")
    key = {
        "rows": {split: some.identity() for split, some in rows.items()},
        "test sets": [[name, some.identity()] for name, some in test_sets],
        "options": {name: str(hparams.get(name)) for name in options},
    }

    def choose() -> dict[str, np.ndarray]:
        chosen = dict(rows)
        leave_out_test_clips(chosen, test_sets, hparams["keep_overlaps"])
        known = extend(hparams.get("tasks"))
        chosen = keep_tasks(chosen, hparams.get("keep_tasks"), known)
        hold_out_valid(chosen, hparams["valid_share"])
        return {split: some.numbers for split, some in chosen.items()}

    found = once(Path(hparams["save_folder"], "chosen_rows"), key, choose)
    parts = rows["train"].parts
    return {split: Rows(parts, numbers) for split, numbers in found.items()}


def log_mixture(hparams: Mapping, corpora: Mapping, remarks: Mapping) -> None:
    """Print the table of the corpora that are known, of which some are trained on."""
    table = mixture_table(corpora, hparams["known_corpora"], remarks)
    logger.info("Corpora to train on:\n%s", "\n".join(table))


def make_dataset(
    hparams: dict,
    rows: Mapping[str, Mapping],
    train: bool = False,
    absent: Sequence[int] | None = None,
) -> ClipDataset:
    """Return a data set of the clips of manifest rows.

    Arguments
    ---------
    hparams : dict
        With ``model``, ``tasks``, ``task_weights``, ``pairs_per_clip``,
        ``valid_pairs_per_clip``, ``max_unreadable_share`` and ``seed``.
    rows : dict
        ID -> manifest row.
    train : bool
        Whether rows and crops are sampled anew in each epoch.
    absent : list of int
        See ``ClipDataset``; None: rows and files are looked at.
    """
    model = hparams["model"]
    n_train_pair, n_pair = hparams["pairs_per_clip"], hparams["valid_pairs_per_clip"]
    return ClipDataset(
        rows,
        model["sample_rate"],
        model["clip_seconds"],
        model["tokenizer"],
        model["answer_end"],
        templates=extend(hparams["tasks"]),
        pairs_per_clip=n_train_pair if train else n_pair,
        random_crop=train,
        task_weights=hparams["task_weights"],
        seed=hparams["seed"],
        max_unreadable_share=hparams["max_unreadable_share"],
        absent=absent,
    )


def fit(
    hparams: dict,
    run_opts: Mapping,
    rows: Mapping[str, Rows],
    brain_class: type[TrainingBrain] = PengiBrain,
) -> TrainingBrain:
    """Train; resume from the newest checkpoint if there is one.

    The rows of all splits are checked before training starts. With more epochs than a
    run had before, it goes on with the learning rates of a run of its new length.

    Arguments
    ---------
    hparams : dict
        Of ``load``.
    run_opts : RunOptions
        Of ``load``.
    rows : dict
        Split -> ID -> manifest row.
    brain_class : type
        What trains.

    Returns
    -------
    brain : TrainingBrain
        Trained; holds the newest weights, which need not be the best.

    Raises
    ------
    ValueError
        If the run would make no update, its folder holds a run on other rows, its
        searcher returns several answers, its model could not be exported or
        cannot take a row, or a part cannot have ``gradient_checkpointing``.
    """
    if "searcher" in hparams["model"]:
        check_one_answer(hparams["model"]["searcher"])
    if hparams.get("export_folder"):
        check_exportable(hparams["output_folder"], hparams["model"])
    run_on_main(
        check_same_run,
        args=[hparams["save_folder"], ROWS, describe(rows), ROWS_HINT],
    )
    before = hparams.get("pretrained_folder")
    names = [*(datasets_of(before) if before else ()), *hparams["corpora"]]
    trained_on = dict.fromkeys(sorted(names), True)
    run_on_main(check_same_run, args=[hparams["save_folder"], DATASETS, trained_on])
    hparams["tensorboard_logger"] = hparams["tensorboard_logger"]()
    model = hparams["model"][kind_of(hparams["model"])]
    checkpoint_parts(model, hparams.get("gradient_checkpointing") or [])
    brain = brain_class(
        hparams["modules"],
        hparams["opt_class"],
        hparams,
        run_opts,
        hparams["checkpointer"],
    )
    absent = check_rows(hparams, rows, brain_class)
    brain.train_set = make_dataset(hparams, rows["train"], True, absent["train"])
    brain.valid_set = make_dataset(hparams, rows["valid"], absent=absent["valid"])
    if "word_head" in hparams["modules"]:
        counts = count_tokens(brain.train_set)
        hparams["modules"]["word_head"].weigh(counts, len(brain.train_set))
        add_clip_tokens(brain.train_set)
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
        count_processes(),
        loader["drop_last"],
    )
    check_updates(n_update, brain.grad_accumulation_factor, hparams)
    # One more, so that the last update's rate is not 0.
    brain.hparams.lr_annealing = hparams["lr_annealing"](
        num_training_steps=n_update + 1
    )
    shorter = {name: hparams[name] for name in SHORTER if name in hparams}
    brain.progress = Progress(n_update, hparams["number_of_epochs"], shorter)
    brain.cost = Cost(
        model,
        brain.grad_accumulation_factor,
        count_processes(),
        device_name(brain.device),
        brain.precision,
    )
    brain.sample_batch = sample_rows(brain.valid_set, hparams["n_sample_answer"])
    brain.fit(
        hparams["epoch_counter"],
        brain.train_set,
        brain.valid_set,
        train_loader_kwargs=loader,
        valid_loader_kwargs={
            **hparams["valid_dataloader_opts"],
            "collate_fn": PairBatch,
        },
    )
    return brain


def device_name(device: str) -> str:
    """Return what a GPU is called; the device itself for any other."""
    is_gpu = str(device).startswith("cuda")
    return torch.cuda.get_device_name(device) if is_gpu else str(device)


def check_rows(
    hparams: dict, rows: Mapping[str, Mapping], brain_class: type[TrainingBrain]
) -> dict[str, np.ndarray]:
    """Look once at all rows and files of a run, until rows or settings change.

    Arguments are those of ``fit``.

    Returns
    -------
    absent : dict
        ``train`` and ``valid`` -> indices of the clips whose files are missing.

    Raises
    ------
    FileNotFoundError, ValueError
        If files are missing, or the model cannot take a row.
    """
    rows = {split: as_rows(some) for split, some in rows.items()}
    key = {
        "rows": {split: some.identity() for split, some in rows.items()},
        "settings": recorded(hparams["save_folder"], "settings"),
        "max_unreadable_share": hparams["max_unreadable_share"],
        "brain": f"{brain_class.__module__}.{brain_class.__qualname__}",
    }

    def check() -> dict[str, np.ndarray]:
        found = {}
        for split in ("train", "valid"):
            dataset = make_dataset(hparams, rows[split], split == "train")
            brain_class.check(hparams, dataset)
            found[split] = np.array(sorted(dataset.unreadable), np.int64)
        # All test rows are scored, so all their files must be there when a run starts.
        test_rows = rows["test"]
        if is_under_way(hparams["save_folder"]):
            test_rows = rows_with_files(test_rows)
        if test_rows:
            whole = {**hparams, "max_unreadable_share": 0.0}
            brain_class.check(hparams, make_dataset(whole, test_rows))
        return found

    return once(Path(hparams["save_folder"], "checked_rows"), key, check)


def rows_with_files(rows: Rows) -> Rows:
    """Return the test rows whose audio files are there; warn of the others.

    Files that go while a run trains must not keep it from going on.
    """
    is_there = np.array([bool(file_state(w)) for (w,) in rows.cells("wav")], bool)
    gone = list(dict.fromkeys(wav for (wav,) in rows.select(~is_there).cells("wav")))
    if gone:
        logger.warning(
            "%d audio files of the test have gone since the run started, the first is "
            "%s. Put them back before the test.",
            *(len(gone), gone[0]),
        )
    return rows.select(is_there)


def describe(rows: Mapping[str, Mapping]) -> dict[str, str]:
    """Return split -> number of rows and their digest."""
    return {
        f"{split} rows": f"{len(some)} ({as_rows(some).digest()})"
        for split, some in rows.items()
    }


def sample_rows(dataset: ClipDataset, n_clip: int) -> PairBatch | None:
    """Return about ``n_clip`` clips at equal distances, with one row each.

    Of these, the share of this process; None for no clip.
    """
    step = max(1, len(dataset) // max(1, n_clip))
    chosen = range(0, len(dataset), step) if n_clip > 0 else ()
    items = [(number, dataset[index]) for number, index in share([*enumerate(chosen)])]
    # The first clip's first row, the second one's second: rows of all tasks.
    items = [
        {**item, "pairs": [item["pairs"][number % len(item["pairs"])]]}
        for number, item in items
    ]
    return PairBatch(items) if items else None


def export(hparams: dict) -> None:
    """Write the trained model, at its lowest validation loss, to ``export_folder``."""
    folders = [hparams["output_folder"], hparams["export_folder"]]
    run_on_main(export_run, args=[*folders, hparams["model"]])


def test(hparams: dict, run_opts: Mapping, rows: Mapping[str, Rows]) -> list[dict]:
    """Score the exported model on the test rows, beside the controls.

    Writes ``test_scores.{md,csv,json}`` and ``test_answers.jsonl`` to the output
    folder, and prints the table and some answers. Processes share the rows. A test
    that is interrupted continues from the answers in ``answers``.

    Arguments
    ---------
    hparams : dict
        Of ``load``; ``test_protocols`` says how each task is scored.
    run_opts : RunOptions
        Of ``load``.
    rows : dict
        Split -> ID -> manifest row.

    Returns
    -------
    table : list of dict
        See ``pengi_plugin.protocols.task_scores.score_tasks``.
    """
    if not rows["test"]:
        logger.warning("No corpus has test rows: the model is not scored.")
        return []
    session = open_session(hparams, run_opts)
    asked = test_items(hparams, rows)
    table = score_tasks(
        session,
        asked,
        hparams["test_protocols"],
        RowsWithTexts(hparams, rows["train"]),
        hparams["seed"],
    )
    answers = generated_answers(session, asked)
    table = with_model(table, hparams["export_folder"])
    if if_main_process():
        folder = Path(hparams["output_folder"])
        print(write_table(table, folder, "test_scores"))
        report_answers(folder / "test_answers.jsonl", asked, answers)
    return table


def with_model(table: list[dict], folder: str | Path) -> list[dict]:
    """Let each line of a table say of which exported model it is, card aside."""
    name = fingerprint(folder, without=[CARD_FILE])
    return [{**line, "model": name} for line in table]


def open_session(
    hparams: dict, run_opts: Mapping, model_class: type = AudioLanguageModel
) -> Session:
    """Load the exported model, to be asked by ``pengi_plugin.protocols``.

    Its answers are kept under its fingerprint: another model's are never taken.
    """
    source = hparams["export_folder"]
    name = fingerprint(source)
    device = run_opts.get("device") or infer_device()
    return Session(
        model_class.from_hparams(
            source=source, trust=True, run_opts={"device": device}
        ),
        Path(hparams["output_folder"]) / "answers" / name,
        settings={"model": name},
        batch_size=hparams["eval_batch_size"],
    )


class RowsWithTexts:
    """Manifest rows with their ``prompt``, ``answer`` and ``references``.

    References are the manifest's, or the answer alone. Rows are made as they are gone
    through, as often as wanted.

    Arguments
    ---------
    hparams : dict
        With ``tasks``.
    rows : Rows or dict
        ID -> manifest row.
    """

    def __init__(self, hparams: Mapping, rows: Mapping[str, Mapping]):
        self.templates, self.rows = extend(hparams["tasks"]), rows

    def __iter__(self) -> Iterator[dict]:
        for row_id, row in self.rows.items():
            row = {**row, "id": row_id}
            prompt, answer = apply(row["task"], row, self.templates)
            references = row.get("references") or [answer]
            if isinstance(references, str):  # of a CSV manifest
                references = [references]
            texts = {"prompt": prompt, "answer": answer, "references": references}
            yield {**row, **texts}


def test_items(hparams: dict, rows: Mapping[str, Rows]) -> list[dict]:
    """Return the test rows with their texts, as items that are searched once each.

    Rows of a corpus that ask the same about a clip (five captions of it) are one
    item, with the references of all.
    """
    return merge_references(RowsWithTexts(hparams, rows["test"]))


def report_answers(path: Path, rows: list[dict], answers: list[str]) -> None:
    """Write all answers, one JSON object a line, and print some."""
    fields = ("id", "wav", "task", "prompt", "references")
    answered = [
        {**{name: row[name] for name in fields}, "answer": answer}
        for row, answer in zip(rows, answers, strict=True)
    ]
    write_file(path, "".join(json.dumps(row) + "\n" for row in answered))
    for row in answered[:: max(1, len(answered) // N_PRINTED)]:
        prompt, answer, reference = row["prompt"], row["answer"], row["references"][0]
        print(f"{prompt} -> {answer} (reference: {reference})")
