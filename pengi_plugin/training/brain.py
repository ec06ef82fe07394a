"""Train Pengi on (clip, prompt, answer) batches with SpeechBrain's Brain.

One loss for every task: the cross-entropy of the answer's tokens given the
prefix (Deshmukh et al., NeurIPS 2023, Eq. 3). A YAML with a ``word_head`` adds a
second one for the audio encoder, see ``pengi_plugin.training.words``.
"""

import logging
from statistics import fmean

import speechbrain as sb
import torch
from speechbrain.dataio.dataio import length_to_mask
from speechbrain.utils.distributed import if_main_process
from torch import Tensor
from torch import distributed as dist

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
    ``tensorboard_logger`` and ``lr_annealing`` (a schedule over all updates).
    Batches are ``pengi_plugin.data.batch.PairBatch``. Set ``train_set`` to the data
    set whose samples depend on the epoch, ``sample_batch`` to the batch that is
    answered after every epoch (None for none).
    """

    train_set = None
    sample_batch = None

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
        for task, loss, n_token in zip(
            batch.task, losses.tolist(), n_tokens.tolist(), strict=True
        ):
            totals = self.task_totals.setdefault(task, [0.0, 0.0])
            totals[0] += loss
            totals[1] += n_token
        n_token = n_tokens.sum().to(losses.dtype)
        if stage == sb.Stage.TRAIN and self.distributed_launch:
            dist.all_reduce(n_token)
            n_token = n_token / dist.get_world_size()
        loss = losses.sum() / n_token
        if stage == sb.Stage.TRAIN and "word_head" in self.modules:
            word_loss = self.modules.word_head(embedding, batch.clip_tokens).mean()
            self.word_losses.append(word_loss.item())
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
        """Give the optimizer the trainable parameters only, in one group.

        SpeechBrain clips the gradients of the first group, and its default hands
        over the frozen parameters too.
        """
        trained = [p for p in self.modules.parameters() if p.requires_grad]
        self.optimizer = self.opt_class(trained)
        self.optimizers_dict = {"opt_class": self.optimizer}
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)
            self.checkpointer.add_recoverable("lr_annealing", self.hparams.lr_annealing)

    def optimizers_step(self):
        """Set this update's learning rate, then update."""
        self.hparams.lr_annealing(self.optimizer)
        super().optimizers_step()

    def on_fit_batch_start(self, batch, should_step):
        """Set the random seed of this batch, for its dropout.

        A run that is interrupted and resumed is then the same as an uninterrupted
        one: SpeechBrain's checkpoints do not hold the random state.
        """
        rank = dist.get_rank() if self.distributed_launch else 0
        index = self.hparams.epoch_counter.current * EPOCH_STRIDE + self.step
        torch.manual_seed(self.hparams.seed + index * RANK_STRIDE + rank)

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # A checkpoint between two updates would lose the gradients gathered so far.
        due = super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)
        return due and self.step % self.grad_accumulation_factor == 0

    def on_stage_start(self, stage, epoch=None):
        """Begin the stage's sums anew, and tell the data set the epoch."""
        self.task_totals: dict[str, list[float]] = {}
        self.word_losses: list[float] = []  # of this process
        if stage == sb.Stage.TRAIN and self.train_set is not None:
            self.train_set.set_epoch(epoch)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log losses per task, keep the best and the newest checkpoint."""
        losses = self.mean_losses()
        if stage == sb.Stage.TRAIN:
            self.train_losses = losses
            if self.word_losses:
                self.train_losses["word_loss"] = fmean(self.word_losses)
            if getattr(self.train_set, "n_unreadable", 0):  # of this process
                self.train_losses["unreadable_clips"] = self.train_set.n_unreadable
        elif stage == sb.Stage.VALID:
            self.log_epoch(epoch, losses, self.sample_answers())
            self.checkpointer.save_and_keep_only(
                meta={"loss": losses["loss"]}, min_keys=["loss"]
            )

    def mean_losses(self) -> dict[str, float]:
        """Return the loss per token of all processes, in all and per task."""
        gathered = [self.task_totals]
        if self.distributed_launch:
            gathered = [None] * dist.get_world_size()
            dist.all_gather_object(gathered, self.task_totals)
        sums: dict[str, list[float]] = {}
        for totals in gathered:
            for task, (loss, n_token) in totals.items():
                for name in ("loss", f"loss_{task}"):
                    total = sums.setdefault(name, [0.0, 0.0])
                    total[0] += loss
                    total[1] += n_token
        return {name: loss / n_token for name, (loss, n_token) in sorted(sums.items())}

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
