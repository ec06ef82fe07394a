"""Train CLAP on (clip, text) batches: match each clip with its text and vice versa.

Elizalde et al., ICASSP 2023 (arXiv 2206.04769), Eqs. 3 and 4.
"""

import speechbrain as sb

from pengi_plugin.data.dataset import ClipDataset
from pengi_plugin.lobes.clap import contrastive_losses
from pengi_plugin.training.base import TrainingBrain


class ClapBrain(TrainingBrain):
    """Train and validate CLAP.

    ``modules`` holds ``clap``. The text of a clip is the answer of one of its rows,
    see the YAML's ``tasks`` and ``task_weights``. In training, clips and texts are
    compared over all processes; accumulated batches are not compared with each other.
    The rest is that of ``TrainingBrain``.
    """

    @staticmethod
    def check(hparams: dict, dataset: ClipDataset) -> None:
        """Raise ValueError if clips have several texts, or one is too long."""
        if dataset.pairs_per_clip != 1:
            raise ValueError(
                "CLAP compares one text with each clip: pairs_per_clip and "
                f"valid_pairs_per_clip must be 1; got {dataset.pairs_per_clip}."
            )
        hparams["model"]["text_encoder"].check(dataset.texts("answer"))

    def sizes(self, batch) -> dict[str, int]:
        """Return how many clips a batch has."""
        return {"clips": len(batch.answer)}

    def compute_forward(self, batch, stage):
        """Return the embeddings of clips and texts [clip, d_embedding] and a scale."""
        batch = batch.to(self.device, non_blocking=True)
        wavs, wav_lens = batch.wav
        return self.module("clap", stage)(wavs, wav_lens, batch.answer)

    def compute_objectives(self, outputs, batch, stage):
        """Return the mean of both directions' losses, and note them."""
        is_training = stage == sb.Stage.TRAIN
        losses = contrastive_losses(*outputs, is_training and self.distributed_launch)
        names = ("audio_to_text", "text_to_audio")
        if not is_training or all(loss.isfinite().all() for loss in losses):
            sums = [loss.sum().item() for loss in losses]
            self.sums.add(names, sums, [len(batch.answer)] * 2)
        loss = sum(losses) / 2
        return self.mean_over_update(loss, "clips") if is_training else loss.mean()
