"""Checkpointed parts have the same gradients and keep less for them."""

import copy

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from pengi_plugin.lobes.convnet import ConvNet
from pengi_plugin.training.gradient_checkpointing import checkpoint_parts


@pytest.fixture
def build(root):
    """Return a function that builds a tiny Pengi that drops branches at random."""
    encoder = {"drop_path": 0.5, "depths": [2, 2]}

    def make():
        torch.manual_seed(0)
        with open(root / "hparams" / "model" / "tiny.yaml") as file:
            hparams = load_hyperpyyaml(file, {"audio_encoder": {"encoder": encoder}})
        return hparams["pengi"].train()

    return make


def step(pengi):
    """Return the loss, the bytes that are kept for the gradients, and these."""
    weights = {weight.data_ptr() for weight in pengi.parameters()}
    kept = []

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept.append(tensor.nbytes)
        return tensor

    torch.manual_seed(1)
    wavs, ids = torch.randn(4, 8000), torch.randint(3, 1000, (4, 6))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = -pengi(wavs, torch.ones(4), ["what is it", "who"] * 2, ids).mean()
    n_byte = sum(kept)
    loss.backward()
    gradients = {k: p.grad for k, p in pengi.named_parameters() if p.requires_grad}
    return loss, n_byte, gradients


@pytest.mark.parametrize(
    ("parts", "share"),
    [(["audio_encoder"], 0.7), (["lm"], 0.99), (["audio_encoder", "lm"], 0.65)],
    ids=str,
)
def test_gradients_are_the_same_and_less_is_kept_for_them(parts, share, build):
    loss, n_byte, gradients = step(build())
    pengi = build()
    checkpoint_parts(pengi, parts)
    found_loss, found_byte, found = step(pengi)
    assert found_loss == loss
    assert found_byte < share * n_byte
    assert gradients.keys() == found.keys()
    assert all(torch.equal(found[name], gradients[name]) for name in gradients)


def test_a_copy_of_a_checkpointed_model_computes_with_its_own_weights(build):
    pengi = build()
    checkpoint_parts(pengi, ["lm"])
    other = copy.deepcopy(pengi.lm)
    prefix, ids = torch.randn(1, 3, 16, requires_grad=True), torch.tensor([[5, 7]])
    before = other.answer_log_probs(prefix, ids)
    for weight in pengi.lm.parameters():
        weight.data.zero_()
    assert torch.equal(other.answer_log_probs(prefix, ids), before)
    assert not torch.equal(pengi.lm.answer_log_probs(prefix, ids), before)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["ears"], r"no part 'ears'; its parts are audio_encoder, .*, lm\."),
        (["text_encoder"], "text_encoder is frozen"),
        (["audio_projection"], "audio_projection has no list of layers"),
        ("lm", r"must be a list.*got 'lm'"),
        (True, r"must be a list.*got True"),
    ],
    ids=str,
)
def test_what_cannot_be_checkpointed_is_refused(parts, message, build):
    with pytest.raises(ValueError, match=message):
        checkpoint_parts(build(), parts)


def test_batch_norm_which_would_count_twice_is_refused():
    model = torch.nn.ModuleDict({"audio_encoder": ConvNet(16, [4, 8], [0, 1])})
    with pytest.raises(ValueError, match=r"audio_encoder has no list of layers.*twice"):
        checkpoint_parts(model, ["audio_encoder"])
