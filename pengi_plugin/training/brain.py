"""Train Pengi on (clip, prompt, answer) batches with SpeechBrain's Brain.

One loss for every task: the cross-entropy of the answer's tokens given the
prefix (Deshmukh et al., NeurIPS 2023, Eq. 3). A YAML with a ``word_head`` adds a
second one for the audio encoder, see ``pengi_plugin.training.words``.
"""

import logging
import math

import speechbrain as sb
import torch
from speechbrain.dataio.dataio import length_to_mask
from speechbrain.utils.distributed import if_main_process
from torch import Tensor
from torch import distributed as dist
from torch.nn.utils import clip_grad_norm_

from pengi_plugin.training.adaptation import parameter_groups
from pengi_plugin.training.sums import EpochSums, merge

logger = logging.getLogger(__name__)


#: The random seed of a batch is
#: ``seed + (epoch * EPOCH_STRIDE + batch) * RANK_STRIDE + rank``. The strides are
#: above the batches of an epoch and the processes of a run, so that no two batches
#: have the same seed.
EPOCH_STRIDE, RANK_STRIDE = 1_000_003, 1_009


class PengiBrain(sb.Brain):
    """Train and validate Pengi.

    ``modules`` holds ``pengi`` and perhaps ``word_head`` (then ``hparams`` holds
    ``word_loss_weight``); ``hparams`` holds ``model`` (a model YAML, for its
    tokenizer and searcher), ``seed``, ``epoch_counter``, ``train_logger``,
    ``tensorboard_logger`` and ``lr_annealing`` (a schedule over all updates, with
    ``calculate_lr(update)``, counted from 1), and perhaps ``lr_factors`` (see
    ``pengi_plugin.training.adaptation``). Batches are
    ``pengi_plugin.data.batch.PairBatch``. Set ``train_set`` to the data set whose
    samples depend on the epoch, ``sample_batch`` to the batch that is answered after
    every epoch (None for none), ``progress`` to a
    ``pengi_plugin.training.progress.Progress`` (None: nothing is told).

    An update whose loss or gradient is not finite is skipped, counted and logged;
    more than SpeechBrain's option ``nonfinite_patience`` in a row stop the run.
    """

    train_set = None
    sample_batch = None
    progress = None

    #: Whether the losses of the update that is being gathered are finite, on this
    #: process, and how many updates in a row were skipped until now.
    is_finite = True
    n_skipped_in_a_row = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sums = EpochSums()
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("sums", self.sums, optional_load=True)

    def compute_forward(self, batch, stage):
        """Return the answers' token log-probabilities [pair, token], their mask
        [pair, token], and the clips' embeddings [clip, d_embedding]."""
        batch = batch.to(self.device)
        wavs, wav_lens = batch.wav
        ids, id_lens = batch.answer_ids
        mask = length_to_mask((id_lens * ids.shape[1]).round(), ids.shape[1]).bool()
        log_probs, embedding = self.modules.pengi(
            wavs, wav_lens, batch.prompt, ids, mask, batch.clip_index, True
        )
        return log_probs, mask, embedding

    def compute_objectives(self, outputs, batch, stage):
        """Return the cross-entropy per answer token, and note it per task.

        In training over several processes the sum is divided by the tokens of all
        of them, so that n processes follow the gradient of one with n times the
        batch.
        """
        log_probs, mask, embedding = outputs
        losses = -log_probs.sum(1)
        n_tokens = mask.sum(1)
        if stage != sb.Stage.TRAIN or losses.isfinite().all():
            self.sums.add(batch.task, losses.tolist(), n_tokens.tolist())
        n_token = n_tokens.sum().to(losses.dtype)
        if stage == sb.Stage.TRAIN and self.distributed_launch:
            dist.all_reduce(n_token)
            n_token = n_token / dist.get_world_size()
        loss = losses.sum() / n_token
        if stage == sb.Stage.TRAIN and "word_head" in self.modules:
            word_loss = self.modules.word_head(embedding, batch.clip_tokens).mean()
            if word_loss.isfinite():
                self.sums.add_word(word_loss.item())
            loss = loss + self.hparams.word_loss_weight * word_loss
        return loss

    def search(self, prefix: Tensor) -> list[str]:
        """Write one answer for each prefix [batch, 2 * n_prefix, d_model]."""
        hypotheses, *_ = self.hparams.model["searcher"](prefix)
        return [self.hparams.model["tokenizer"].decode_ids(ids) for ids in hypotheses]

    @property
    def pengi(self):
        """The model itself: DistributedDataParallel hides all but ``forward``."""
        return getattr(self.modules.pengi, "module", self.modules.pengi)

    def init_optimizers(self):
        """Give the optimizer the trainable parameters only, grouped by ``lr_factors``.

        SpeechBrain's default hands over the frozen parameters too.
        """
        named = [
            # as Pengi names them; DistributedDataParallel adds "module."
            (name.removeprefix("pengi.").removeprefix("module."), weight)
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
        rank = dist.get_rank() if self.distributed_launch else 0
        index = self.hparams.epoch_counter.current * EPOCH_STRIDE + self.step
        torch.manual_seed(self.hparams.seed + index * RANK_STRIDE + rank)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Say, once, how long the run will take."""
        if should_step and self.progress is not None:
            epoch = self.hparams.epoch_counter.current
            self.tell(self.progress.end_update(self.optimizer_step, epoch))

    def tell(self, message: str | None) -> None:
        """Log a message, if there is one, on the main process."""
        if message and if_main_process():
            logger.info(message)

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # A checkpoint between two updates would lose the gradients gathered so far.
        due = super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)
        return due and self.step % self.grad_accumulation_factor == 0

    def _save_intra_epoch_ckpt(self):
        self.sums.of_all = merge(self.gather(self.sums.state()))
        super()._save_intra_epoch_ckpt()
        self.sums.of_all = None

    def gather(self, value) -> list:
        """Return a value of each process, on all of them."""
        if not self.distributed_launch:
            return [value]
        gathered = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, value)
        return gathered

    def on_stage_start(self, stage, epoch=None):
        """Begin the stage's sums anew, and tell the data set the epoch."""
        if stage == sb.Stage.TRAIN:
            self.sums.start()
            if self.train_set is not None:
                self.train_set.set_epoch(epoch)
        else:
            self.sums.clear()
        if self.progress is not None:
            self.progress.start_stage()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log losses per task, keep the best and the newest checkpoint."""
        sums = merge(self.gather(self.sums.state()))
        losses = self.mean_losses()
        if stage == sb.Stage.TRAIN:
            self.train_losses = losses
            word_loss, n_batch = sums["word"]
            if n_batch:
                self.train_losses["word_loss"] = word_loss / n_batch
            if sums["n_skipped"]:
                self.train_losses["skipped_updates"] = sums["n_skipped"]
            if hasattr(self.train_set, "unreadable"):
                found = self.gather(self.train_set.unreadable)
                self.train_set.add_unreadable(set().union(*found))
                if self.train_set.n_unreadable:
                    self.train_losses["unreadable_clips"] = self.train_set.n_unreadable
        elif stage == sb.Stage.VALID:
            self.log_epoch(epoch, losses, self.sample_answers())
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

    def mean_losses(self) -> dict[str, float]:
        """Return the loss per token of all processes, in all and per task."""
        tasks = sorted(merge(self.gather(self.sums.state()))["tasks"].items())
        if not tasks:  # every update was skipped
            return {}
        total = [sum(values) for values in zip(*(pair for _, pair in tasks))]
        named = {"loss": total} | {f"loss_{task}": pair for task, pair in tasks}
        return {name: loss / n_token for name, (loss, n_token) in named.items()}

    def sample_answers(self) -> list[dict[str, str]]:
        """Write answers to a few clips, the same ones after every epoch."""
        if self.sample_batch is None:
            return []
        batch = self.sample_batch.to(self.device)
        with torch.no_grad(), self.evaluation_ctx:
            prefix = self.pengi.encode(*batch.wav, batch.prompt, batch.clip_index)
            answers = self.search(prefix)
        return [
            {"prompt": prompt, "answer": answer, "reference": reference}
            for prompt, answer, reference in zip(batch.prompt, answers, batch.answer)
        ]

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
