"""From a recipe's YAML to a trained, exported and tested model, a function a step.

Recipes call ``train``, or its steps in turn: ``load``, ``prepare``, ``fit``,
``export``, ``test``. What differs between recipes is in their YAML or Brain class.
"""

import atexit
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from pengi_plugin.data.batch import PairBatch
from pengi_plugin.data.dataset import make_sampler
from pengi_plugin.data.manifest import Rows
from pengi_plugin.precision import choose_precision
from pengi_plugin.pretrained.card import datasets_of
from pengi_plugin.pretrained.folder import HPARAMS_FILE, continue_from, load_pretrained
from pengi_plugin.pretrained.write import kind_of
from pengi_plugin.storage.atomic import write_file
from pengi_plugin.storage.fingerprint import fingerprint
from pengi_plugin.storage.lock import hold_folder
from pengi_plugin.training.adaptation import adapt
from pengi_plugin.training.base import TrainingBrain
from pengi_plugin.training.brain import PengiBrain
from pengi_plugin.training.checkpoints import remove_unfinished
from pengi_plugin.training.checks import check_exportable, check_one_answer
from pengi_plugin.training.cost import Cost
from pengi_plugin.training.datasets import check_rows, make_dataset, sample_rows
from pengi_plugin.training.export import export_run
from pengi_plugin.training.gradient_checkpointing import checkpoint_parts
from pengi_plugin.training.hparams import read_hparams
from pengi_plugin.training.identity import (
    DATASETS,
    PRETRAINED,
    RUN_FILE,
    check_same_run,
    flat_settings,
)
from pengi_plugin.training.processes import count_processes
from pengi_plugin.training.progress import Progress
from pengi_plugin.training.rows import describe, prepare
from pengi_plugin.training.schedule import check_updates, count_updates
from pengi_plugin.training.testing import open_session, test, test_items
from pengi_plugin.training.words import add_clip_tokens, count_tokens

#: What recipes use; some of it is defined in ``rows`` and ``testing``.
__all__ = [
    "export",
    "fit",
    "join_processes",
    "load",
    "open_session",
    "prepare",
    "test",
    "test_items",
    "train",
]

logger = logging.getLogger(__name__)

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
    check_run(hparams, rows)
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
    add_datasets(brain, hparams, rows)
    shares = {name: corpus["share"] for name, corpus in hparams["corpora"].items()}
    loader = {
        **hparams["train_dataloader_opts"],
        "sampler": make_sampler(brain.train_set, shares, hparams["seed"]),
        "collate_fn": PairBatch,
    }
    # SpeechBrain tells only the samplers that it makes itself which epoch it is.
    brain.train_sampler = loader["sampler"]
    schedule_updates(brain, hparams, loader)
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


def check_run(hparams: dict, rows: Mapping[str, Rows]) -> None:
    """Raise ValueError if what is trained could not be used, or is another run."""
    if "searcher" in hparams["model"]:
        check_one_answer(hparams["model"]["searcher"])
    if hparams.get("export_folder"):
        check_exportable(hparams["output_folder"], hparams["model"])
    save_folder = hparams["save_folder"]
    run_on_main(check_same_run, args=[save_folder, ROWS, describe(rows), ROWS_HINT])
    before = hparams.get("pretrained_folder")
    names = [*(datasets_of(before) if before else ()), *hparams["corpora"]]
    trained_on = dict.fromkeys(sorted(names), True)
    run_on_main(check_same_run, args=[save_folder, DATASETS, trained_on])


def add_datasets(brain: TrainingBrain, hparams: dict, rows: Mapping[str, Rows]) -> None:
    """Give a Brain its data sets, checked, with what a word head learns from."""
    absent = check_rows(hparams, rows, type(brain))
    brain.train_set = make_dataset(hparams, rows["train"], True, absent["train"])
    brain.valid_set = make_dataset(hparams, rows["valid"], absent=absent["valid"])
    if "word_head" in hparams["modules"]:
        counts = count_tokens(brain.train_set)
        hparams["modules"]["word_head"].weigh(counts, len(brain.train_set))
        add_clip_tokens(brain.train_set)


def schedule_updates(brain: TrainingBrain, hparams: dict, loader: Mapping) -> None:
    """Count a run's updates; give the Brain learning rates and progress for so many."""
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


def device_name(device: str) -> str:
    """Return what a GPU is called; the device itself for any other."""
    is_gpu = str(device).startswith("cuda")
    return torch.cuda.get_device_name(device) if is_gpu else str(device)


def export(hparams: dict) -> None:
    """Write the trained model, at its lowest validation loss, to ``export_folder``."""
    folders = [hparams["output_folder"], hparams["export_folder"]]
    run_on_main(export_run, args=[*folders, hparams["model"]])
