"""Tokenizers: text in, token ids of a language model or text encoder out.

Both classes have SpeechBrain's tokenizer interface (``encode_as_ids``,
``decode_ids``), so that its inference interfaces run over them. Both can be
made empty and filled later by ``speechbrain.utils.parameter_transfer.Pretrainer``,
and both can be pickled, so that DataLoader workers can hold them.
"""

import re
from pathlib import Path

import sentencepiece
import tokenizers
from speechbrain.utils.checkpoints import mark_as_transfer, register_checkpoint_hooks
from transformers import CLIPTokenizer, GPT2Tokenizer

from pengi_plugin.storage.locate import download, locate


@register_checkpoint_hooks
class SentencePieceTokenizer:
    """A sentencepiece model, as the embedded language model uses.

    Control symbols in the text (``</s>``) become their id and nothing else;
    any other text is encoded as sentencepiece does.

    Arguments
    ---------
    path : str or Path, optional
        A sentencepiece file, or a folder with a ``tokenizer.model``. Without it
        the tokenizer is empty until :meth:`load` (or a Pretrainer) fills it.

    Example
    -------
    >>> from pengi_plugin.assets import folder
    >>> tokenizer = SentencePieceTokenizer(folder("mini_lm") + "/tokenizer.model")
    >>> tokenizer.encode_as_ids("</s>")
    [2]
    >>> tokenizer.decode_ids(tokenizer.encode_as_ids("a dog barks</s>"))
    'a dog barks'
    """

    #: How its file's name ends.
    suffix = ".model"

    def __init__(self, path=None):
        self._processor = None
        self._control_ids: dict[str, int] = {}
        if path is not None:
            self.load(path)

    @mark_as_transfer
    def load(self, path) -> None:
        """Read a sentencepiece ``.model`` file, or a folder's ``tokenizer.model``."""
        if Path(path).is_dir():
            path = Path(path) / "tokenizer.model"
        _check_file(path)
        try:
            processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except RuntimeError as error:
            raise ValueError(
                f"{path} is not a sentencepiece model; "
                "give the tokenizer.model that spm_train wrote."
            ) from error
        self._processor = processor
        self._control_ids = {
            processor.id_to_piece(index): index
            for index in range(len(processor))
            if processor.is_control(index)
        }

    def save(self, path) -> None:
        """Write the sentencepiece model to one file."""
        model = _loaded(self._processor, self).serialized_model_proto()
        Path(path).write_bytes(model)

    def encode_as_ids(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return the token ids of a text; control symbols become their ids.

        Nothing frames a text of sentencepiece: ``add_special_tokens`` is there so
        that both tokenizers are called alike, and changes nothing.
        """
        processor = _loaded(self._processor, self)
        if not self._control_ids:
            return processor.encode(text)
        controls = "|".join(re.escape(piece) for piece in self._control_ids)
        ids = []
        for part in re.split(f"({controls})", text):
            if part in self._control_ids:
                ids.append(self._control_ids[part])
            else:
                ids.extend(processor.encode(part))
        return ids

    def decode_ids(self, ids) -> str:
        """Return the text of token ids; control symbols have none."""
        return _loaded(self._processor, self).decode([int(index) for index in ids])

    def __len__(self) -> int:
        return len(_loaded(self._processor, self))


@register_checkpoint_hooks
class HFTokenizer:
    """A Hugging Face fast tokenizer, kept in one ``tokenizer.json``.

    Arguments
    ---------
    source : str or Path, optional
        A ``tokenizer.json``, a folder that holds one, a folder with GPT-2's or
        CLIP's ``vocab.json`` and ``merges.txt``, or the name of a hub
        repository that holds a ``tokenizer.json`` (``owner/name`` or ``gpt2``),
        see ``storage.locate``. Without a source the tokenizer is empty until
        :meth:`load` (or a Pretrainer) fills it.

    Example
    -------
    >>> HFTokenizer("no/such/folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no file or folder no/such/folder in ...
    """

    #: How its file's name ends.
    suffix = ".json"

    def __init__(self, source=None):
        self._tokenizer = None
        if source is None:
            return
        location = locate(source, "owner/name", "name")
        if location.repository:
            self.load(download(location.repository, "tokenizer.json"))
        elif location.path.is_dir():
            self._tokenizer = _read_folder(location.path)
        else:
            self.load(location.path)

    @mark_as_transfer
    def load(self, path) -> None:
        """Read one ``tokenizer.json`` file."""
        _check_file(path)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(
                f"{path} is not a tokenizer.json of the tokenizers library: {error}"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def save(self, path) -> None:
        """Write all of the tokenizer to one ``tokenizer.json``."""
        _loaded(self._tokenizer, self).save(str(path))

    def encode_as_ids(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return the token ids of a text, of any length.

        Special tokens that the text spells (``<|endoftext|>``) become their
        ids. With ``add_special_tokens`` the tokenizer's own frame (CLIP:
        ``<|startoftext|> ... <|endoftext|>``) goes around it.
        """
        encoding = _loaded(self._tokenizer, self).encode(
            text, add_special_tokens=add_special_tokens
        )
        return encoding.ids

    def decode_ids(self, ids) -> str:
        """Return the text of token ids: all of it, spaces as they are."""
        return _loaded(self._tokenizer, self).decode(
            [int(index) for index in ids], skip_special_tokens=False
        )

    def __len__(self) -> int:
        return _loaded(self._tokenizer, self).get_vocab_size(with_added_tokens=True)


def _loaded(backend, owner):
    """Return the backend, or say that the tokenizer is still empty."""
    if backend is None:
        raise RuntimeError(
            f"This {type(owner).__name__} is empty; give it a path when it is made, "
            "or load one (the Pretrainer of an inference folder does)."
        )
    return backend


def _check_file(path) -> None:
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the file inside it.")
    if not path.exists():
        raise FileNotFoundError(
            f"There is no file {path}; give a tokenizer.model or tokenizer.json."
        )


def _read_folder(folder: Path) -> tokenizers.Tokenizer:
    """Read a folder's tokenizer.json, or build GPT-2's or CLIP's from two files."""
    whole = folder / "tokenizer.json"
    if whole.exists():
        tokenizer = HFTokenizer(whole)
        return tokenizer._tokenizer
    missing = [n for n in ("vocab.json", "merges.txt") if not (folder / n).exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder} holds no tokenizer: neither tokenizer.json nor "
            f"{' and '.join(missing)} is there."
        )
    tokenizer = GPT2Tokenizer.from_pretrained(str(folder))
    if not any(piece.endswith("</w>") for piece in tokenizer.get_vocab()):
        return tokenizer.backend_tokenizer
    tokenizer = CLIPTokenizer.from_pretrained(str(folder))
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.ByteLevel(),
            tokenizers.decoders.Replace("</w>", " "),
            tokenizers.decoders.Strip(" ", left=0, right=1),
        ]
    )
    return backend
