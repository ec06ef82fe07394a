"""Recordings and texts in, how well they fit out: a trained CLAP as an interface.

Everything is built by the ``hyperparams.yaml`` of a model's folder; see
``pengi export``. CLAP: Elizalde et al., ICASSP 2023.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pengi_plugin.inference.files import FileAnswer, answers_only, each_file
from pengi_plugin.inference.recordings import RecordingModel, full_lengths


class AudioTextModel(RecordingModel):
    """Compare recordings with texts.

    The sibling of ``AudioLanguageModel``, which reads recordings in the same way:
    of any rate, channels and length, repeated or cut to ``clip_seconds``. It cannot
    write texts. Similarities are cosines, from -1 to 1.

    Arguments
    ---------
    modules : dict
        ``clap``.
    hparams : dict
        The rest of the model's YAML.
    run_opts : dict
        Such as ``{"device": "cuda", "precision": "bf16"}``; fp32 is the default.
    freeze_params : bool
        Whether to switch to evaluation mode without gradients.

    Example
    -------
    >>> from hyperpyyaml import load_hyperpyyaml
    >>> with open("hparams/model/clap_tiny.yaml") as file:
    ...     hparams = load_hyperpyyaml(file)
    >>> model = AudioTextModel(hparams["modules"], hparams)
    >>> wavs, wav_lens = torch.randn(2, 8000), torch.ones(2)
    >>> model.similarity_batch(wavs, wav_lens, ["a dog", "rain", "wind"]).shape
    torch.Size([2, 3])
    """

    HPARAMS_NEEDED = ["sample_rate", "clip_seconds", "class_prompt"]
    MODULES_NEEDED = ["clap"]

    def encode_audio(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Embed recordings with unit norm: [batch, sample] -> [batch, d_embedding]."""
        clips = self.clips(wavs, wav_lens)
        with self.inference_ctx:
            return self.mods.clap.encode_audio(clips, full_lengths(clips))

    def encode_batch(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """The same as ``encode_audio``, by SpeechBrain's name."""
        return self.encode_audio(wavs, wav_lens)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Embed texts with unit norm: list of str -> [text, d_embedding].

        Raises
        ------
        ValueError
            If a text is longer than the text encoder takes.
        """
        with self.inference_ctx:
            return self.mods.clap.encode_text(list(texts))

    def similarity_batch(
        self, wavs: Tensor, wav_lens: Tensor, texts: Sequence[str]
    ) -> Tensor:
        """Return the cosine of every recording and every text [batch, text]."""
        return self.encode_audio(wavs, wav_lens) @ self.encode_text(texts).T

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """The same as ``encode_audio``."""
        return self.encode_audio(wavs, wav_lens)

    def encode_files(self, paths: Sequence, batch_size: int = 8) -> Tensor:
        """Embed files with unit norm [file, d_embedding]; the first error is raised."""
        found = each_file(
            paths, [None] * len(paths), self.load_clip, self._embed, batch_size
        )
        return torch.stack(answers_only(found))

    def _embed(self, clips: Tensor, index: Tensor, _prompts) -> list[Tensor]:
        return list(self.encode_audio(clips, torch.ones(len(clips)))[index])

    def classify_file(
        self, path, labels: Sequence[str], prompt: str | None = None
    ) -> list[tuple[str, float]]:
        """Rank labels for a recording without any training on them, the best first.

        Arguments
        ---------
        path : str
            Audio file.
        labels : list of str
            Names of the classes.
        prompt : str
            The text that stands for a label, with ``{label}`` in it; the YAML's
            ``class_prompt`` if None.

        Returns
        -------
        ranking : list of (str, float)
            Labels with their cosines.

        Raises
        ------
        ValueError
            If there are no labels, ``labels`` is one text, or the prompt has no
            ``{label}``.
        """
        return answers_only(self.classify_files([path], labels, prompt))[0]

    def classify_files(
        self,
        paths: Sequence,
        labels: Sequence[str],
        prompt: str | None = None,
        batch_size: int = 8,
    ) -> Iterator[FileAnswer]:
        """Yield the labels ranked for each file in order; errors are yielded.

        Arguments and errors are those of ``classify_file``; ``batch_size`` is the
        number of files that are encoded at a time.
        """
        prompt = self.hparams.class_prompt if prompt is None else prompt
        if isinstance(labels, str) or not labels:
            raise ValueError(f"labels must be a list of texts; got {labels!r}.")
        if "{label}" not in prompt:
            raise ValueError(f"prompt needs '{{label}}' in it; got {prompt!r}.")
        texts = self.encode_text([prompt.replace("{label}", name) for name in labels])

        def ask(clips, index, prompts):
            embeddings = torch.stack(self._embed(clips, index, prompts))
            return [_ranked(labels, row) for row in (embeddings @ texts.T).tolist()]

        return each_file(paths, [prompt] * len(paths), self.load_clip, ask, batch_size)

    def retrieve_audio(
        self, text: str, paths: Sequence, n_best: int = 10, batch_size: int = 8
    ) -> list[tuple[str, float]]:
        """Return the files that fit a text best, with their cosines, best first."""
        cosines = self.encode_files(paths, batch_size) @ self.encode_text([text])[0]
        return _ranked([str(path) for path in paths], cosines.tolist())[:n_best]

    def retrieve_texts(
        self, path, texts: Sequence[str], n_best: int = 10
    ) -> list[tuple[str, float]]:
        """Return the texts that fit a file best, with their cosines, best first."""
        cosines = self.encode_text(texts) @ self.encode_files([path])[0]
        return _ranked(texts, cosines.tolist())[:n_best]


def _ranked(names: Sequence[str], scores: list[float]) -> list[tuple[str, float]]:
    """Return names with their scores, the best first."""
    return sorted(zip(names, scores), key=lambda item: item[1], reverse=True)
