"""Freezing, learning rates of parts, and low-rank updates of the LM."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from torch import nn

from pengi_plugin.training import adaptation
from pengi_plugin.training.adaptation import (
    add_lora,
    freeze,
    has_lora,
    merged,
    parameter_groups,
    write_adapter,
)

ANSWERS = torch.tensor([[5, 6, 2], [7, 2, 0]])
ANSWER_MASK = torch.tensor([[1, 1, 1], [1, 1, 0]]).bool()


@pytest.fixture
def model(root):
    torch.manual_seed(0)
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        return load_hyperpyyaml(file)


def log_probs(pengi):
    torch.manual_seed(1)
    clips = torch.randn(2, 8000)
    prompts = ["generate audio caption", "what?"]
    return pengi(clips, torch.ones(2), prompts, ANSWERS, ANSWER_MASK)


def step(pengi, lr=0.1):
    weights = [p for p in pengi.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=lr)
    (-log_probs(pengi.train()).sum()).backward()
    optimizer.step()


def test_frozen_weights_and_statistics_stay_and_the_others_move(model):
    pengi = model["pengi"]
    freeze(pengi, ["audio_encoder.*", "text_mapper.*"])
    before = {k: v.clone() for k, v in pengi.state_dict().items()}
    step(pengi)
    moved = {
        k.split(".")[0] for k, v in pengi.state_dict().items() if (v != before[k]).any()
    }
    assert {"audio_projection", "audio_mapper"} <= moved
    assert not moved & {"audio_encoder", "text_mapper", "lm", "text_encoder"}
    assert not pengi.train().audio_encoder.training
    assert pengi.audio_projection.training


def test_a_frozen_batch_normalisation_keeps_its_statistics(model):
    pengi = model["pengi"]
    pengi.audio_projection = nn.Sequential(
        pengi.audio_projection, nn.BatchNorm1d(pengi.audio_projection.d_embedding)
    )
    freeze(pengi, ["audio_projection.*"])
    step(pengi)
    assert not pengi.audio_projection[1].running_mean.any()


@pytest.mark.parametrize("pattern", ["encoder.*", "lm.*"])
def test_a_pattern_that_names_no_trained_weight_is_an_error(model, pattern):
    with pytest.raises(ValueError, match=r"no trained weight is named .*audio_encoder"):
        freeze(model["pengi"], [pattern])


def test_freezing_everything_is_an_error(model):
    with pytest.raises(ValueError, match="leaves no weight to train"):
        freeze(model["pengi"], ["*"])


def test_the_first_pattern_that_matches_sets_a_weights_factor():
    named = dict(
        nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}).named_parameters()
    )
    groups = parameter_groups(named.items(), {"a.bias": 0.01, "a.*": 0.1})
    found = {group["lr_factor"]: group["params"] for group in groups}
    assert list(found) == [1.0, 0.1, 0.01]
    assert found[0.1] == [named["a.weight"]]
    assert found[0.01] == [named["a.bias"]]
    assert len(found[1.0]) == 2


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"c.*": 0.1}, "lr_factors: no trained weight"),
        ({"weight": -1}, "factor -1, which must"),
    ],
)
def test_factors_that_cannot_be_used_are_errors(factors, message):
    with pytest.raises(ValueError, match=message):
        parameter_groups(nn.Linear(2, 2).named_parameters(), factors)


class TestLora:
    """Low-rank updates, with peft."""

    @pytest.fixture
    def adapted(self, model):
        """Return a model whose updates have been trained for one step."""
        pytest.importorskip("peft", reason="LoRA needs peft")
        add_lora(model["pengi"], {"r": 2, "lora_alpha": 4})
        return model

    def test_a_new_update_changes_no_answer_and_only_updates_train(self, model):
        pytest.importorskip("peft", reason="LoRA needs peft")
        pengi = model["pengi"].eval()
        before = log_probs(pengi)
        lm = {k: v.clone() for k, v in pengi.lm.state_dict().items()}
        add_lora(pengi, {"r": 2})
        torch.testing.assert_close(log_probs(pengi.eval()), before)
        step(pengi)
        after = pengi.lm.state_dict()
        moved = [k for k in after if ".lora_B" in k and after[k].any()]
        assert moved
        for key, value in lm.items():
            # the layers with updates hold their own weights one level lower
            parent, _, name = key.rpartition(".")
            own = after.get(key, after.get(f"{parent}.base_layer.{name}"))
            assert torch.equal(own, value), key

    def test_the_merged_lm_is_plain_and_answers_the_same(self, adapted):
        pengi = adapted["pengi"]
        plain = sorted(log_names(pengi.lm))
        step(pengi, lr=1.0)
        expected = log_probs(pengi.eval())
        pengi.lm = merged(pengi.lm)
        torch.testing.assert_close(
            log_probs(pengi.eval()), expected, rtol=1e-4, atol=1e-4
        )
        assert not has_lora(pengi.lm)
        assert sorted(pengi.lm.state_dict()) == plain

    def test_checkpoints_hold_the_updates_and_no_other_weight_of_the_lm(self, adapted):
        state = adapted["pengi"].trained_state()
        of_lm = [key for key in state if key.startswith("lm.")]
        assert of_lm
        assert all(".lora_" in key for key in of_lm)

    def test_peft_loads_the_written_adapter(self, adapted, root, tmp_path):
        peft = pytest.importorskip("peft")
        pengi = adapted["pengi"]
        torch.manual_seed(0)
        with open(root / "hparams" / "model" / "tiny.yaml") as file:
            base = load_hyperpyyaml(file)["lm"].model
        step(pengi, lr=1.0)
        write_adapter(pengi.lm, tmp_path / "adapter")
        loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
        ids = torch.tensor([[3, 4, 5]])
        base_logits = merged(pengi.lm).model(ids).logits
        torch.testing.assert_close(
            loaded(ids).logits, base_logits, rtol=1e-4, atol=1e-4
        )

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"bias": "all"}, "would also train .*bias"),
            ({"modules_to_save": ["ln_f"]}, "would also train .*ln_f"),
            ({"target_modules": ["lm_head"]}, "output layer"),
            ({"target_modules": ["wte", "c_attn"]}, "embeddings"),
            ({"lora_dropout": 0.5}, "lora_dropout"),
        ],
    )
    def test_settings_whose_weights_would_be_lost_are_refused(
        self, model, settings, message
    ):
        pytest.importorskip("peft", reason="LoRA needs peft")
        with pytest.raises(ValueError, match=message):
            add_lora(model["pengi"], {"r": 2, **settings})

    def test_an_unknown_setting_is_named(self, model):
        pytest.importorskip("peft", reason="LoRA needs peft")
        with pytest.raises(ValueError, match=r"lora: .*rank"):
            add_lora(model["pengi"], {"rank": 2})

    def test_without_peft_the_error_says_how_to_install_it(self, model, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "peft", None)
        with pytest.raises(ModuleNotFoundError, match=r"pengi-plugin\[lora\]"):
            adaptation.add_lora(model["pengi"], {"r": 2})


def log_names(lm):
    """Return the names of an LM's own weights, as they were before the updates."""
    return {
        key.replace(".base_layer", "") for key in lm.state_dict() if ".lora_" not in key
    }
