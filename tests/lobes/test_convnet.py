import pytest
import torch
from torch.nn import functional as F

from pengi_plugin.lobes.convnet import ConvNet, Residual


def make_encoder(**changes):
    torch.manual_seed(0)
    sizes = {"n_mels": 16, "widths": [4, 8], "depths": [0, 1], **changes}
    return ConvNet(**sizes)


def normalised(x, norm):
    """Batch norm by its definition: x is [batch, channel, frame, band]."""
    var, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0, keepdim=True)
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    return (x - mean) / (var + norm.eps).sqrt() * scale + shift


def test_the_output_is_what_its_convolutions_give_one_after_the_other():
    encoder = make_encoder()
    with torch.no_grad():  # else the residual branch, which begins at 0, is untested
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn_like(parameter) / 3)
    mel = torch.randn(3, 24, 16) * 7 - 30
    first, second = encoder.downs
    (residual,) = encoder.blocks[1]
    bands = normalised(mel.transpose(1, 2)[..., None], encoder.bn0)
    x = bands[..., 0].transpose(1, 2)[:, None]
    x = F.conv2d(x, first.conv.weight, stride=4, padding=1)
    x = F.gelu(normalised(x, first.norm))
    x = F.conv2d(x, second.conv.weight, stride=2, padding=1)
    x = F.gelu(normalised(x, second.norm))
    branch = F.conv2d(x, residual.conv.conv.weight, padding=1)
    x = F.gelu(x + normalised(branch, residual.conv.norm))
    assert x.shape == (3, 8, 3, 2)  # [batch, channel, time, band]
    expected = x.mean(2).flatten(1)
    torch.testing.assert_close(encoder(mel), expected, atol=1e-4, rtol=1e-4)


def test_d_audio_is_the_width_of_what_comes_out():
    encoder = ConvNet()
    heard = encoder(torch.randn(2, 256, 64))
    assert heard.shape == (2, encoder.d_audio) == (2, 512)


def test_over_time_gives_one_vector_per_unit_of_frames_and_their_mean_is_the_clip():
    encoder = make_encoder().eval()
    mel = torch.randn(2, 40, 16)
    clip = encoder(mel)
    encoder.over_time = True
    times = encoder(mel)
    assert times.shape == (2, 40 // encoder.unit, encoder.d_audio)
    torch.testing.assert_close(times.mean(1), clip)


def test_over_time_is_in_order_of_time():
    """A column far from a change does not know of it, a column at the change does."""
    encoder = make_encoder(over_time=True).eval()
    mel = torch.randn(1, 80, 16)
    changed = mel.clone()
    changed[:, 64:] += 5
    differs = (encoder(mel) - encoder(changed)).abs().amax(-1)[0] > 1e-6
    assert not differs[:6].any()
    assert differs[8:].all()


def test_low_and_high_bands_have_channels_of_their_own():
    encoder = make_encoder(n_mels=64, depths=[0, 0]).eval()
    mel = torch.randn(1, 24, 64)
    changed = mel.clone()
    changed[:, :, :8] += 5
    differs = (encoder(mel) - encoder(changed)).abs()[0] > 1e-6
    by_band = differs.view(8, 8).any(0)  # [channel, band of the last map]
    assert by_band.tolist() == [True, True, *[False] * 6]


def test_a_residual_begins_as_what_comes_in():
    x = torch.randn(2, 4, 6, 5)
    torch.testing.assert_close(Residual(4)(x), F.gelu(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": [1]}, r"one entry per stage; got widths=\[4, 8\], depths=\[1\]"),
        ({"n_mels": 20}, r"n_mels must be a multiple of .* \(here 8\); got n_mels=20"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_encoder(**changes)


@pytest.mark.parametrize("shape", [(2, 40, 15), (2, 3, 16), (40, 16)])
def test_a_spectrogram_of_another_form_is_refused(shape):
    with pytest.raises(ValueError, match="with 16 mel bands and 4 frames or more"):
        make_encoder()(torch.randn(shape))
