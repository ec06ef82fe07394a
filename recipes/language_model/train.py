"""Train the small language model that the package ships, and its tokenizer.

    python recipes/language_model/train.py hparams/language_model.yaml \
        --audiocaps_folder path/to/audiocaps

README.md beside this file says what it learns from.
"""

import math
import shutil
import sys
from pathlib import Path

import kneser_ney
import numpy as np
import questions
import speechbrain as sb
import texts
import torch
import vocabulary
from mixture import MixedBlocks
from safetensors.torch import save_file
from torch.nn import functional as F

from pengi_plugin.lobes.tokenizer import SentencePieceTokenizer
from pengi_plugin.storage.atomic import new_folder, write_file
from pengi_plugin.training.run import load


class LanguageModelBrain(sb.Brain):
    """Next-token prediction over blocks of packed documents."""

    def compute_forward(self, batch, stage):
        """Return the logits [batch, token - 1, vocab] of all tokens but the first."""
        ids = batch.to(self.device)
        return self.modules.lm(input_ids=ids[:, :-1], use_cache=False).logits

    def compute_objectives(self, logits, batch, stage):
        """Return the cross-entropy per token."""
        targets = batch[:, 1:].to(self.device)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def optimizers_step(self):
        """Set this update's learning rate, then update."""
        self.hparams.lr_annealing(self.optimizer, self.optimizer_step + 1)
        super().optimizers_step()

    def on_stage_start(self, stage, epoch=None):
        """Sample this epoch's blocks."""
        if stage == sb.Stage.TRAIN:
            self.train_blocks.draw(epoch)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, and keep the last checkpoint: held-out text chooses nothing."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        self.hparams.train_logger.log_stats(
            stats_meta={"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
            train_stats={"loss": self.train_loss},
            valid_stats={"loss": stage_loss},
        )
        self.checkpointer.save_and_keep_only(meta={"loss": float(stage_loss)})

    def perplexities(self) -> dict[str, float]:
        """Return the perplexity per token of each held-out corpus."""
        return {
            name: math.exp(-np.mean(np.concatenate(self.log_probs(documents))))
            for name, documents in self.held_out.items()
        }

    def log_probs(self, documents) -> list[np.ndarray]:
        """Return every token's log-probability, each document on its own."""
        found = {
            index: -F.cross_entropy(logits, targets, reduction="none").cpu().numpy()
            for index, logits, targets in self.predictions(documents)
        }
        return [found[index] for index in range(len(documents))]

    def right(self, documents, n_answer) -> list[bool]:
        """Tell of each document whether greedy search would write its last tokens."""
        found = {}
        for index, logits, targets in self.predictions(documents):
            hits = logits.argmax(-1) == targets
            found[index] = bool(hits[-n_answer[index] :].all())
        return [found[index] for index in range(len(documents))]

    @torch.no_grad()
    def predictions(self, documents, batch_size: int = 64):
        """Yield the index, logits [token, vocab] and tokens of each document.

        Short ones come first. A document is read after one end token, as in a block.
        """
        self.modules.eval()
        end = self.modules.lm.config.eos_token_id
        order = sorted(range(len(documents)), key=lambda i: len(documents[i]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            width = len(documents[rows[-1]]) + 1
            ids = torch.tensor(
                [
                    [end, *documents[i], *[end] * (width - 1 - len(documents[i]))]
                    for i in rows
                ]
            )
            logits = self.compute_forward(ids, sb.Stage.TEST).float()
            targets = ids[:, 1:].to(logits.device)
            for i, scores, tokens in zip(rows, logits, targets):
                yield i, scores[: len(documents[i])], tokens[: len(documents[i])]


def export(lm, tokenizer_file, folder) -> None:
    """Write a folder that transformers' ``GPT2LMHeadModel`` and ``PrefixLM`` load."""
    lm.config.architectures = [type(lm).__name__]
    lm.config.dtype = torch.float32  # what to compute in; the file is smaller
    weights = {
        name: weight.detach().half().cpu().contiguous()
        for name, weight in lm.state_dict().items()
        if name != "lm_head.weight"  # tied to the token embeddings
    }
    with new_folder(folder, replaces="config.json") as unfinished:
        lm.config.save_pretrained(unfinished)
        path = unfinished / "model.safetensors"
        save_file(weights, path, metadata={"format": "pt"})
        shutil.copyfile(tokenizer_file, unfinished / "tokenizer.model")


def check_lengths(documents: dict[str, list[list[int]]], block_size: int) -> None:
    """Raise ValueError if a document is too long to be scored on its own."""
    for name, several in documents.items():
        longest = max(map(len, several))
        if longest > block_size:
            raise ValueError(
                f"A held-out line of {name} has {longest} tokens, the model reads "
                f"block_size={block_size}; raise block_size or vocab_size."
            )


def read_corpora(hparams) -> dict[str, tuple[list[str], list[str]]]:
    """Return the lines of each corpus: (train, held out)."""
    return {
        "audiocaps": texts.read_audiocaps(hparams["audiocaps_folder"]),
        "wordnet": texts.read_wordnet(
            hparams["wordnet_folder"], hparams["wordnet_held_out_every"]
        ),
        "forms": texts.read_forms(hparams["n_clip"]),
        "questions": texts.read_questions(hparams["n_clip"]),
    }


def main(arguments: list[str]) -> dict[str, float]:
    """Train, export, print the tables; return the held-out perplexities."""
    hparams, run_opts = load(arguments)
    lines = read_corpora(hparams)
    shares = hparams["shares"]
    tokenizer_file = Path(hparams["tokenizer_file"])
    if not tokenizer_file.exists():
        train_lines = {
            name: [part for line in train for part in line.split(texts.END)]
            for name, (train, _) in lines.items()
        }
        weighted = vocabulary.in_shares(train_lines, hparams["tokenizer_shares"])
        weighted += vocabulary.every_word(train_lines["forms"])
        vocabulary.train_tokenizer(weighted, tokenizer_file, hparams["vocab_size"])
    tokenizer = SentencePieceTokenizer(tokenizer_file)
    train, held_out = (
        {
            name: [tokenizer.encode_as_ids(line + texts.END) for line in pair[part]]
            for name, pair in lines.items()
        }
        for part in (0, 1)
    )
    check_lengths(held_out, hparams["block_size"])
    blocks = {
        part: MixedBlocks(
            corpora, shares, n_block, hparams["block_size"], hparams["seed"]
        )
        for part, corpora, n_block in (
            ("train", train, hparams["updates_per_epoch"] * hparams["batch_size"]),
            ("valid", held_out, hparams["valid_blocks"]),
        )
    }

    brain = LanguageModelBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.train_blocks = blocks["train"]
    brain.held_out = held_out
    loader_options = {"batch_size": hparams["batch_size"]}
    brain.fit(
        hparams["epoch_counter"],
        blocks["train"],
        blocks["valid"],
        train_loader_kwargs=loader_options,
        valid_loader_kwargs=loader_options,
    )
    export(brain.modules.lm, tokenizer_file, hparams["export_folder"])

    perplexities = brain.perplexities()
    table = kneser_ney.comparison(
        train, held_out, perplexities, len(tokenizer), hparams["ngram_order"]
    )
    asked = questions.read()
    documents, n_answer = questions.encode(asked, tokenizer)
    right = brain.right(documents, n_answer)
    answers = questions.table([kind for kind, *_ in asked], right)
    for name, text in (("perplexity", table), ("answers", answers)):
        write_file(Path(hparams["output_folder"], f"{name}.md"), text + "\n")
        print(text)
    return perplexities


if __name__ == "__main__":
    main(sys.argv[1:])
