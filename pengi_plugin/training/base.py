"""What trainings of all models share, on SpeechBrain's Brain.

Checkpoints and resume, learning rates by update, updates that are not finite, batches
of several processes, progress, and logs per task. Methods here that replace those of
SpeechBrain's Brain say what that does instead.
"""

import logging
import math
import re
from contextlib import AbstractContextManager, nullcontext

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from torch import Tensor
from torch import distributed as dist
from torch.nn.utils import clip_grad_norm_

from pengi_plugin.data.dataset import ClipDataset
from pengi_plugin.training.adaptation import parameter_groups
from pengi_plugin.training.compilation import compile_parts
from pengi_plugin.training.processes import (
    count_processes,
    gather,
    gather_shares,
    rank,
    share_of_batches,
)
from pengi_plugin.training.sums import EpochSums, merge
from pengi_plugin.training.updates import Updates

logger = logging.getLogger(__name__)


#: The random seed of a batch is
#: ``seed + (epoch * EPOCH_STRIDE + batch) * RANK_STRIDE + rank``. The strides are
#: above the batches of an epoch and the processes of a run, so that no two batches
#: have the same seed.
EPOCH_STRIDE, RANK_STRIDE = 1_000_003, 1_009

#: Before the names that a model gives its weights; DistributedDataParallel adds
#: "module.".
MODEL_PREFIX = r"^(pengi|clap)\.(module\.)?"


class TrainingBrain(sb.Brain):
    """Train and validate a model on ``ClipDataset``.

    A subclass has ``compute_forward``, ``compute_objectives``, which notes losses in
    ``sums`` and averages them with ``mean_over_update``, ``sizes`` and ``check``.
    ``hparams`` holds ``model`` (a model YAML), ``seed``,
    ``epoch_counter``, ``train_logger``, ``tensorboard_logger`` and ``lr_annealing`` (a
    schedule over all updates, with ``calculate_lr(update)``, counted from 1), and
    perhaps ``lr_factors`` (see ``pengi_plugin.training.adaptation``). Batches are
    ``pengi_plugin.data.batch.PairBatch``. Set ``train_set`` to the data set whose
    samples depend on the epoch, ``valid_set`` to the other one, ``sample_batch`` to
    this process's share of the clips whose ``sample_answers`` are logged after every
    epoch (None for none), ``progress`` to a
    ``pengi_plugin.training.progress.Progress`` and ``cost`` to a
    ``pengi_plugin.training.cost.Cost`` (None: nothing is told).

    An update whose loss or gradient is not finite is skipped, counted and logged;
    more than SpeechBrain's option ``nonfinite_patience`` in a row stop the run.
    """

    train_set = valid_set = None
    sample_batch = None
    progress = cost = None

    #: Whether the losses of the update that is being gathered are finite, on this
    #: process, and how many updates in a row were skipped until now.
    is_finite = True
    n_skipped_in_a_row = 0

    #: What the batches of the update hold, of all processes; see ``sizes``.
    update_sizes: dict[str, Tensor]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sums = EpochSums()
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("sums", self.sums, optional_load=True)

    @staticmethod
    def check(hparams: dict, dataset: ClipDataset) -> None:
        """Raise ValueError if the model cannot be trained on a data set.

        Arguments
        ---------
        hparams : dict
            A training's YAML.
        dataset : ClipDataset
            Of any split.
        """
        raise NotImplementedError

    def sizes(self, batch) -> dict[str, int]:
        """Return what losses are divided by, such as tokens, and how many there are."""
        raise NotImplementedError

    def _fit_train(self, train_set, epoch, enable):
        # SpeechBrain averages the means of accumulated batches, whatever their sizes.
        updates = Updates(train_set, self.grad_accumulation_factor, self.begin_update)
        super()._fit_train(updates, epoch, enable)

    def fit_batch(self, batch):
        """Learn from a batch; count the operations of the first one."""
        if self.cost is None or self.cost.batch_operations is not None:
            return super().fit_batch(batch)
        # What is compiled would show the counter nothing.
        with self.uncompiled(), self.cost.counting():
            loss = super().fit_batch(batch)
        self.tell(self.cost.table())
        return loss

    @torch.no_grad()
    def evaluate_batch(self, batch, stage):
        """Validate a batch, without what is compiled: it may have another size."""
        with self.uncompiled():
            return super().evaluate_batch(batch, stage)

    def uncompiled(self) -> AbstractContextManager:
        """Return a context in which compiled parts run as if they were not."""
        is_compiled = self.compile
        return (
            torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()
        )

    def begin_update(self, batches: list) -> None:
        """Note what the batches of an update hold, of all processes."""
        sizes = [self.sizes(batch) for batch in batches]
        names = list(sizes[0])
        totals = torch.tensor([[size[name] for name in names] for size in sizes]).sum(0)
        totals = totals.to(self.device)
        if self.distributed_launch:
            dist.all_reduce(totals)
        self.update_sizes = dict(zip(names, totals, strict=True))

    def mean_over_update(self, losses: Tensor, name: str) -> Tensor:
        """Return a batch's part of the mean loss over a whole update.

        The gradient is that of one batch with all that the update's batches hold, of
        all processes. SpeechBrain divides each loss by the number of batches, and
        DistributedDataParallel averages gradients over processes; this undoes both.

        Arguments
        ---------
        losses : torch.Tensor
            Of the batch, any shape.
        name : str
            What they are divided by, one of ``sizes``.
        """
        n_part = self.grad_accumulation_factor * count_processes()
        return losses.sum() * n_part / self.update_sizes[name]

    def make_dataloader(self, dataset, stage, ckpt_prefix="dataloader-", **options):
        """Give each process its share of the validation batches.

        SpeechBrain gives all of them to every process.
        """
        if stage != sb.Stage.TRAIN and self.distributed_launch:
            batch_size = options.pop("batch_size", 1)
            options["batch_sampler"] = share_of_batches(len(dataset), batch_size)
        return super().make_dataloader(dataset, stage, ckpt_prefix, **options)

    def module(self, name: str, stage: sb.Stage = sb.Stage.VALID) -> torch.nn.Module:
        """Return what batches go through, wrapped for several processes in training.

        DistributedDataParallel hides all but ``forward``, and there it waits for the
        other processes, which may have fewer batches to validate.
        """
        module = self.modules[name]
        return module if stage == sb.Stage.TRAIN else getattr(module, "module", module)

    def _compile(self):
        # SpeechBrain compiles a model as a whole, and for each length of an answer
        # anew: on the tiny model of the tests that did not end in 110 s.
        if self.compile_module_keys or self.jit or self.jit_module_keys:
            raise ValueError(
                "compile_module_keys and jit compile a model as a whole, which has "
                "answers of another length in every batch. Give compile: True (or "
                "--compile), which takes the parts of fixed shapes."
            )
        if self.compile:
            for name in self.modules.keys() & {"pengi", "clap"}:
                names = compile_parts(
                    self.modules[name],
                    getattr(self.hparams, "gradient_checkpointing", ()),
                    mode=self.compile_mode,
                    fullgraph=self.compile_using_fullgraph,
                    dynamic=self.compile_using_dynamic_shape_tracing,
                )
                logger.info("Compiled at their first use: %s.", ", ".join(names))

    def init_optimizers(self):
        """Give the optimizer the trainable parameters only, grouped by ``lr_factors``.

        SpeechBrain's default hands over the frozen parameters too.
        """
        named = [
            (re.sub(MODEL_PREFIX, "", name), weight)
            for name, weight in self.modules.named_parameters()
            if weight.requires_grad
        ]
        groups = parameter_groups(named, getattr(self.hparams, "lr_factors", {}))
        if len(groups) > 1 and self.scaler.is_enabled():
            raise ValueError(
                "lr_factors do not work with fp16, whose gradients SpeechBrain clips "
                "in one group; give --precision bf16 or fp32."
            )
        self.optimizer = self.opt_class(groups)
        self.optimizers_dict = {"opt_class": self.optimizer}
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)

    def trained_weights(self) -> list[Tensor]:
        """Return all weights that the optimizer changes."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def on_fit_start(self):
        """Take up the newest checkpoint; say so if the run has ended before."""
        super().on_fit_start()
        counter = self.hparams.epoch_counter
        if counter.current > counter.limit:
            logger.warning(
                "number_of_epochs is %d, but this run has %d behind it already: the "
                "best of them is taken. Give another output_folder to train anew.",
                counter.limit,
                counter.current,
            )

    def optimizers_step(self):
        """Set this update's learning rate, then update, unless it is not finite.

        The rate depends on the number of the update and on the schedule of this run
        alone, so that a run with more epochs goes on at the rates of its new length.
        """
        rate = self.hparams.lr_annealing.calculate_lr(self.optimizer_step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        if self.update_is_finite():
            self.n_skipped_in_a_row = 0
            if len(self.optimizer.param_groups) > 1:
                # SpeechBrain clips the first group alone; after this it has no more
                # to clip.
                clip_grad_norm_(self.trained_weights(), self.max_grad_norm)
            super().optimizers_step()
        else:
            self.skip_update()

    def check_loss_isfinite(self, loss):
        """Note a loss that is not finite: ``optimizers_step`` skips its update.

        SpeechBrain's own check counts over the epoch, and updates nevertheless.
        """
        self.is_finite = self.is_finite and bool(torch.isfinite(loss))

    def update_is_finite(self) -> bool:
        """Tell whether the update's losses and gradients are finite, on all processes.

        In fp16 the gradients are left to SpeechBrain's GradScaler: until it has found
        its scale they are infinite, and it skips the update.
        """
        is_finite, self.is_finite = self.is_finite, True
        if not self.scaler.is_enabled():
            weights = self.trained_weights()
            gradients = [p.grad for p in weights if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            is_finite = is_finite and bool(torch.isfinite(norm))
        if self.distributed_launch:  # gradients are shared, losses are not
            lowest = torch.tensor(float(is_finite), device=self.device)
            dist.all_reduce(lowest, dist.ReduceOp.MIN)
            is_finite = bool(lowest)
        return is_finite

    def skip_update(self) -> None:
        """Drop the gradients, count the update as done; stop after some in a row.

        Raises
        ------
        FloatingPointError
            If more than ``nonfinite_patience`` updates in a row were skipped.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer_step += 1
        self.sums.n_skipped += 1
        self.n_skipped_in_a_row += 1
        logger.warning(
            "Update %d is skipped: its loss or gradient is not finite.",
            self.optimizer_step,
        )
        if self.n_skipped_in_a_row > self.nonfinite_patience:
            raise FloatingPointError(
                f"The loss or the gradient of {self.n_skipped_in_a_row} updates in a "
                f"row was not finite, the last was update {self.optimizer_step}. The "
                "checkpoints hold the weights from before them. Lower lr, or give "
                "--precision fp32; --nonfinite_patience "
                f"(now {self.nonfinite_patience}) sets how many are skipped."
            )

    def on_fit_batch_start(self, batch, should_step):
        """Set the random seed of this batch, for its dropout.

        A run that is interrupted and resumed is then the same as an uninterrupted
        one: SpeechBrain's checkpoints do not hold the random state.
        """
        index = self.hparams.epoch_counter.current * EPOCH_STRIDE + self.step
        torch.manual_seed(self.hparams.seed + index * RANK_STRIDE + rank())

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Say, once, how long the run will take, and how fast it is."""
        if should_step and self.progress is not None:
            epoch = self.hparams.epoch_counter.current
            self.tell(self.progress.end_update(self.optimizer_step, epoch))
        if should_step and self.cost is not None:
            self.tell(self.cost.end_update())

    def tell(self, message: str | None) -> None:
        """Log a message, if there is one, on the main process."""
        if message and if_main_process():
            logger.info(message)

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # A checkpoint between two updates would lose the gradients gathered so far.
        due = super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)
        return due and self.step % self.grad_accumulation_factor == 0

    def _save_intra_epoch_ckpt(self):
        self.sums.of_all = merge(gather(self.sums.state()))
        super()._save_intra_epoch_ckpt()
        self.sums.of_all = None

    def on_stage_start(self, stage, epoch=None):
        """Begin the stage's sums anew, and tell the data set the epoch."""
        if stage == sb.Stage.TRAIN:
            self.sums.start()
            if self.train_set is not None:
                self.train_set.set_epoch(epoch)
            if self.cost is not None:
                self.cost.start_stage()
        else:
            self.sums.clear()
        if self.progress is not None:
            self.progress.start_stage()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log losses per task, keep the best and the newest checkpoint."""
        sums = merge(gather(self.sums.state()))
        losses = self.mean_losses()
        self.count_unreadable(
            self.train_set if stage == sb.Stage.TRAIN else self.valid_set
        )
        if stage == sb.Stage.TRAIN:
            if self.cost is not None:
                self.tell(self.cost.end_epoch())
            self.train_losses = losses
            word_loss, n_batch = sums["word"]
            if n_batch:
                self.train_losses["word_loss"] = word_loss / n_batch
            if sums["n_skipped"]:
                self.train_losses["skipped_updates"] = sums["n_skipped"]
            if getattr(self.train_set, "n_unreadable", 0):
                self.train_losses["unreadable_clips"] = self.train_set.n_unreadable
        elif stage == sb.Stage.VALID:
            self.log_epoch(epoch, losses, gather_shares(self.sample_answers()))
            if not math.isfinite(losses["loss"]):
                logger.warning(
                    "The validation loss of epoch %d is not finite; its weights are "
                    "never taken for the best.",
                    epoch,
                )
            if self.progress is not None:
                message = self.progress.end_validation(self.optimizer_step, epoch)
                self.tell(message)
            self.checkpointer.save_and_keep_only(
                meta={"loss": losses["loss"]}, min_keys=["loss"]
            )

    @staticmethod
    def count_unreadable(dataset: ClipDataset | None) -> None:
        """Count the clips of a data set that another process could not read."""
        if hasattr(dataset, "unreadable"):
            found = gather(dataset.unreadable)
            dataset.add_unreadable(set().union(*found))

    def mean_losses(self) -> dict[str, float]:
        """Return the mean loss of all processes, in all and per task."""
        tasks = sorted(merge(gather(self.sums.state()))["tasks"].items())
        if not tasks:  # every update was skipped
            return {}
        total = [sum(values) for values in zip(*(pair for _, pair in tasks))]
        named = {"loss": total} | {f"loss_{task}": pair for task, pair in tasks}
        return {name: loss / n_token for name, (loss, n_token) in named.items()}

    def sample_answers(self) -> list[dict[str, str]]:
        """Return ``prompt``, ``answer`` and ``reference`` of a few clips; here none."""
        return []

    def log_epoch(self, epoch: int, losses: dict, samples: list[dict]) -> None:
        """Write one epoch to the text log and to TensorBoard."""
        stats = {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]}
        # SpeechBrain's loggers write on the main process, but all must call them.
        for log in (self.hparams.train_logger, self.hparams.tensorboard_logger):
            log.log_stats(stats, train_stats=self.train_losses, valid_stats=losses)
        if not if_main_process():
            return
        lines = [
            "{prompt} -> {answer} (reference: {reference})".format(**s) for s in samples
        ]
        for line in lines:
            logger.info(line)
        writer = self.hparams.tensorboard_logger.writer
        writer.add_text("answers", "\n\n".join(lines), epoch)
