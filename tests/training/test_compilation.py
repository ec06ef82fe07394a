"""Compiled parts compute what they did, are compiled once, and keep their names."""

import shutil

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from pengi_plugin.training.brain import PengiBrain
from pengi_plugin.training.compilation import FIXED_SHAPES, compile_parts


@pytest.fixture
def build(root):
    def make():
        torch.manual_seed(0)
        with open(root / "hparams" / "model" / "tiny.yaml") as file:
            return load_hyperpyyaml(file)["pengi"].train()

    return make


def gradients(pengi, n_token=4, n_prompt=1):
    torch.manual_seed(n_token)
    wavs, ids = torch.randn(3, 8000), torch.randint(3, 1000, (3, n_token))
    prompts = [f"prompt {i % n_prompt}" for i in range(3)]
    pengi.zero_grad()
    (-pengi(wavs, torch.ones(3), prompts, ids).mean()).backward()
    return {k: p.grad.clone() for k, p in pengi.named_parameters() if p.requires_grad}


#: The compiler of a run is slow where it writes C++; the other one does all but that.
INDUCTOR = pytest.param(
    "inductor",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(not shutil.which("g++"), reason="writes C++, needs g++"),
    ],
)


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
def test_compiled_parts_have_the_same_gradients_whatever_the_prompts_and_answers(
    backend, build
):
    plain, pengi = build(), build()
    names = [name for name, _ in plain.named_parameters()]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compile_parts(pengi, backend=backend)
    stats = torch._dynamo.utils.counters["stats"]
    n_graph = []
    for n_token, n_prompt in ((4, 1), (6, 2), (9, 3)):
        expected = gradients(plain, n_token, n_prompt)
        found = gradients(pengi, n_token, n_prompt)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
        n_graph.append(stats["unique_graphs"])
    assert n_graph == [len(FIXED_SHAPES)] * 3
    assert [name for name, _ in pengi.named_parameters()] == names
    assert list(pengi.state_dict()) == list(plain.state_dict())


def brain_of(pengi, **options):
    opts = {"device": "cpu", **options}
    return PengiBrain({"pengi": pengi}, None, {"gradient_checkpointing": ["lm"]}, opts)


def is_compiled(module):
    return module._compiled_call_impl is not None


def test_speechbrains_option_compiles_the_parts_of_fixed_shapes_alone(build):
    pengi = build()
    brain_of(pengi)._compile()
    assert not any(is_compiled(module) for module in pengi.modules())
    brain = brain_of(pengi, compile=True)
    brain._compile()
    assert brain.modules.pengi is pengi
    compiled = {name for name, m in pengi.named_modules() if is_compiled(m)}
    assert compiled == {"audio_encoder.encoder", "audio_projection", "audio_mapper"}


@pytest.mark.parametrize(
    "option", [{"compile_module_keys": ["pengi"]}, {"jit": True}], ids=str
)
def test_compiling_the_whole_model_is_refused_with_the_reason(option, build):
    with pytest.raises(ValueError, match="answers of another length in every batch"):
        brain_of(build(), **option)._compile()


def test_a_part_that_is_checkpointed_is_not_compiled_too(build):
    with pytest.raises(ValueError, match=r"audio_mapper would be compiled and have"):
        compile_parts(build(), ["lm", "audio_mapper"])
