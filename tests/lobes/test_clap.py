import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from pengi_plugin.lobes.clap import MAX_SCALE, Clap, Temperature, contrastive_losses
from pengi_plugin.lobes.text_encoder import TextEncoder, TrainedTextEncoder
from tests.doubles import Letters

GPT2 = {
    **{"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 4, "vocab_size": 32},
    **{"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}


class FourMeans(nn.Module):
    def forward(self, wavs, wav_lens):
        return wavs.unflatten(1, (4, -1)).mean(-1)


def make_clap(text_class=TrainedTextEncoder):
    torch.manual_seed(0)
    text = text_class(Letters(), config=GPT2)
    return Clap(FourMeans(), nn.Linear(4, 6), text, nn.Linear(4, 6), Temperature())


def test_the_losses_are_cross_entropies_over_rows_and_over_columns():
    torch.manual_seed(1)
    audio, text = torch.randn(2, 3, 5).double()
    a_to_t, t_to_a = contrastive_losses(audio, text, torch.tensor(2.0).double())
    for i in range(3):
        logits = torch.stack([2.0 * audio[i] @ text[j] for j in range(3)])
        assert a_to_t[i].item() == pytest.approx(
            (logits.exp().sum().log() - logits[i]).item()
        )
        logits = torch.stack([2.0 * text[i] @ audio[j] for j in range(3)])
        assert t_to_a[i].item() == pytest.approx(
            (logits.exp().sum().log() - logits[i]).item()
        )


def test_the_factor_starts_at_the_inverse_temperature_and_is_limited():
    temperature = Temperature(0.07)
    assert temperature().item() == pytest.approx(1 / 0.07, rel=1e-5)
    temperature.logit_scale.data.fill_(10.0)
    assert temperature().item() == MAX_SCALE


def test_a_clap_learns_to_match_a_toy_batch():
    clap = make_clap()
    torch.manual_seed(2)
    wavs, texts = torch.randn(4, 8), ["dog", "rain", "wind", "car"]
    optimizer = torch.optim.Adam(clap.parameters(), 0.03)
    for _ in range(150):
        optimizer.zero_grad()
        losses = contrastive_losses(*clap(wavs, torch.ones(4), texts))
        sum(loss.mean() for loss in losses).backward()
        optimizer.step()
    audio, text, _ = clap(wavs, torch.ones(4), texts)
    assert (audio @ text.T).argmax(1).tolist() == [0, 1, 2, 3]
    assert audio.norm(dim=1).tolist() == pytest.approx([1.0] * 4, abs=1e-5)


@pytest.mark.parametrize(
    ("text_class", "is_trained"), [(TextEncoder, False), (TrainedTextEncoder, True)]
)
def test_a_text_encoder_is_trained_and_saved_if_it_is_not_frozen(
    text_class, is_trained
):
    clap = make_clap(text_class).train()
    saved = {name.split(".")[0] for name in clap.trained_state()}
    assert ("text_encoder" in saved) == is_trained
    assert {"audio_projection", "text_projection", "temperature"} <= saved
    assert clap.text_encoder.training == is_trained
    losses = contrastive_losses(*clap(torch.randn(2, 8), torch.ones(2), ["a", "b"]))
    losses[0].sum().backward()
    gradient = clap.text_encoder.model.wte.weight.grad
    assert (gradient is not None and gradient.abs().sum() > 0) == is_trained


def test_texts_of_a_batch_are_padded_without_a_change():
    encoder = TrainedTextEncoder(Letters(), config=GPT2).eval()
    together = encoder(["dog", "thunder", "dog"])
    alone = torch.cat([encoder([text]) for text in ("dog", "thunder", "dog")])
    torch.testing.assert_close(together, alone)


def test_an_end_is_appended_to_every_text_and_read_last():
    encoder = TextEncoder(Letters(), config=GPT2, text_end="z")
    assert encoder.prompt_ids("dog")[1:-1] == [4, 15, 7, 26]


#: Two processes, half of the batch each, or one with all of it.
SCRIPT = """
import os, sys, torch
from torch import distributed as dist
from tests.lobes.test_clap import make_clap
from pengi_plugin.lobes.clap import contrastive_losses
n, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
dist.init_process_group("gloo")
clap = make_clap()
wavs = torch.randn(8, 8, generator=torch.Generator().manual_seed(5))
texts = ["dog", "rain", "wind", "car", "dog", "sea", "bell", "horn"]
part = slice(rank * 8 // n, (rank + 1) * 8 // n)
model = torch.nn.parallel.DistributedDataParallel(clap)
out = model(wavs[part], torch.ones(8 // n), texts[part])
loss = sum(loss.mean() for loss in contrastive_losses(*out, True)) / 2
loss.backward()
mean = loss.detach().clone()
dist.all_reduce(mean)
gradients = {k: p.grad for k, p in clap.named_parameters() if p.grad is not None}
if rank == 0:
    torch.save({"loss": mean / n, **gradients}, sys.argv[1])
dist.destroy_process_group()
"""


def run_processes(n_process, path, root):
    (path.parent / "step.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += [f"--nproc_per_node={n_process}", str(path.parent / "step.py"), str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(
        launch, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(path)


@pytest.mark.slow
def test_two_processes_have_the_loss_and_the_gradients_of_one(tmp_path, root):
    one = run_processes(1, tmp_path / "one.pt", root)
    two = run_processes(2, tmp_path / "two.pt", root)
    assert one.keys() == two.keys()
    assert "temperature.logit_scale" in one
    assert "text_encoder.model.wte.weight" in one
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=1e-4)
        assert value.abs().sum() > 0, name

    clap = make_clap()  # and one without processes
    wavs = torch.randn(8, 8, generator=torch.Generator().manual_seed(5))
    texts = ["dog", "rain", "wind", "car", "dog", "sea", "bell", "horn"]
    losses = contrastive_losses(*clap(wavs, torch.ones(8), texts))
    loss = sum(loss.mean() for loss in losses) / 2
    assert two["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
