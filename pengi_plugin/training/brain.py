"""Train Pengi on (clip, prompt, answer) batches with SpeechBrain's Brain.

One loss for every task: the cross-entropy of the answer's tokens given the
prefix (Deshmukh et al., NeurIPS 2023, Eq. 3). A YAML with a ``word_head`` adds a
second one for the audio encoder, see ``pengi_plugin.training.words``.
"""

import speechbrain as sb
import torch
from speechbrain.dataio.dataio import length_to_mask
from torch import Tensor

from pengi_plugin.data.dataset import ClipDataset
from pengi_plugin.training.base import TrainingBrain


class PengiBrain(TrainingBrain):
    """Train and validate Pengi.

    ``modules`` holds ``pengi`` and perhaps ``word_head`` (then ``hparams`` holds
    ``word_loss_weight``); ``hparams["model"]`` has a tokenizer and a searcher. The rest
    is that of ``TrainingBrain``.
    """

    @staticmethod
    def check(hparams: dict, dataset: ClipDataset) -> None:
        """Raise ValueError if a prompt or an answer is too long for the model."""
        model = hparams["model"]
        model["text_encoder"].check(dataset.texts("prompt"))
        n_prefix = model["audio_mapper"].n_prefix + model["text_mapper"].n_prefix
        if model["lm"].max_positions is not None:
            dataset.check_answers(model["lm"].max_positions - n_prefix)

    def sizes(self, batch) -> dict[str, int]:
        """Return how many answer tokens and clips a batch has."""
        ids, id_lens = batch.answer_ids
        n_token = int((id_lens * ids.shape[1]).round().sum())
        return {"tokens": n_token, "clips": len(batch.wav[0])}

    def compute_forward(self, batch, stage):
        """Return the answers' token log-probabilities [pair, token], their mask
        [pair, token], and the clips' embeddings [clip, d_embedding]."""
        batch = batch.to(self.device, non_blocking=True)
        wavs, wav_lens = batch.wav
        ids, id_lens = batch.answer_ids
        mask = length_to_mask((id_lens * ids.shape[1]).round(), ids.shape[1]).bool()
        log_probs, embedding = self.module("pengi", stage)(
            wavs, wav_lens, batch.prompt, ids, mask, batch.clip_index, True
        )
        return log_probs, mask, embedding

    def compute_objectives(self, outputs, batch, stage):
        """Return the cross-entropy per answer token, and note it per task."""
        log_probs, mask, embedding = outputs
        losses = -log_probs.sum(1)
        n_tokens = mask.sum(1)
        if stage != sb.Stage.TRAIN or losses.isfinite().all():
            self.sums.add(batch.task, losses.tolist(), n_tokens.tolist())
        if stage != sb.Stage.TRAIN:
            return losses.sum() / n_tokens.sum()
        loss = self.mean_over_update(losses, "tokens")
        if "word_head" in self.modules:
            word_losses = self.modules.word_head(embedding, batch.clip_tokens)
            if word_losses.isfinite().all():
                self.sums.add_word(word_losses.mean().item())
            word_loss = self.mean_over_update(word_losses, "clips")
            loss = loss + self.hparams.word_loss_weight * word_loss
        return loss

    def search(self, prefix: Tensor) -> list[str]:
        """Write one answer for each prefix [batch, 2 * n_prefix, d_model]."""
        hypotheses, *_ = self.hparams.model["searcher"](prefix)
        return [self.hparams.model["tokenizer"].decode_ids(ids) for ids in hypotheses]

    def sample_answers(self) -> list[dict[str, str]]:
        """Write answers to a few clips, the same ones after every epoch.

        Each process answers its share of them.
        """
        if self.sample_batch is None:
            return []
        batch = self.sample_batch.to(self.device)
        with torch.no_grad(), self.evaluation_ctx, self.uncompiled():
            pengi = self.module("pengi")
            prefix = pengi.encode(*batch.wav, batch.prompt, batch.clip_index)
            answers = self.search(prefix)
        return [
            {"prompt": prompt, "answer": answer, "reference": reference}
            for prompt, answer, reference in zip(batch.prompt, answers, batch.answer)
        ]
