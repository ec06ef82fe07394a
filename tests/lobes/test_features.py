import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from transformers import ClapFeatureExtractor

from pengi_plugin.lobes.features import LogMel, MelBatchNorm


def test_mel_bands_of_32_khz_are_those_of_the_released_model(reference):
    golden = np.load(reference / "base_seed0.npz")["mel_bands"]
    bands = LogMel(sample_rate=44100, mel_sample_rate=32000).bands
    np.testing.assert_allclose(bands, golden, atol=1e-7)


def test_spectrogram_is_that_of_laions_feature_extractor():
    wav = np.random.default_rng(0).uniform(-1, 1, 48000).astype(np.float32)
    wav[20000:30000] = 0  # silence falls to the floor of -100 dB in both
    extractor = ClapFeatureExtractor(
        sampling_rate=48000,
        hop_length=480,
        frequency_min=50,
        truncation="rand_trunc",
        max_length_s=1,
    )
    theirs = extractor(wav, sampling_rate=48000, return_tensors="pt")
    ours = LogMel(sample_rate=48000, hop_length=480)(torch.from_numpy(wav)[None])
    assert ours.min() == -100
    torch.testing.assert_close(
        ours, theirs["input_features"][:, 0], atol=2e-3, rtol=1e-4
    )


def test_features_stay_in_float32_under_autocast():
    features = LogMel(sample_rate=8000, f_max=4000)
    wavs = torch.randn(2, 4000) * 0.1
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = features(wavs)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, features(wavs))


def test_a_clip_too_short_for_a_window_is_refused_with_its_shape():
    with pytest.raises(ValueError, match=r"more than 512 samples.*\[1, 300\].*repeat"):
        LogMel(sample_rate=16000, f_max=8000)(torch.zeros(1, 300))


def test_a_stereo_batch_is_refused_with_its_shape():
    with pytest.raises(ValueError, match=r"\[1, 4000, 2\].*[Mm]ix"):
        LogMel(sample_rate=16000, f_max=8000)(torch.zeros(1, 4000, 2))


def test_bands_beyond_half_the_rate_are_refused_with_the_values():
    with pytest.raises(ValueError, match=r"f_max=14000.*rate=16000"):
        LogMel(sample_rate=16000)


def test_mel_batch_norm_is_torch_batch_norm_over_mel_bands():
    torch.manual_seed(0)
    ours, theirs = MelBatchNorm(5), torch.nn.BatchNorm1d(5)
    mel = torch.randn(3, 7, 5) * 12 - 40
    for _ in range(2):
        torch.testing.assert_close(
            ours(mel), theirs(mel.transpose(1, 2)).transpose(1, 2)
        )
    named = dict(theirs.state_dict())
    named.pop("num_batches_tracked")
    assert ours.state_dict().keys() == named.keys()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, named[name])
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(mel), theirs(mel.transpose(1, 2)).transpose(1, 2))


def mel_and_loss_weights():
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(5, 6, 4, generator=generator) * 9 - 30
    return mel, torch.randn(5, 6, 4, generator=generator)


def normalise(clips):
    """Return output, gradients and running statistics after a step on these clips."""
    mel, loss_weights = (x[clips] for x in mel_and_loss_weights())
    mel.requires_grad_()
    norm = MelBatchNorm(4)
    output = norm(mel)
    (output * loss_weights).sum().backward()
    return {
        "output": output.detach(),
        "input_gradient": mel.grad,
        "weight_gradient": norm.weight.grad,
        "bias_gradient": norm.bias.grad,
        "mean": norm.running_mean,
        "var": norm.running_var,
    }


def one_process(rank, folder):
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    clips = slice(0, 2) if rank == 0 else slice(2, 5)  # not the same number
    result = {name: value.tolist() for name, value in normalise(clips).items()}
    (folder / f"{rank}.json").write_text(json.dumps(result))
    dist.destroy_process_group()


def test_two_processes_normalise_as_one_with_the_whole_batch(tmp_path):
    mp.spawn(one_process, args=(tmp_path,), nprocs=2)
    first, second = (
        {k: torch.tensor(v) for k, v in json.loads(path.read_text()).items()}
        for path in (tmp_path / "0.json", tmp_path / "1.json")
    )
    whole = normalise(slice(0, 5))
    for name in ("output", "input_gradient"):
        both = torch.cat([first[name], second[name]])
        torch.testing.assert_close(both, whole[name], atol=1e-5, rtol=1e-5)
    for name in ("weight_gradient", "bias_gradient"):
        both = first[name] + second[name]
        torch.testing.assert_close(both, whole[name], atol=1e-5, rtol=1e-5)
    for name in ("mean", "var"):
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], whole[name])
