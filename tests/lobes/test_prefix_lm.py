import random
import warnings
from itertools import combinations, pairwise

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.activations import NewGELUActivation

from pengi_plugin.lobes.prefix_lm import (
    PrefixLM,
    cache_argument,
    cheapest_groups,
    fuse_gelu,
)

GPT2 = {
    "model_type": "gpt2",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 8,
    "vocab_size": 23,
    "n_positions": 16,
}
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "hidden_size": 8,
    "intermediate_size": 16,
    "vocab_size": 23,
    "max_position_embeddings": 16,
}


@pytest.fixture(params=[GPT2, LLAMA], ids=["gpt2", "llama"])
def lm(request):
    torch.manual_seed(0)
    lm = PrefixLM(config=request.param)
    for parameter in lm.parameters():  # large enough for the context to matter
        parameter.data.normal_(std=0.5)
    return lm


def plain_log_probs(lm, prefix, ids):
    """One row, no padding, no cache: the whole model on everything at once."""
    embedded = torch.cat([prefix, lm.model.get_input_embeddings()(ids)])
    logits = lm.model(inputs_embeds=embedded[None]).logits[0]
    log_probs = logits.log_softmax(-1)[len(prefix) - 1 : -1]
    return log_probs.gather(1, ids[:, None])[:, 0]


def test_answer_log_probs_equal_the_plain_model_whatever_pads_the_answers(lm):
    prefix = torch.randn(2, 5, 8)
    ids = torch.randint(23, (2, 4))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    found = lm.answer_log_probs(prefix, ids, mask)
    torch.testing.assert_close(found[0], plain_log_probs(lm, prefix[0], ids[0]))
    torch.testing.assert_close(found[1, :2], plain_log_probs(lm, prefix[1], ids[1, :2]))
    assert (found[1, 2:] == 0).all()
    ids[1, 2:] = 7
    torch.testing.assert_close(lm.answer_log_probs(prefix, ids, mask), found)


def test_right_padded_prefixes_give_what_each_gives_alone(lm):
    prefix = torch.randn(2, 6, 8)
    lengths = torch.tensor([1.0, 4 / 6])
    ids = torch.randint(23, (2, 3))
    found = lm.answer_log_probs(prefix, ids, prefix_lens=lengths)
    torch.testing.assert_close(found[1], plain_log_probs(lm, prefix[1, :4], ids[1]))
    logits, state = lm.prefill(prefix, lengths)
    steps = [logits, lm.step(ids[:, 0], state), lm.step(ids[:, 1], state)]
    torch.testing.assert_close(
        torch.stack(steps, dim=1), lm.answer_logits(prefix, ids, lengths)
    )


def test_steps_after_prefill_equal_one_pass_over_everything(lm):
    prefix = torch.randn(3, 5, 8)
    ids = torch.randint(23, (3, 4))
    logits, state = lm.prefill(prefix)
    steps = [logits] + [lm.step(ids[:, i], state) for i in range(3)]
    torch.testing.assert_close(torch.stack(steps, dim=1), lm.answer_logits(prefix, ids))


def test_repeated_and_selected_rows_go_on_from_their_own_past(lm):
    prefix = torch.randn(2, 5, 8)
    ids = torch.tensor([3, 4, 5, 6])
    _, state = lm.prefill(prefix)
    state.repeat(2)
    lm.step(ids, state)
    state.select(torch.tensor([3, 0]))
    found = lm.step(torch.tensor([8, 9]), state)
    rows = torch.tensor([[6, 8, 0], [3, 9, 0]])
    expected = lm.answer_logits(prefix[[1, 0]], rows)[:, 2]
    torch.testing.assert_close(found, expected)


def test_reading_with_a_cache_warns_of_nothing_deprecated(lm):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits, state = lm.prefill(torch.randn(2, 5, 8))
        lm.step(logits.argmax(-1), state)


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_the_cache_has_the_name_of_either_version_of_transformers(
    lm, name, monkeypatch
):
    prefix, ids = torch.randn(2, 5, 8), torch.randint(23, (2, 3))
    expected = lm.answer_logits(prefix, ids)
    forward, old = lm.model.base_model.forward, lm._cache_name

    def cache(input_ids=None, cache=None, **inputs):
        return forward(input_ids=input_ids, **{old: cache}, **inputs)

    def past_key_values(input_ids=None, past_key_values=None, **inputs):
        assert "cache" not in inputs  # would be ignored there
        return forward(input_ids=input_ids, **{old: past_key_values}, **inputs)

    versions = {"cache": cache, "past_key_values": past_key_values}
    monkeypatch.setattr(lm.model.base_model, "forward", versions[name])
    assert cache_argument(lm.model.base_model) == name
    lm._cache_name = name
    logits, state = lm.prefill(prefix)
    steps = [logits, lm.step(ids[:, 0], state), lm.step(ids[:, 1], state)]
    torch.testing.assert_close(torch.stack(steps, dim=1), expected)


def test_gradients_reach_the_prefix_and_nothing_of_the_lm(lm):
    prefix = torch.randn(2, 5, 8, requires_grad=True)
    lm.answer_log_probs(prefix, torch.randint(23, (2, 3))).sum().backward()
    assert (prefix.grad.abs().sum(-1) > 0).all()
    assert all(parameter.grad is None for parameter in lm.parameters())


def test_the_lm_has_no_dropout_when_its_owner_is_in_training():
    lm = PrefixLM(config={**GPT2, "resid_pdrop": 0.5, "embd_pdrop": 0.5})
    owner = torch.nn.ModuleList([lm]).train()
    assert owner.training
    prefix, ids = torch.randn(2, 5, 8), torch.randint(23, (2, 3))
    first = lm.answer_log_probs(prefix, ids)
    assert torch.equal(first, lm.answer_log_probs(prefix, ids))


def activations(lm):
    """Return the activation of each layer of a GPT-2."""
    return [layer.mlp.act for layer in lm.model.transformer.h]


def test_the_fused_gelu_of_gpt2_is_the_original_and_has_its_gradients():
    fused = activations(PrefixLM(config=GPT2))
    original = NewGELUActivation()
    assert len(fused) == GPT2["n_layer"]
    assert not any(isinstance(activation, NewGELUActivation) for activation in fused)
    torch.manual_seed(0)
    ends = torch.tensor([-1e4, -20.0, -0.0, 0.0, 20.0, 1e4])
    values = torch.cat([3 * torch.randn(10000), ends])
    weights = torch.randn(len(values))
    for activation in fused:
        outputs, gradients = [], []
        for function in (activation, original):
            read = values.clone().requires_grad_()
            outputs.append(function(read))
            (weights * outputs[-1]).sum().backward()
            gradients.append(read.grad)
        torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_gpt2_with_the_fused_gelu_gives_the_logits_of_transformers():
    torch.manual_seed(0)
    lm = PrefixLM(config=GPT2)
    settings = {name: value for name, value in GPT2.items() if name != "model_type"}
    plain = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **settings))
    plain.load_state_dict(lm.model.state_dict())
    assert isinstance(plain.transformer.h[0].mlp.act, NewGELUActivation)
    for model in (lm.model, plain):
        for layer in model.transformer.h:  # beyond 0, near which all GELUs are alike
            layer.mlp.c_fc.weight.data.mul_(50)
            layer.mlp.c_proj.weight.data.mul_(50)
    prefix = torch.randn(2, 5, 8)
    expected = plain.eval()(inputs_embeds=prefix).logits[:, -1]
    torch.testing.assert_close(lm.prefill(prefix)[0], expected)


@pytest.mark.parametrize(
    "config",
    [
        LLAMA,
        *({**GPT2, "activation_function": name} for name in ("gelu", "silu", "relu")),
        {**GPT2, "activation_function": "quick_gelu"},
    ],
    ids=["llama", "gpt2-gelu", "gpt2-silu", "gpt2-relu", "gpt2-quick_gelu"],
)
def test_another_activation_is_left_alone(config):
    settings = {name: value for name, value in config.items() if name != "model_type"}
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(config["model_type"], **settings)
    )
    before = dict(model.named_modules())
    fuse_gelu(model)
    after = dict(model.named_modules())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    kinds = [type(module) for module in PrefixLM(config=config).model.modules()]
    assert kinds == [type(module) for module in before.values()]


def test_more_positions_than_the_lm_has_are_refused_with_both_lengths(lm):
    with pytest.raises(ValueError, match=r"at most 16 positions.*prefix of 12.*6 tok"):
        lm.answer_log_probs(torch.randn(1, 12, 8), torch.zeros(1, 6, dtype=torch.long))
    _, state = lm.prefill(torch.randn(1, 16, 8))
    with pytest.raises(ValueError, match="at most 16 positions"):
        lm.step(torch.zeros(1, dtype=torch.long), state)


def test_an_lm_that_rescales_its_logits_is_refused_by_name():
    cohere = {
        "model_type": "cohere",
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "hidden_size": 8,
        "intermediate_size": 8,
        "vocab_size": 23,
    }
    with pytest.raises(ValueError, match="cohere rescales its logits"):
        PrefixLM(config=cohere)


def test_source_and_config_exclude_each_other():
    with pytest.raises(ValueError, match="Give either source or config"):
        PrefixLM()
    with pytest.raises(FileNotFoundError, match=r"no file or folder \./no/such"):
        PrefixLM(source="./no/such/folder")


def test_groups_by_length_leave_log_probs_and_gradients_as_they_are():
    torch.manual_seed(0)
    lm = PrefixLM(config=GPT2)
    prefix = torch.randn(7, 3, 8, requires_grad=True)
    ids = torch.randint(11, (7, 9))
    lengths = torch.tensor([9, 2, 3, 1, 9, 2, 5])
    mask = torch.arange(9) < lengths[:, None]
    results = []
    for lm.length_groups in (1, 3):
        widths = []
        reading = lm.model.transformer.register_forward_pre_hook(
            lambda module, _, inputs, widths=widths: widths.append(
                list(inputs["inputs_embeds"].shape[:2])
            ),
            with_kwargs=True,
        )
        log_probs = lm.answer_log_probs(prefix, ids, mask)
        reading.remove()
        (gradient,) = torch.autograd.grad(log_probs.square().sum(), prefix)
        results.append((log_probs, gradient, widths))
    (plain, plain_gradient, whole), (grouped, gradient, parts) = results
    assert whole == [[7, 11]]
    # 3 prefix positions and all answer tokens but the last: 3 rows of at most 2
    # tokens, 2 of at most 5, 2 of 9
    assert parts == [[3, 4], [2, 7], [2, 11]]
    assert torch.allclose(grouped, plain, atol=1e-6)
    assert not grouped[~mask].any()
    assert torch.allclose(gradient, plain_gradient, atol=1e-5)


def test_groups_are_the_cheapest_of_all_divisions():
    for seed in range(20):
        draw = random.Random(seed)
        lengths = sorted(draw.randint(1, 12) for _ in range(9))
        for n_group in (1, 2, 3, 4):
            costs = [
                sum(
                    (end - start) * lengths[end - 1]
                    for start, end in pairwise([0, *cuts, 9])
                )
                for n_cut in range(n_group)
                for cuts in combinations(range(1, 9), n_cut)
            ]
            ends = cheapest_groups(lengths, n_group)
            padded = sum(
                (end - start) * lengths[end - 1] for start, end in pairwise([0, *ends])
            )
            assert ends[-1] == 9
            assert len(ends) <= n_group
            assert padded == min(costs)


def test_no_groups_at_all_are_refused():
    config = {"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 4}
    with pytest.raises(ValueError, match="length_groups must be 1 or more; got 0"):
        PrefixLM(config=config, length_groups=0)
