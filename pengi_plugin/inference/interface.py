"""Recordings and prompts in, answers out: a trained Pengi with SpeechBrain's methods.

Everything is built by the ``hyperparams.yaml`` of a model's folder; see
``pengi convert`` and ``pengi export``. Pengi: Deshmukh et al., NeurIPS 2023.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from pengi_plugin.decoders.choose import choose_searcher
from pengi_plugin.inference import classify, files, likelihood, windows
from pengi_plugin.inference.classify import CLASSIFY_PROMPT, text_embeddings
from pengi_plugin.inference.files import DESCRIBE_PROMPTS, FileAnswer
from pengi_plugin.inference.precision import answering_precision
from pengi_plugin.inference.recordings import RecordingModel, full_lengths
from pengi_plugin.inference.texts import append_texts, broadcast_texts

__all__ = ["CLASSIFY_PROMPT", "DESCRIBE_PROMPTS", "AudioLanguageModel", "FileAnswer"]


#: Below it, all probabilities that are divided by it overflow, or none is left.
LEAST_SAMPLING = 1e-20


class AudioLanguageModel(RecordingModel):
    """Answer prompts about recordings.

    It can replace ``EncoderDecoderASR``: its methods have the same names and
    arguments, and answer ``default_prompt``. Recordings may have any sample rate,
    number of channels and length: ``load_audio`` mixes to mono at the model's rate.
    The model encodes ``clip_seconds`` at a time: shorter recordings are repeated to
    that length, as in training, and of longer ones *the beginning* is encoded, as in
    evaluation, or every window if asked for (``generate_file``). Nothing is random
    except sampling.

    ``normalize_prompt`` in ``hyperparams.yaml`` sets whether the prompt's embedding
    is divided by its norm. True, the default, is what the released model was
    trained with; False is what its published inference code computes. Change it
    with ``from_hparams(..., overrides={"normalize_prompt": False})``.

    Arguments
    ---------
    modules : dict
        ``pengi`` and ``searcher``.
    hparams : dict
        The rest of the model's YAML.
    run_opts : dict
        Such as ``{"device": "cuda", "precision": "bf16"}``. The default is fp32
        everywhere, in which the answers are those of the released code. ``auto``
        takes what is fastest: on a CPU ``fp16``, which rounds weights to 16 bits and
        sums in float32; on a GPU bf16 where it has units for it.
    freeze_params : bool
        Whether to switch to evaluation mode without gradients.
    int8 : bool
        Whether to round weights to 8 bits: faster and smaller on CPUs; see
        ``lobes.int8``.

    Raises
    ------
    ValueError
        If the YAML lacks something, or ``eos_index`` is not the first token of
        ``answer_end``.

    Example
    -------
    >>> from hyperpyyaml import load_hyperpyyaml
    >>> with open("hparams/model/tiny.yaml") as file:
    ...     hparams = load_hyperpyyaml(file)
    >>> model = AudioLanguageModel(hparams["modules"], hparams)
    >>> wavs, wav_lens = torch.randn(2, 8000), torch.ones(2)
    >>> answers, tokens = model.generate_batch(wavs, wav_lens, "what is it?")
    >>> len(answers)
    2
    """

    HPARAMS_NEEDED = [
        "sample_rate",
        "clip_seconds",
        "default_prompt",
        "answer_end",
        "eos_index",
        "tokenizer",
    ]
    MODULES_NEEDED = ["pengi", "searcher"]

    def __init__(
        self,
        modules=None,
        hparams=None,
        run_opts=None,
        freeze_params=True,
        int8=False,
    ):
        super().__init__(modules, hparams, run_opts, freeze_params, int8)
        self.tokenizer = self.hparams.tokenizer
        self.end_ids = self.tokenizer.encode_as_ids(self.hparams.answer_end)
        if self.end_ids[:1] != [self.hparams.eos_index]:
            raise ValueError(
                f"eos_index must be the first token of answer_end, "
                f"{self.hparams.answer_end!r}, which has the tokens {self.end_ids}; "
                f"got {self.hparams.eos_index}."
            )

    choose_precision = staticmethod(answering_precision)

    # Encoding.

    def encode_batch(
        self, wavs: Tensor, wav_lens: Tensor, prompts=None, clip_index=None
    ) -> Tensor:
        """Return the prefixes that prompt the language model.

        Arguments
        ---------
        wavs : torch.Tensor
            Recordings at the model's rate [batch, sample], or
            [batch, sample, channel].
        wav_lens : torch.Tensor
            Lengths relative to the longest [batch].
        prompts : str or list of str
            One for all or one per recording; ``default_prompt`` if None.
        clip_index : torch.Tensor
            Index of the recording that each prompt is about [prompt], so that a
            recording with several prompts is encoded once; None when the n-th
            prompt is about the n-th recording.

        Returns
        -------
        prefix : torch.Tensor
            [batch, 2 * n_prefix, d_model], or [prompt, ...] with ``clip_index``.
        """
        clips = self.clips(wavs, wav_lens)
        if clip_index is not None:
            clip_index = clip_index.to(self.device)
        n_prompt = len(clips if clip_index is None else clip_index)
        prompts = broadcast_texts(prompts, n_prompt, self.hparams.default_prompt)
        with self.inference_ctx:
            return self.mods.pengi.encode(
                clips, full_lengths(clips), prompts, clip_index
            )

    def encode_audio(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Embed recordings with unit norm: [batch, sample] -> [batch, d_embedding]."""
        clips = self.clips(wavs, wav_lens)
        with self.inference_ctx:
            return self.mods.pengi.encode_audio(clips, full_lengths(clips))

    @property
    def reads_sequences(self) -> bool:
        """Whether the audio mapper reads a sequence over time, not one vector."""
        return getattr(self.mods.pengi.audio_encoder, "over_time", False)

    @property
    def max_windows(self) -> int:
        """Windows of ``clip_seconds`` that one answer may be about; 1 by default."""
        return getattr(self.hparams, "max_windows", 1)

    def encode_features(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Return what the audio mapper reads of recordings, of unit norm.

        [batch, sample] -> [batch, d_embedding], the same as ``encode_audio``; or
        [batch, time, d_embedding] of a model that ``reads_sequences``.
        """
        clips = self.clips(wavs, wav_lens)
        with self.inference_ctx:
            return self.mods.pengi.audio_features(clips, full_lengths(clips))

    def encode_embeddings(self, embeddings: Tensor, prompts=None) -> Tensor:
        """Return the prefixes of recordings of which features are known.

        Features that were stored make it unnecessary to run the audio encoder again.

        Arguments
        ---------
        embeddings : torch.Tensor
            Of ``encode_features`` [batch, d_embedding] or [batch, time, d_embedding].
        prompts : str or list of str
            One for all or one per recording; ``default_prompt`` if None.

        Returns
        -------
        prefix : torch.Tensor
            As of ``encode_batch`` [batch, 2 * n_prefix, d_model].
        """
        pengi = self.mods.pengi
        default = self.hparams.default_prompt
        prompts = broadcast_texts(prompts, len(embeddings), default)
        with self.inference_ctx:
            audio = pengi.audio_mapper(embeddings.to(self.device))
            prompt = pengi.text_mapper(pengi.encode_prompt(prompts))
            return torch.cat([audio, prompt], dim=1)

    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """Embed prompts: list of str -> [batch, d_embedding]."""
        with self.inference_ctx:
            return self.mods.pengi.encode_prompt(prompts)

    def embed_texts(self, texts: Sequence[str], projected: bool = False) -> Tensor:
        """Embed answers or labels in the text encoder's space, with unit norm.

        Arguments
        ---------
        texts : list of str
            A text longer than the encoder reads is cut at a word.
        projected : bool
            Whether to apply the trained projection of prompts too.

        Returns
        -------
        embeddings : torch.Tensor
            [text, d_text], or [text, d_embedding] if projected.
        """
        with self.inference_ctx:
            return text_embeddings(self.mods.pengi, list(texts), projected)

    # Answers.

    @torch.inference_mode()
    def generate_batch(
        self,
        wavs: Tensor,
        wav_lens: Tensor,
        prompts=None,
        add_texts=None,
        clip_index=None,
        **search,
    ) -> tuple[list[str], list[list[int]]]:
        """Answer prompts about recordings.

        Arguments
        ---------
        wavs : torch.Tensor
            Recordings at the model's rate [batch, sample], or
            [batch, sample, channel].
        wav_lens : torch.Tensor
            Lengths relative to the longest [batch].
        prompts : str or list of str
            One for all or one per recording; ``default_prompt`` if None.
        add_texts : str or list of str
            Text that the answer continues, appended to the prefix.
        clip_index : torch.Tensor
            Index of the recording that each prompt is about; see ``encode_batch``.
        **search : dict
            Search options, such as ``max_new_tokens``, ``beam_size``, or
            ``temperature`` and ``seed``; see ``make_searcher``.

        Returns
        -------
        answers : list of str
        tokens : list of list of int
            Without the end mark.

        Raises
        ------
        ValueError
            If no search has these options, or if the search returns several answers
            for each prompt.
        """
        self.make_searcher(**search)  # refuses wrong options before anything is read
        prefix = self.encode_batch(wavs, wav_lens, prompts, clip_index)
        return self.generate_after(prefix, add_texts, **search)

    @torch.inference_mode()
    def generate_after(
        self, prefix: Tensor, add_texts=None, **search
    ) -> tuple[list[str], list[list[int]]]:
        """Write the answers that continue prefixes.

        Arguments
        ---------
        prefix : torch.Tensor
            [batch, 2 * n_prefix, d_model]
        add_texts : str or list of str
            As of ``generate_batch``, and so are the other options, results and errors.
        """
        searcher = self.make_searcher(**search)
        prefix, lengths = append_texts(self, prefix, add_texts)
        with self.inference_ctx:
            tokens, *_ = searcher(prefix, lengths)
        if isinstance(tokens, Tensor):
            raise ValueError(
                f"{type(searcher).__name__} returned several answers for each prompt; "
                "call ranked_file or sample_file, or let the searcher return one "
                "(n_samples=1, return_topk=False)."
            )
        return [self.tokenizer.decode_ids(ids).strip() for ids in tokens], tokens

    def make_searcher(self, **search):
        """Return the searcher of the model's YAML, or one that ``search`` changes.

        ``max_new_tokens=10`` changes the limit of the YAML's searcher and nothing
        else; options of another search, such as ``temperature`` where the YAML has a
        beam search, choose that search. See ``choose_searcher``, which has the rule.

        Arguments
        ---------
        **search : dict
            Search options.

        Returns
        -------
        searcher : torch.nn.Module

        Raises
        ------
        ValueError
            If no search has these options, or a value cannot be used.
        """
        for name in ("temperature", "top_p"):
            if 0 < (search.get(name) or 0) < LEAST_SAMPLING:
                raise ValueError(
                    f"{name} must be at least {LEAST_SAMPLING}, as probabilities are "
                    f"float32; got {search[name]}. Give beam_size=1 for no chance."
                )
        # A shallow copy: it shares all modules, and the state of its search is its own.
        return choose_searcher(copy.copy(self.mods.searcher), **search)

    def is_repeatable(self, **search) -> bool:
        """Tell whether a search gives the same answers again: not without its seed."""
        return getattr(self.make_searcher(**search), "seed", 0) is not None

    def transcribe_file(self, path, **kwargs) -> str:
        """Answer ``default_prompt`` about a file; as ``EncoderDecoderASR``'s."""
        if self.reads_sequences:
            return self.generate_file(self.local_path(path, **kwargs))
        clips = self.load_clip(path, **kwargs)[None]
        return self.transcribe_batch(clips, full_lengths(clips))[0][0]

    def transcribe_batch(self, wavs: Tensor, wav_lens: Tensor):
        """Answer ``default_prompt`` about recordings: (answers, tokens)."""
        return self.generate_batch(wavs, wav_lens)

    def forward(self, wavs: Tensor, wav_lens: Tensor):
        """Answer ``default_prompt`` about recordings: (answers, tokens)."""
        return self.transcribe_batch(wavs, wav_lens)

    # Functions of other modules, whose first argument is the model.

    generate_file = files.generate_file
    generate_files = files.generate_files
    answer_files = files.answer_files
    answer_windows = windows.answer_windows
    summarize_file = windows.summarize_file
    ranked_file = files.ranked_file
    sample_file = files.sample_file
    describe_file = files.describe_file
    describe_files = files.describe_files
    score_batch = likelihood.score_batch
    score_answers = likelihood.score_answers
    count_tokens = likelihood.count_tokens
    silent_prefix = likelihood.silent_prefix
    classify_file = classify.classify_file
    classify_files = classify.classify_files
