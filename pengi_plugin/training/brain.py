"""Train Pengi on (clip, prompt, answer) batches with SpeechBrain's Brain.

One loss for every task: the cross-entropy of the answer's tokens given the
prefix (Deshmukh et al., NeurIPS 2023, Eq. 3). An audio encoder that does not start
from CLAP may be taught the words said about its clips beside it.
"""

import logging
from statistics import fmean

import speechbrain as sb
import torch
from speechbrain.dataio.dataio import length_to_mask
from speechbrain.dataio.dataset import FilteredSortedDynamicItemDataset
from speechbrain.utils.distributed import if_main_process
from torch import Tensor
from torch import distributed as dist

logger = logging.getLogger(__name__)


class PengiBrain(sb.Brain):
    """Fit, validate and test Pengi.

    ``modules`` holds ``pengi`` and perhaps ``word_head`` (then ``hparams`` holds
    ``word_loss_weight``); ``hparams`` holds ``model`` (a model YAML, for its
    tokenizer and searcher), ``seed``, ``lr``, ``n_warmup``, ``train_logger`` and
    ``lr_annealing`` (a schedule over all updates). Batches are ``PairBatch``es of
    ``pengi_plugin.dataio``. Set ``train_set`` to the data set whose draws follow the
    epoch, ``sample_batch`` to the batch that is answered after every epoch.
    """

    train_set = None
    sample_batch = None

    def compute_forward(self, batch, stage):
        """Return the answers' token log-probabilities [batch, token], their mask,
        when training the clips' embeddings, and when testing the answers that the
        model writes."""
        batch = batch.to(self.device)
        wavs, wav_lens = batch.wav
        ids, id_lens = batch.answer_ids
        mask = length_to_mask((id_lens * ids.shape[1]).round(), ids.shape[1]).bool()
        if stage != sb.Stage.TEST:
            log_probs, embedding = self.modules.pengi(
                wavs, wav_lens, batch.prompt, ids, mask, batch.clip_index, True
            )
            return log_probs, mask, embedding, None
        prefix = self.pengi.encode(wavs, wav_lens, batch.prompt, batch.clip_index)
        log_probs = self.pengi.lm.answer_log_probs(prefix, ids, mask)
        return log_probs, mask, None, self.search(prefix)

    def compute_objectives(self, outputs, batch, stage):
        """Return the cross-entropy per answer token, and note it per task.

        In training over several processes the sum is divided by the tokens of all
        of them, so that n processes follow the gradient of one with n times the
        batch.
        """
        log_probs, mask, embedding, answers = outputs
        losses = -log_probs.sum(1)
        n_tokens = mask.sum(1)
        for task, loss, n_token in zip(
            batch.task, losses.tolist(), n_tokens.tolist(), strict=True
        ):
            totals = self.task_totals.setdefault(task, [0.0, 0.0])
            totals[0] += loss
            totals[1] += n_token
        if answers is not None:
            self.answers.update(zip(batch.id, answers, strict=True))
        n_token = n_tokens.sum().to(losses.dtype)
        if stage == sb.Stage.TRAIN and self.distributed_launch:
            dist.all_reduce(n_token)
            n_token = n_token / dist.get_world_size()
        loss = losses.sum() / n_token
        if stage == sb.Stage.TRAIN and "word_head" in self.modules:
            word_loss = self.word_loss(embedding, batch)
            self.word_losses.append(word_loss.item())
            loss = loss + self.hparams.word_loss_weight * word_loss
        return loss

    def word_loss(self, embedding: Tensor, batch) -> Tensor:
        """Return how badly the clips' embeddings tell the words said about them."""
        said, lens = batch.said_ids
        mask = length_to_mask((lens * said.shape[1]).round(), said.shape[1]).bool()
        return self.modules.word_head(embedding, said, mask).mean()

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
        """Draw this batch's dropout from its own seed.

        A run that is interrupted and resumed then draws what an uninterrupted one
        does: SpeechBrain's checkpoints do not hold the random state.
        """
        epoch = self.hparams.epoch_counter.current
        place = (epoch * 1_000_003 + self.step) * 1_009 + self.rank_number
        torch.manual_seed(self.hparams.seed + place)

    @property
    def rank_number(self) -> int:
        """This process's number among all, 0 when alone."""
        return dist.get_rank() if self.distributed_launch else 0

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # A checkpoint between two updates would lose the gradients gathered so far.
        due = super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)
        return due and self.step % self.grad_accumulation_factor == 0

    def on_stage_start(self, stage, epoch=None):
        """Forget the last stage's sums."""
        self.task_totals: dict[str, list[float]] = {}
        self.answers: dict[str, str] = {}
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

    def generate(self, dataset, loader_kwargs: dict, **best) -> dict[str, str]:
        """Write an answer for every row of a dataset, ranks sharing the clips.

        Arguments
        ---------
        dataset : ClipDataset
            What to answer.
        loader_kwargs : dict
            For the DataLoader.
        **best : dict
            ``min_key`` or ``max_key`` of the checkpoint to load first.

        Returns
        -------
        answers : dict
            ID of the row -> answer; complete on every rank.
        """
        if self.distributed_launch:
            mine = dataset.data_ids[self.rank_number :: dist.get_world_size()]
            share = FilteredSortedDynamicItemDataset(dataset, mine)
        else:
            share = dataset
        self.evaluate(share, test_loader_kwargs=loader_kwargs, **best)
        gathered = [self.answers]
        if self.distributed_launch:
            gathered = [None] * dist.get_world_size()
            dist.all_gather_object(gathered, self.answers)
        merged = {key: text for answers in gathered for key, text in answers.items()}
        return {pair["id"]: merged[pair["id"]] for pair in dataset.pairs}
