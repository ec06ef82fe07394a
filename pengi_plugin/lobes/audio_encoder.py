"""Waveforms in, one vector per clip out, with any SpeechBrain encoder lobe."""

import inspect

import torch
from torch import Tensor, nn

#: What encoder lobes call the relative lengths of a batch's clips.
LENGTH_NAMES = ("wav_lens", "lengths")


class AudioEncoder(nn.Module):
    """Encode a batch of clips, [batch, sample], as [batch, d_audio].

    The encoder sees the features (or the waveforms, without ``features``), and the
    relative lengths if its ``forward`` names them ``wav_lens`` or ``lengths``. An
    output with a time axis is averaged over each clip's length. So ``HTSAT``,
    ``ConvNet``, SpeechBrain's ``Cnn14``, ``BEATs``, ``Wav2Vec2`` and their like fit by
    YAML alone.

    Arguments
    ---------
    encoder : torch.nn.Module
        Gives [batch, d_audio] or [batch, time, d_audio], or a tuple that begins so.
    features : torch.nn.Module, optional
        Maps [batch, sample] to what the encoder takes.
    over_time : bool
        Keep the encoder's time axis, for a mapper that reads a sequence; all clips
        must then be of one length.

    Example
    -------
    >>> from speechbrain.lobes.models.Cnn14 import Cnn14
    >>> from pengi_plugin.lobes.features import LogMel
    >>> features = LogMel(sample_rate=16000, n_mels=32, f_max=8000)
    >>> encoder = AudioEncoder(Cnn14(mel_bins=32, emb_dim=8), features)
    >>> encoder(torch.randn(2, 16000)).shape
    torch.Size([2, 8])
    """

    def __init__(
        self,
        encoder: nn.Module,
        features: nn.Module | None = None,
        over_time: bool = False,
    ):
        super().__init__()
        self.over_time = over_time
        self.features = features
        self.encoder = encoder
        named = inspect.signature(encoder.forward).parameters
        self.takes_lengths = any(name in named for name in LENGTH_NAMES)

    def forward(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Tensor:
        """Map [batch, sample] to [batch, d_audio].

        Arguments
        ---------
        wavs : torch.Tensor
            Waveforms at the features' (or the encoder's) sample rate,
            [batch, sample].
        wav_lens : torch.Tensor, optional
            Lengths relative to the longest clip, [batch]; by default all are as
            long. Encoders of a fixed length, HTSAT among them, take no lengths:
            repeat short clips to the common length before.

        Returns
        -------
        torch.Tensor
            One vector per clip, [batch, d_audio], or ``over_time``
            [batch, time, d_audio].
        """
        if wav_lens is None:
            wav_lens = wavs.new_ones(len(wavs))
        x = wavs if self.features is None else self.features(wavs)
        output = self.encoder(x, wav_lens) if self.takes_lengths else self.encoder(x)
        if isinstance(output, tuple):
            output = output[0]
        if self.over_time and output.dim() != 3:
            raise ValueError(
                "over_time needs an encoder that gives [batch, time, d_audio]; "
                f"{type(self.encoder).__name__} gave {list(output.shape)}. HTSAT "
                "and ConvNet have an over_time of their own."
            )
        if output.dim() == 2 or self.over_time:
            return output
        if output.dim() == 3:
            return mean_over_time(output, wav_lens)
        raise ValueError(
            "An encoder must give [batch, d_audio] or [batch, time, d_audio]; "
            f"{type(self.encoder).__name__} gave {list(output.shape)}. If these are "
            "the states of all its layers, ask it for the last only "
            "(output_all_hiddens: False)."
        )


def mean_over_time(x: Tensor, lens: Tensor) -> Tensor:
    """Average [batch, time, d] over each row's relative length, to [batch, d].

    Example
    -------
    >>> x = torch.tensor([[[1.0], [3.0]], [[1.0], [3.0]]])
    >>> mean_over_time(x, torch.tensor([1.0, 0.5])).tolist()
    [[2.0], [1.0]]
    """
    n_time = x.shape[1]
    n_valid = (lens.to(x.device) * n_time).round().clamp(min=1)
    valid = torch.arange(n_time, device=x.device) < n_valid[:, None]
    total = x.masked_fill(~valid[:, :, None], 0).sum(dim=1)
    return total / n_valid[:, None].to(x.dtype)
