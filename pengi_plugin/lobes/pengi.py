"""Pengi: clips and prompts in, the log-probabilities of their answers out.

Deshmukh, Elizalde, Singh, Wang: *Pengi: An Audio Language Model for Audio
Tasks*, NeurIPS 2023 (arXiv 2305.11834), section 3.1.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pengi_plugin.lobes.trained_parts import TrainedParts


def pooled(features: Tensor) -> Tensor:
    """Average ``Pengi.audio_features`` over time: [batch, d_embedding]."""
    return features if features.dim() == 2 else F.normalize(features.mean(1), dim=-1)


class Pengi(TrainedParts):
    """Compose the parts of Pengi.

    Arguments
    ---------
    audio_encoder : torch.nn.Module
        (wavs [batch, sample], wav_lens [batch]) -> [batch, d_audio]; trained. With
        [batch, time, d_audio] the audio mapper reads a sequence.
    audio_projection : torch.nn.Module
        [batch, d_audio] -> [batch, d_embedding].
    audio_mapper : torch.nn.Module
        [batch, d_embedding] -> [batch, n_prefix, d_model]; m1 of the paper.
    text_encoder : torch.nn.Module
        list of str -> [batch, d_text]; frozen.
    text_projection : torch.nn.Module
        [batch, d_text] -> [batch, d_embedding].
    text_mapper : torch.nn.Module
        [batch, d_embedding] -> [batch, n_prefix, d_model]; m2 of the paper.
    lm : PrefixLM
        The language model; frozen.
    normalize_prompt : bool
        Divide the prompt's embedding by its L2 norm, as the audio's always is.
        The released model was trained with it (True); its published inference
        code leaves it out (False).

    Example
    -------
    >>> from pengi_plugin.lobes.mapping import MLPPrefixMapper
    >>> from pengi_plugin.lobes.prefix_lm import PrefixLM
    >>> class FourMeans(nn.Module):
    ...     def forward(self, wavs, wav_lens):
    ...         return wavs.unflatten(1, (4, -1)).mean(-1)
    >>> class Length(nn.Module):
    ...     def forward(self, prompts):
    ...         return torch.tensor([[float(len(prompt))] * 4 for prompt in prompts])
    >>> lm = PrefixLM(config={"model_type": "gpt2", "n_layer": 1, "n_head": 2,
    ...     "n_embd": 8, "vocab_size": 11})
    >>> pengi = Pengi(FourMeans(), nn.Linear(4, 6), MLPPrefixMapper(6, 8, 2),
    ...     Length(), nn.Linear(4, 6), MLPPrefixMapper(6, 8, 2), lm)
    >>> clips, lengths = torch.randn(3, 80), torch.ones(3)
    >>> pengi.encode(clips, lengths, ["what?", "where?", "what?"]).shape
    torch.Size([3, 4, 8])
    """

    frozen_parts = ("text_encoder", "lm")

    def __init__(
        self,
        audio_encoder: nn.Module,
        audio_projection: nn.Module,
        audio_mapper: nn.Module,
        text_encoder: nn.Module,
        text_projection: nn.Module,
        text_mapper: nn.Module,
        lm: nn.Module,
        normalize_prompt: bool = True,
    ):
        super().__init__()
        for name, mapper in (("audio", audio_mapper), ("text", text_mapper)):
            if mapper.d_model != lm.d_model:
                raise ValueError(
                    f"{name}_mapper writes vectors of width {mapper.d_model}, the "
                    f"language model reads {lm.d_model}; set its d_model to that."
                )
        self.audio_encoder = audio_encoder
        self.audio_projection = audio_projection
        self.audio_mapper = audio_mapper
        self.text_encoder = text_encoder
        self.text_projection = text_projection
        self.text_mapper = text_mapper
        self.lm = lm
        self.normalize_prompt = normalize_prompt

    def audio_features(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Return what the audio mapper reads, of unit L2 norm.

        [batch, sample] -> [batch, d_embedding], or [batch, time, d_embedding] where
        the audio encoder keeps time.
        """
        embedding = self.audio_projection(self.audio_encoder(wavs, wav_lens))
        return F.normalize(embedding, dim=-1)

    def encode_audio(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Embed clips with unit L2 norm: [batch, sample] -> [batch, d_embedding]."""
        return pooled(self.audio_features(wavs, wav_lens))

    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """Embed prompts: list of str -> [batch, d_embedding].

        A prompt that is a sequence (no text encoder: [batch, token, d_model]) is
        never normalised, as in the released model.
        """
        return self.project_prompt(self.text_encoder(prompts))

    def project_prompt(self, states: Tensor) -> Tensor:
        """Map what the text encoder gives to [batch, d_embedding]."""
        embedding = self.text_projection(states)
        if self.normalize_prompt and embedding.dim() == 2:
            embedding = F.normalize(embedding, dim=-1)
        return embedding

    def encode(
        self,
        wavs: Tensor,
        wav_lens: Tensor,
        prompts: list[str],
        clip_index: Tensor | None = None,
    ) -> Tensor:
        """Return the prefix that prompts the LM (Eqs. 1 and 2).

        Each distinct prompt of the batch is encoded and mapped once.

        Arguments
        ---------
        wavs : torch.Tensor
            Mono clips [clip, sample].
        wav_lens : torch.Tensor
            Relative lengths [clip].
        prompts : list of str
            One per row of the result.
        clip_index : torch.Tensor
            The clip that each prompt is about [batch]; None when the n-th prompt
            is about the n-th clip.

        Returns
        -------
        prefix : torch.Tensor
            [batch, 2 * n_prefix, d_model], audio first.
        """
        return self.make_prefix(
            self.audio_features(wavs, wav_lens), prompts, clip_index
        )

    def make_prefix(
        self, embedding: Tensor, prompts: list[str], clip_index: Tensor | None = None
    ) -> Tensor:
        """Return what ``encode`` does, of clips' ``audio_features``."""
        audio = self.audio_mapper(embedding)
        if clip_index is not None:
            audio = audio[clip_index]
        if len(prompts) != len(audio):
            raise ValueError(
                f"Got {len(prompts)} prompts for {len(audio)} clips; give one prompt "
                "per clip, or clip_index."
            )
        distinct = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        text = self.text_mapper(self.encode_prompt(list(distinct)))
        text = text[[distinct[prompt] for prompt in prompts]]
        return torch.cat([audio, text], dim=1)

    def forward(
        self,
        wavs: Tensor,
        wav_lens: Tensor,
        prompts: list[str],
        answer_ids: Tensor,
        answer_mask: Tensor | None = None,
        clip_index: Tensor | None = None,
        with_embedding: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the log-probability of each answer token (Eq. 3).

        Arguments
        ---------
        wavs : torch.Tensor
            Mono clips [clip, sample].
        wav_lens : torch.Tensor
            Relative lengths [clip].
        prompts : list of str
            One per answer.
        answer_ids : torch.Tensor
            Answers with their end mark, right-padded [batch, token].
        answer_mask : torch.Tensor
            True where a token counts [batch, token]; None when all do.
        clip_index : torch.Tensor
            The clip that each prompt is about [batch]; see ``encode``.
        with_embedding : bool
            Whether to return the clips' embeddings too.

        Returns
        -------
        log_probs : torch.Tensor
            Natural logarithms [batch, token]; 0 at padding. The training loss is
            minus their mean over the tokens that count.
        embedding : torch.Tensor
            [clip, d_embedding], only ``with_embedding``.
        """
        features = self.audio_features(wavs, wav_lens)
        prefix = self.make_prefix(features, prompts, clip_index)
        log_probs = self.lm.answer_log_probs(prefix, answer_ids, answer_mask)
        return (log_probs, pooled(features)) if with_embedding else log_probs
