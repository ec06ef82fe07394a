"""The benchmark of the training update in both precisions."""

import importlib.util

import pytest


@pytest.fixture
def script(root):
    path = root / "recipes" / "benchmark" / "precision.py"
    spec = importlib.util.spec_from_file_location("precision_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_times_updates_in_both_precisions_and_prints_their_ratio(
    script, root, capsys
):
    model = root / "hparams" / "model" / "tiny.yaml"
    options = f"--threads 1 --batch_size 2 --turns 1 --model {model}".split()
    found = script.main(options)
    assert found["fp32"] > 0
    assert found["bf16"] > 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    bf16 = next(row for row in rows if row[0] == "| bf16")
    assert float(bf16[-1].strip(" |")) == pytest.approx(
        found["fp32"] / found["bf16"], abs=0.01
    )


def test_its_update_changes_what_is_trained_and_leaves_the_rest(script, root):
    from hyperpyyaml import load_hyperpyyaml

    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        model = load_hyperpyyaml(file)
    pengi = model["pengi"]
    before = {name: p.clone() for name, p in pengi.named_parameters()}
    script.make_update(model, 2)("fp32")
    changed = {
        name for name, p in pengi.named_parameters() if (p != before[name]).any()
    }
    trained = {name for name, p in pengi.named_parameters() if p.requires_grad}
    assert changed <= trained
    assert len(changed) > 0.9 * len(trained)
