"""Lines of text in, a sentencepiece model out."""

from pathlib import Path

import sentencepiece

from pengi_plugin.storage.atomic import new_file


def in_shares(lines: dict[str, list[str]], shares: dict[str, float]) -> list[str]:
    """Repeat the lines of small corpora until the letters are about in shares.

    A corpus without a share is left out.
    """
    weights = {
        name: share / sum(map(len, lines[name])) for name, share in shares.items()
    }
    return [
        line
        for name in weights
        for line in lines[name] * round(weights[name] / min(weights.values()))
    ]


def every_word(lines: list[str], n_repeat: int = 800) -> list[str]:
    """Return each word of the lines, and each MIDI number, many times.

    The tokenizer then keeps them whole, so that a name is one token.
    """
    words = {word.strip(",:?") for line in lines for word in line.split()}
    return sorted(words | {str(number) for number in range(128)}) * n_repeat


def train_tokenizer(lines: list[str], path: str, vocab_size: int) -> None:
    """Train a sentencepiece model that folds case; ``</s>`` has id 2."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as unfinished, unfinished.open("wb") as model:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="bpe",
            normalization_rule_name="nmt_nfkc_cf",
            character_coverage=1.0,
            unk_id=0,
            pad_id=1,
            eos_id=2,
            bos_id=-1,
            num_threads=1,
            hard_vocab_limit=False,
            minloglevel=2,
        )
