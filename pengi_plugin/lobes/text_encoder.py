"""Text encoders: prompts in, one embedding (or a sequence) each out.

Pengi (Deshmukh et al., NeurIPS 2023, section 3.1) encodes the prompt with g, the
text tower of CLIP. g is frozen and a run has few distinct prompts, so each prompt's
embedding is kept: after the first epoch the encoder hardly ever runs. CLAP may train
its text encoder (``TrainedTextEncoder``).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from transformers import AutoModel, CLIPTextModelWithProjection

from pengi_plugin.lobes.huggingface import build, build_frozen


def _clear_cache(encoder: "FrozenPromptEncoder", incompatible_keys) -> None:
    """Drop the embeddings that an encoder computed with other weights."""
    encoder.clear_cache()


class PromptEncoder(nn.Module):
    """What text encoders share: the tokens of prompts, and their limit.

    A subclass has ``prompt_ids(prompt)`` and ``encode_ids(ids)``.

    Arguments
    ---------
    tokenizer : object
        Has ``encode_as_ids(text)``.
    max_tokens : int
        Longest prompt, in tokens, special ones included.
    """

    #: Whether the weights never change, so that checkpoints leave them out.
    is_frozen = False

    def __init__(self, tokenizer, max_tokens: int):
        super().__init__()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    def check(self, prompts: Iterable[str]) -> None:
        """Raise ValueError if a prompt is longer than the encoder takes."""
        for prompt in prompts:
            self._tokenize(prompt)

    def _tokenize(self, prompt: str) -> list[int]:
        ids = self.prompt_ids(prompt)
        if len(ids) > self.max_tokens:
            raise ValueError(
                f"A prompt has {len(ids)} tokens, the text encoder takes "
                f"{self.max_tokens}: {prompt!r}. Shorten it."
            )
        return ids

    def _padded(self, ids: list[list[int]], pad_id: int, length: int) -> Tensor:
        rows = [row + [pad_id] * (length - len(row)) for row in ids]
        return torch.tensor(rows, device=self.device)

    @property
    def device(self) -> torch.device:
        """The device of the encoder's weights."""
        return next(self.parameters()).device


class FrozenPromptEncoder(PromptEncoder):
    """Encode prompts without gradient, each distinct one once.

    Arguments
    ---------
    tokenizer : object
        Has ``encode_as_ids(text)``.
    max_tokens : int
        Longest prompt, in tokens, special ones included.
    n_cached : int
        How many prompts' embeddings are kept; the least recently used go first.
    """

    is_frozen = True

    def __init__(self, tokenizer, max_tokens: int, n_cached: int = 20_000):
        super().__init__(tokenizer, max_tokens)
        self.n_cached = n_cached
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        self.register_load_state_dict_post_hook(_clear_cache)

    def train(self, mode: bool = True) -> "FrozenPromptEncoder":
        """Stay in eval mode: a frozen encoder has no dropout."""
        return super().train(False)

    def _apply(self, fn, recurse: bool = True):
        self.clear_cache()  # the embeddings have the old device or number type
        return super()._apply(fn, recurse)

    def clear_cache(self) -> None:
        """Forget all embeddings, so that every prompt is encoded anew."""
        self._cache.clear()

    @torch.no_grad()
    def forward(self, prompts: list[str]) -> Tensor:
        """Encode prompts.

        Arguments
        ---------
        prompts : list of str
            One per row.

        Returns
        -------
        embedding : torch.Tensor
            [batch, d_text], or [batch, token, d_model] of ``TokenEmbeddingEncoder``.

        Raises
        ------
        ValueError
            If a prompt is longer than the encoder takes.
        """
        found = {prompt: self._cache.get(prompt) for prompt in prompts}
        new = [prompt for prompt, embedding in found.items() if embedding is None]
        with torch.autocast(self.device.type, enabled=False):
            for prompt in new:
                # One by one: in a batch, rounding depends on the other prompts, which
                # are others when a training goes on after an interruption.
                found[prompt] = self.encode_ids([self._tokenize(prompt)])[0]
        for prompt, embedding in found.items():
            self._cache.pop(prompt, None)  # goes to the end; another thread may have
            self._cache[prompt] = embedding
        while len(self._cache) > self.n_cached:
            self._cache.popitem(last=False)
        return torch.stack([found[prompt] for prompt in prompts])


def mean_pooling(states: Tensor, mask: Tensor) -> Tensor:
    """Average [batch, token, d_text] over tokens whose mask [batch, token] is 1."""
    mask = mask[..., None].to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1)


def first_pooling(states: Tensor, mask: Tensor) -> Tensor:
    """Take the first token's state (BERT's [CLS]); the mask plays no part."""
    return states[:, 0]


def last_pooling(states: Tensor, mask: Tensor) -> Tensor:
    """Take the last real token's state, where a causal encoder has read all."""
    return states[torch.arange(states.shape[0]), mask.sum(1) - 1]


class PooledTower:
    """What encoders share that pool the states of a text tower of Hugging Face."""

    #: (class of transformers, source, config, ...) -> the tower.
    build = staticmethod(build_frozen)

    def __init__(
        self,
        tokenizer,
        source: str | None = None,
        config: dict | None = None,
        pooling: Callable | None = mean_pooling,
        max_tokens: int = 40,
        text_end: str = "",
        **from_pretrained,
    ):
        super().__init__(tokenizer, max_tokens)
        self.model = self.build(AutoModel, source, config, **from_pretrained)
        self.pooling = pooling
        self.text_end = text_end
        self.d_text = self.model.config.hidden_size

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the token ids of one prompt, ``text_end`` included."""
        text = prompt + self.text_end
        return self.tokenizer.encode_as_ids(text, add_special_tokens=True)

    def encode_ids(self, ids: list[list[int]]) -> Tensor:
        """Encode token ids of any lengths: [batch, d_text]."""
        length = max(len(row) for row in ids)
        mask = self._padded([[1] * len(row) for row in ids], 0, length)
        return self.encode_padded(self._padded(ids, 0, length), mask)

    def encode_padded(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode token ids [batch, token], of which those count whose mask is 1."""
        output = self.model(input_ids=ids, attention_mask=mask)
        if self.pooling is None:
            return output.pooler_output
        return self.pooling(output.last_hidden_state, mask)


class TextEncoder(PooledTower, FrozenPromptEncoder):
    """A text tower of Hugging Face with its hidden states pooled.

    Arguments
    ---------
    tokenizer : object
        Has ``encode_as_ids(text, add_special_tokens)``.
    source : str
        Hub name or local folder.
    config : dict
        A configuration instead (weights are loaded later).
    pooling : callable
        (states [batch, token, d_text], mask [batch, token]) -> [batch, d_text]; None
        for the tower's own pooler.
    max_tokens : int
        Longest prompt in tokens.
    text_end : str
        Appended to every text.
    **from_pretrained : dict
        Passed on to transformers, such as ``gguf_file``.

    Example
    -------
    >>> class Letters:
    ...     def encode_as_ids(self, text, add_special_tokens):
    ...         return [ord(letter) - 96 for letter in text]
    >>> encoder = TextEncoder(Letters(), config={"model_type": "gpt2",
    ...     "n_layer": 1, "n_head": 1, "n_embd": 4, "vocab_size": 27})
    >>> encoder(["dog", "rain", "dog"]).shape
    torch.Size([3, 4])
    """


class TrainedTextEncoder(PooledTower, PromptEncoder):
    """A text tower of Hugging Face that is trained with the rest.

    The distinct texts of a batch are encoded together, with gradient. Arguments are
    those of ``TextEncoder``.

    Example
    -------
    >>> class Letters:
    ...     def encode_as_ids(self, text, add_special_tokens):
    ...         return [ord(letter) - 96 for letter in text]
    >>> encoder = TrainedTextEncoder(Letters(), config={"model_type": "gpt2",
    ...     "n_layer": 1, "n_head": 1, "n_embd": 4, "vocab_size": 27})
    >>> encoder(["dog", "rain", "dog"]).requires_grad
    True
    """

    build = staticmethod(build)

    def forward(self, prompts: list[str]) -> Tensor:
        """Encode prompts: list of str -> [batch, d_text].

        Raises
        ------
        ValueError
            If a prompt is longer than the encoder takes.
        """
        index = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        embeddings = self.encode_ids([self._tokenize(prompt) for prompt in index])
        return embeddings[[index[prompt] for prompt in prompts]]


class CLIPTextEncoder(FrozenPromptEncoder):
    """The text tower of CLIP with its projection, as in the paper.

    Prompts are padded to ``max_tokens`` with the end token; the state at the
    first end token is projected.

    Arguments
    ---------
    tokenizer : object
        CLIP's: ``encode_as_ids(text, add_special_tokens)`` frames the text.
    source : str
        Hub name (``openai/clip-vit-base-patch16``) or local folder.
    config : dict
        A ``clip_text_model`` configuration instead (weights are loaded later).
    max_tokens : int
        Longest prompt in tokens (40 in the released model).

    Example
    -------
    >>> class Letters:
    ...     def encode_as_ids(self, text, add_special_tokens):
    ...         return [1] + [ord(letter) - 94 for letter in text] + [30]
    >>> encoder = CLIPTextEncoder(Letters(), config={"model_type": "clip_text_model",
    ...     "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
    ...     "num_attention_heads": 2, "projection_dim": 6, "vocab_size": 31,
    ...     "bos_token_id": 1, "eos_token_id": 30})
    >>> encoder(["dog", "rain"]).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        tokenizer,
        source: str | None = None,
        config: dict | None = None,
        max_tokens: int = 40,
    ):
        super().__init__(tokenizer, max_tokens)
        self.model = build_frozen(ClipTextTower, source, config)
        self.d_text = self.model.config.projection_dim

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the token ids of one prompt, start and end included."""
        return self.tokenizer.encode_as_ids(prompt, add_special_tokens=True)

    def encode_ids(self, ids: list[list[int]]) -> Tensor:
        """Encode token ids of any lengths: [batch, d_text]."""
        end = self.model.config.eos_token_id
        return self.encode_padded(self._padded(ids, end, self.max_tokens))

    def encode_padded(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode token ids [batch, max_tokens]; the end token says what counts."""
        return self.model(ids).text_embeds


class ClipTextTower(CLIPTextModelWithProjection):
    """CLIP's text half, built from a configuration the way Auto classes are."""

    @classmethod
    def from_config(cls, config, **kwargs):
        """Return a tower with random weights."""
        return cls._from_config(config, **kwargs)


class TokenEmbeddingEncoder(FrozenPromptEncoder):
    """No text encoder: the prompt as the LM's own token embeddings.

    The released model without text encoder appends an end mark to the prompt,
    pads with a token id (no mask hides the padding) and maps the sequence with a
    ``SequencePrefixMapper``.

    Arguments
    ---------
    lm : PrefixLM
        Gives the embeddings; shared, not copied.
    tokenizer : object
        The LM's tokenizer.
    prompt_end : str
        Appended to every prompt.
    n_token : int
        Tokens that every prompt is padded to.
    pad_id : int
        The token it is padded with (0 is "!" in GPT-2).

    Example
    -------
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> class Letters:
    ...     def encode_as_ids(self, text):
    ...         return [ord(letter) - 96 for letter in text]
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 1,
    ...     "n_embd": 4, "vocab_size": 27})
    >>> encoder = TokenEmbeddingEncoder(lm, Letters(), prompt_end="z", n_token=6)
    >>> encoder(["dog", "rain"]).shape
    torch.Size([2, 6, 4])
    """

    def __init__(
        self,
        lm,
        tokenizer,
        prompt_end: str = " <|endoftext|>",
        n_token: int = 40,
        pad_id: int = 0,
    ):
        super().__init__(tokenizer, max_tokens=n_token, n_cached=0)
        self.lm = [lm]  # in a list: the LM's weights are not this module's
        self.prompt_end = prompt_end
        self.pad_id = pad_id

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the token ids of one prompt, end mark included."""
        return self.tokenizer.encode_as_ids(prompt + self.prompt_end)

    def encode_ids(self, ids: list[list[int]]) -> Tensor:
        """Embed token ids: [batch, n_token, d_model]."""
        return self.encode_padded(self._padded(ids, self.pad_id, self.max_tokens))

    def encode_padded(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embed token ids [batch, n_token]; padding is not masked."""
        return self.lm[0].embed(ids)

    @property
    def device(self) -> torch.device:
        """The device of the LM's weights."""
        return next(self.lm[0].parameters()).device
