"""Recordings and prompts in, answers out: a trained Pengi behind SpeechBrain's face.

Everything is built by the ``hyperparams.yaml`` of a model's folder; see
``pengi convert`` and ``pengi export``. Pengi: Deshmukh et al., NeurIPS 2023.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from speechbrain.dataio import audio_io
from speechbrain.dataio.preprocess import AudioNormalizer
from speechbrain.inference.interfaces import Pretrained
from torch import Tensor

from pengi_plugin.classify import label_log_probs, text_embeddings
from pengi_plugin.clips import check_audio, fitted, is_remote, mixed, window_starts
from pengi_plugin.dataio import read_clip
from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.decoders.sampling import PrefixSampler
from pengi_plugin.lobes.packed import pack_linears
from pengi_plugin.pretrained import HPARAMS_FILE, place

#: What ``describe_file`` asks, as the released code does.
DESCRIBE_PROMPTS = (
    "generate audio caption",
    "generate metadata",
    "this is a sound of",
)

#: How many windows of a long recording are answered at a time.
WINDOW_BATCH = 8

#: What ``classify_file`` asks.
CLASSIFY_PROMPT = "this is a sound of"


class FileAnswer(NamedTuple):
    """What became of one file: an answer, or the error that stopped it."""

    path: str
    prompt: str
    answer: str | None
    error: Exception | None


class AudioLanguageModel(Pretrained):
    """Answer prompts about recordings.

    Usable wherever ``EncoderDecoderASR`` is: its methods have the same names and
    arguments, and answer ``default_prompt``. Recordings may have any sample rate,
    number of channels and length: ``load_audio`` mixes to mono at the model's rate.
    The model hears ``clip_seconds`` at a time: shorter recordings are repeated to
    that length, as in training, and of longer ones it hears *the beginning*, as in
    evaluation, unless you ask for every window (``generate_file``). Nothing is
    random, except what ``sample_file`` draws.

    ``normalize_prompt`` in ``hyperparams.yaml`` says whether the prompt's embedding
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
        Such as ``{"device": "cuda", "precision": "bf16"}``.
    freeze_params : bool
        Whether to switch to evaluation mode without gradients.

    Raises
    ------
    ValueError
        If the YAML lacks something, or ``eos_index`` is not how ``answer_end``
        begins.

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
        "beam_size",
        "max_new_tokens",
        "tokenizer",
    ]
    MODULES_NEEDED = ["pengi", "searcher"]

    def __init__(self, modules=None, hparams=None, run_opts=None, freeze_params=True):
        missing = [name for name in self.MODULES_NEEDED if name not in (modules or {})]
        missing += [name for name in self.HPARAMS_NEEDED if name not in (hparams or {})]
        if missing:
            raise ValueError(
                f"{HPARAMS_FILE} lacks {', '.join(missing)}; modules need "
                f"{self.MODULES_NEEDED}, and the top level {self.HPARAMS_NEEDED}."
            )
        normalizer = AudioNormalizer(sample_rate=hparams["sample_rate"])
        hparams = {"audio_normalizer": normalizer} | hparams
        super().__init__(modules, hparams, run_opts, freeze_params)
        if freeze_params and self.device_type == "cpu":
            pack_linears(self.mods.pengi)  # faster, and weights stay what they are
        self.tokenizer = self.hparams.tokenizer
        self.end_ids = self.tokenizer.encode_as_ids(self.hparams.answer_end)
        if self.end_ids[:1] != [self.hparams.eos_index]:
            raise ValueError(
                f"eos_index must be the first token of answer_end, "
                f"{self.hparams.answer_end!r}, which has the tokens {self.end_ids}; "
                f"got {self.hparams.eos_index}."
            )

    @classmethod
    def from_hparams(cls, source, hparams_file=HPARAMS_FILE, **kwargs):
        """Load a model from a folder or a hub repository.

        Arguments
        ---------
        source : str, Path or FetchSource
            Folder or hub name.
        hparams_file : str
            Name of the YAML in it.
        **kwargs : dict
            See ``speechbrain.inference.interfaces.pretrained_from_hparams``; for
            instance ``run_opts={"device": "cuda"}``.

        Returns
        -------
        model : AudioLanguageModel

        Raises
        ------
        FileNotFoundError
            If ``source`` is a path and no model is there.
        ValueError
            If weights do not fit the model; names them.
        """
        if isinstance(source, str | os.PathLike):
            place(source, hparams_file)  # says what is missing
            source = str(Path(source).expanduser())
        return super().from_hparams(source, hparams_file, **kwargs)

    # Recordings.

    def load_audio(self, path, savedir=None) -> Tensor:
        """Load a recording, whole, mixed to mono, at the model's rate.

        Arguments
        ---------
        path : str
            File, web address, or hub file (``owner/name/file``).
        savedir : str
            Where to put a file from the web or the hub.

        Returns
        -------
        wav : torch.Tensor
            [sample]

        Raises
        ------
        FileNotFoundError
            If a local file is not there.
        ValueError
            If the file is not audio that soundfile reads.
        """
        path = str(path)
        if is_remote(path):
            return super().load_audio(path, savedir)
        check_audio(path)
        wav, rate = audio_io.load(path, channels_first=False)
        return self.audio_normalizer(wav.to(self.device), rate)

    def load_clip(self, path, savedir=None) -> Tensor:
        """Load what the model hears of a recording by itself: [n_sample].

        Of a long file only the beginning is read. Errors as ``load_audio``'s.
        """
        path = str(path)
        if is_remote(path):
            wav = self.load_audio(path, savedir)[None]
            return fitted(wav, torch.ones(1), self.n_sample)[0]
        check_audio(path)
        return read_clip(path, self.hparams.sample_rate, self.n_sample).to(self.device)

    @property
    def n_sample(self) -> int:
        """Samples of what the model hears at a time."""
        return round(self.hparams.clip_seconds * self.hparams.sample_rate)

    def _clips(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        wavs = mixed(wavs.to(self.device).float())
        return fitted(wavs, wav_lens, self.n_sample)

    # Encoding.

    def encode_batch(self, wavs: Tensor, wav_lens: Tensor, prompts=None) -> Tensor:
        """Return the prefixes that prompt the language model.

        Arguments
        ---------
        wavs : torch.Tensor
            Recordings at the model's rate [batch, sample], or
            [batch, sample, channel].
        wav_lens : torch.Tensor
            Lengths relative to the longest [batch].
        prompts : str or list of str
            One for all or one each; ``default_prompt`` if None.

        Returns
        -------
        prefix : torch.Tensor
            [batch, 2 * n_prefix, d_model]
        """
        clips = self._clips(wavs, wav_lens)
        return self._prefix(clips, self._each(prompts, len(clips)))

    def encode_audio(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Embed recordings with unit norm: [batch, sample] -> [batch, d_embedding]."""
        clips = self._clips(wavs, wav_lens)
        with self.inference_ctx:
            return self.mods.pengi.encode_audio(clips, _full(clips))

    def encode_embeddings(self, embeddings: Tensor, prompts=None) -> Tensor:
        """Return the prefixes of recordings that ``encode_audio`` has embedded.

        Arguments
        ---------
        embeddings : torch.Tensor
            [batch, d_embedding]; kept ones spare the audio encoder.
        prompts : str or list of str
            One for all or one each; ``default_prompt`` if None.

        Returns
        -------
        prefix : torch.Tensor
            As of ``encode_batch`` [batch, 2 * n_prefix, d_model].
        """
        pengi, prompts = self.mods.pengi, self._each(prompts, len(embeddings))
        with self.inference_ctx:
            audio = pengi.audio_mapper(embeddings.to(self.device))
            asked = pengi.text_mapper(pengi.encode_prompt(prompts))
            return torch.cat([audio, asked], dim=1)

    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """Embed prompts: list of str -> [batch, d_embedding]."""
        with self.inference_ctx:
            return self.mods.pengi.encode_prompt(prompts)

    def _prefix(self, clips: Tensor, prompts: list[str], clip_index=None) -> Tensor:
        with self.inference_ctx:
            return self.mods.pengi.encode(clips, _full(clips), prompts, clip_index)

    def _each(self, texts, n: int) -> list[str]:
        """Return ``n`` texts from one for all, one each, or None (default prompt)."""
        if texts is None:
            texts = self.hparams.default_prompt
        texts = [texts] * n if isinstance(texts, str) else list(texts)
        if len(texts) != n:
            raise ValueError(
                f"Got {len(texts)} texts for {n} recordings; give one for all of them, "
                "or one each."
            )
        return texts

    def _extended(self, prefix: Tensor, add_texts) -> tuple[Tensor, Tensor | None]:
        """Put texts behind prefixes; return them right-padded with relative lengths."""
        if add_texts is None:
            return prefix, None
        add_texts = self._each(add_texts, len(prefix))
        ids = [self.tokenizer.encode_as_ids(text) for text in add_texts]
        n_token = max(map(len, ids))
        rows = [row + [0] * (n_token - len(row)) for row in ids]
        rows = torch.tensor(rows, dtype=torch.long, device=prefix.device)
        texts = self.mods.pengi.lm.embed(rows).to(prefix.dtype)
        lengths = torch.tensor([prefix.shape[1] + len(row) for row in ids])
        prefix = torch.cat([prefix, texts], dim=1)
        return prefix, lengths.to(prefix.device) / prefix.shape[1]

    # Answers.

    @torch.inference_mode()
    def generate_batch(
        self, wavs: Tensor, wav_lens: Tensor, prompts=None, add_texts=None, **search
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
            One for all or one each; ``default_prompt`` if None.
        add_texts : str or list of str
            Text that the answer continues, read behind the prefix.
        **search : dict
            ``beam_size``, ``max_new_tokens``, or options of ``PrefixSampler``
            (``temperature``, ``top_k``, ``top_p``, ``seed``).

        Returns
        -------
        answers : list of str
        tokens : list of list of int
            Without the end mark.
        """
        prefix = self.encode_batch(wavs, wav_lens, prompts)
        return self._answers(*self._extended(prefix, add_texts), **search)

    def generate_file(self, path, prompt=None, window="first", **options):
        """Answer a prompt about a recording.

        Arguments
        ---------
        path : str
            Audio file.
        prompt : str
            ``default_prompt`` if None.
        window : str
            ``"first"``: what the model hears is the first ``clip_seconds``.
            ``"all"``: one answer for each window of ``clip_seconds``; windows lie
            side by side, the last one ends with the recording.
        **options : dict
            ``add_texts`` and search options; see ``generate_batch``.

        Returns
        -------
        answer : str or list of (float, float, str)
            With ``"all"``: start and end of each window, in seconds, and its answer.
        """
        if window not in ("first", "all"):
            raise ValueError(f"window must be 'first' or 'all'; got {window!r}.")
        if window == "first":
            clips = self.load_clip(path)[None]
            return self.generate_batch(clips, _full(clips), prompt, **options)[0][0]
        wav = self.load_audio(path)
        rate, n = self.hparams.sample_rate, self.n_sample
        starts = window_starts(len(wav), n)
        answers = []
        for first in range(0, len(starts), WINDOW_BATCH):
            batch = starts[first : first + WINDOW_BATCH]
            wavs = torch.stack([wav[start : start + n] for start in batch])
            answers += self.generate_batch(wavs, _full(wavs), prompt, **options)[0]
        ends = [min(start + n, len(wav)) for start in starts]
        return [(a / rate, b / rate, text) for a, b, text in zip(starts, ends, answers)]

    def generate_files(
        self, paths: Sequence, prompts=None, batch_size: int = 8, **options
    ) -> list[str]:
        """Answer prompts about files, in their order; the first bad file raises.

        Arguments
        ---------
        paths : list of str
            Audio files.
        prompts : str or list of str
            One for all or one each; ``default_prompt`` if None.
        batch_size : int
            How many are answered at a time.
        **options : dict
            Search options; see ``generate_batch``.
        """
        answers = []
        for result in self.answer_files(paths, prompts, batch_size, **options):
            if result.error is not None:
                raise result.error
            answers.append(result.answer)
        return answers

    def answer_files(
        self, paths: Sequence, prompts=None, batch_size: int = 8, **options
    ) -> Iterator[FileAnswer]:
        """Yield the answer about each file in order; errors are yielded, not raised.

        Arguments are those of ``generate_files``.
        """
        prompts = self._each(prompts, len(paths))
        for start in range(0, len(paths), batch_size):
            batch = slice(start, start + batch_size)
            yield from self._answer_some(paths[batch], prompts[batch], options)

    @torch.inference_mode()
    def _answer_some(self, paths, prompts, options) -> list[FileAnswer]:
        """Answer one batch of files; a file that occurs twice is heard once."""
        clips, errors = {}, {}
        for path in dict.fromkeys(map(str, paths)):
            try:
                clips[path] = self.load_clip(path)
            except (OSError, ValueError, RuntimeError) as error:
                errors[path] = error
        asked = [(p, q) for p, q in zip(map(str, paths), prompts) if p in clips]
        answers = iter(())
        if asked:
            place = {path: index for index, path in enumerate(clips)}
            index = torch.tensor([place[path] for path, _ in asked], device=self.device)
            heard = torch.stack(list(clips.values()))
            prefix = self._prefix(heard, [prompt for _, prompt in asked], index)
            answers = iter(self._answers(prefix, None, **options)[0])
        return [
            FileAnswer(
                str(path),
                prompt,
                None if str(path) in errors else next(answers),
                errors.get(str(path)),
            )
            for path, prompt in zip(paths, prompts)
        ]

    @torch.inference_mode()
    def ranked_file(self, path, prompt=None, n_best: int = 5) -> list:
        """Return the best answers of one beam search: [(answer, score)], best first.

        A score is the average log-probability of the answer's tokens, the end mark
        included. ``n_best`` is the width of the beam too.
        """
        prefix = self._prefix(self.load_clip(path)[None], self._each(prompt, 1))
        searcher = self._searcher(beam_size=n_best)
        searcher.topk, searcher.return_topk = n_best, True
        with self.inference_ctx:
            tokens, lengths, scores, _ = searcher(prefix)
        ranked = zip(self._texts(tokens[0], lengths[0]), scores[0].tolist())
        return [(text, score) for text, score in ranked if score > -float("inf")]

    @torch.inference_mode()
    def sample_file(self, path, prompt=None, n_samples: int = 5, **sampling) -> list:
        """Draw several answers to a prompt about a recording.

        Arguments
        ---------
        path : str
            Audio file.
        prompt : str
            ``default_prompt`` if None.
        n_samples : int
            How many answers.
        **sampling : dict
            ``temperature``, ``top_k``, ``top_p``, ``seed`` and ``max_new_tokens``;
            see ``PrefixSampler``.

        Returns
        -------
        answers : list of str
        """
        prefix = self._prefix(self.load_clip(path)[None], self._each(prompt, 1))
        sampler = self._searcher(n_samples=n_samples, **sampling)
        with self.inference_ctx:
            tokens, lengths, *_ = sampler(prefix)
        if n_samples == 1:
            return [self.tokenizer.decode_ids(tokens[0]).strip()]
        return self._texts(tokens[0], lengths[0])

    @torch.inference_mode()
    def describe_file(self, path, **search) -> str:
        """Join the answers to ``DESCRIBE_PROMPTS`` about a file; it is heard once."""
        n = len(DESCRIBE_PROMPTS)
        index = torch.zeros(n, dtype=torch.long, device=self.device)
        prefix = self._prefix(self.load_clip(path)[None], list(DESCRIBE_PROMPTS), index)
        return ". ".join(self._answers(prefix, None, **search)[0])

    def transcribe_file(self, path, **kwargs) -> str:
        """Answer ``default_prompt`` about a file; as ``EncoderDecoderASR``'s."""
        clips = self.load_clip(path, **kwargs)[None]
        return self.transcribe_batch(clips, _full(clips))[0][0]

    def transcribe_batch(self, wavs: Tensor, wav_lens: Tensor):
        """Answer ``default_prompt`` about recordings: (answers, tokens)."""
        return self.generate_batch(wavs, wav_lens)

    def forward(self, wavs: Tensor, wav_lens: Tensor):
        """Answer ``default_prompt`` about recordings: (answers, tokens)."""
        return self.transcribe_batch(wavs, wav_lens)

    # Scores.

    @torch.inference_mode()
    def score_batch(
        self,
        wavs: Tensor,
        wav_lens: Tensor,
        prompts,
        answers: list[str],
        add_texts=None,
        per_token: bool = False,
    ) -> Tensor:
        """Return how likely the model finds given answers.

        Arguments
        ---------
        wavs : torch.Tensor
            Recordings at the model's rate [batch, sample], or
            [batch, sample, channel].
        wav_lens : torch.Tensor
            Lengths relative to the longest [batch].
        prompts : str or list of str
            One for all or one each; ``default_prompt`` if None.
        answers : list of str
            One each, scored as given: no space is added.
        add_texts : str or list of str
            Text that the answers continue.
        per_token : bool
            Whether to return each token's log-probability.

        Returns
        -------
        log_probs : torch.Tensor
            Natural log-probability of each answer's tokens and the end mark
            (``answer_end``) in all [batch], or of each token [batch, token], 0
            behind the last.
        """
        prefix = self.encode_batch(wavs, wav_lens, prompts)
        prefix, lengths = self._extended(prefix, add_texts)
        rows = [self._answer_ids(answer) for answer in self._each(answers, len(prefix))]
        n_token = max(map(len, rows))
        ids = torch.tensor([row + [0] * (n_token - len(row)) for row in rows])
        mask = torch.tensor([[i < len(row) for i in range(n_token)] for row in rows])
        with self.inference_ctx:
            log_probs = self.mods.pengi.lm.answer_log_probs(
                prefix, ids.to(self.device), mask.to(self.device), lengths
            )
        return log_probs if per_token else log_probs.sum(1)

    def score_answers(self, prefix: Tensor, answers: Sequence[str]) -> Tensor:
        """Return how likely the model finds each of several answers to each prefix.

        Arguments
        ---------
        prefix : torch.Tensor
            Of ``encode_batch`` [clip, 2 * n_prefix, d_model]; each is read once.
        answers : list of str
            Scored as given: no space is added.

        Returns
        -------
        log_probs : torch.Tensor
            As of ``score_batch`` [clip, answer].
        """
        ids = [self._answer_ids(answer) for answer in answers]
        with self.inference_ctx:
            return label_log_probs(self.mods.pengi.lm, prefix, ids)

    def embed_texts(self, texts: Sequence[str], projected: bool = False) -> Tensor:
        """Embed answers or labels in the text encoder's space, with unit norm.

        Arguments
        ---------
        texts : list of str
            A text longer than the encoder reads is cut at a word.
        projected : bool
            Whether to go on through the trained projection of prompts.

        Returns
        -------
        embeddings : torch.Tensor
            [text, d_text], or [text, d_embedding] if projected.
        """
        with self.inference_ctx:
            return text_embeddings(self.mods.pengi, list(texts), projected)

    @torch.inference_mode()
    def classify_file(
        self,
        path,
        labels: list[str],
        prompt: str = CLASSIFY_PROMPT,
        method: str = "similarity",
    ) -> list[tuple[str, float]]:
        """Rank labels for a recording, the best first.

        Arguments
        ---------
        path : str
            Audio file.
        labels : list of str
            Names of the classes, as they would stand in an answer.
        prompt : str
            What the model is asked.
        method : str
            ``"similarity"``: the cosine between the generated answer and each label
            in the text encoder's space. ``"likelihood"``: the total log-probability
            of each label and the end mark, all in one batch over one prefix.

        Returns
        -------
        ranking : list of (str, float)
            Labels with their scores.
        """
        if method not in ("similarity", "likelihood") or not labels:
            raise ValueError(
                "classify_file needs labels, and 'similarity' or 'likelihood' as "
                f"method; got method={method!r} and {len(labels)} labels."
            )
        prefix = self._prefix(self.load_clip(path)[None], [prompt])
        if method == "similarity":
            answers, _ = self._answers(prefix, None)
            answer, *points = self.embed_texts(answers + list(labels))
            scores = torch.stack(points) @ answer
        else:
            scores = self.score_answers(prefix, labels)[0]
        ranking = zip(labels, scores.tolist())
        return sorted(ranking, key=lambda item: item[1], reverse=True)

    def _answer_ids(self, answer: str) -> list[int]:
        """Return the tokens of an answer and of the end mark, as in training."""
        return self.tokenizer.encode_as_ids(answer) + self.end_ids

    # Search.

    def _answers(self, prefix: Tensor, prefix_lens, **search):
        """Return the answers that continue prefixes, as text and as tokens."""
        with self.inference_ctx:
            tokens, *_ = self._searcher(**search)(prefix, prefix_lens)
        return [self.tokenizer.decode_ids(ids).strip() for ids in tokens], tokens

    def _texts(self, tokens: Tensor, lengths: Tensor) -> list[str]:
        """Return the texts of [answer, token] with relative lengths [answer]."""
        n_tokens = (lengths * tokens.shape[-1]).round().long().tolist()
        return [
            self.tokenizer.decode_ids(ids[:n]).strip()
            for ids, n in zip(tokens.tolist(), n_tokens)
        ]

    def _searcher(self, beam_size=None, max_new_tokens=None, **sampling):
        """Return the model's searcher, or one that differs from it as asked."""
        if beam_size is None and max_new_tokens is None and not sampling:
            return self.mods.searcher
        settings = (self.mods.pengi.lm, self.hparams.eos_index)
        n_new = max_new_tokens or self.hparams.max_new_tokens
        if sampling:
            return PrefixSampler(*settings, max_new_tokens=n_new, **sampling)
        beam_size = beam_size or self.hparams.beam_size
        if beam_size == 1:
            return PrefixGreedySearcher(*settings, max_new_tokens=n_new)
        return PrefixBeamSearcher(*settings, beam_size, n_new)


def _full(wavs: Tensor) -> Tensor:
    """Return the relative lengths of recordings without padding."""
    return torch.ones(len(wavs), device=wavs.device)
