"""The walk through a task of one's own in recipes/README.md, and fine-tuning."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file

from pengi_plugin.inference import AudioLanguageModel
from tests.recipes.conftest import recipe_main
from tests.tone_model import write_tone

#: Few clips: small batches, so that there are some updates.
FEW = {"precision": "fp32", "batch_size": 4, "number_of_epochs": 30, "n_warmup": 2}


def flags(options):
    return [part for key, value in options.items() for part in (f"--{key}", str(value))]


def block(text, after):
    """Return the first indented or fenced block behind a text, without its indent."""
    rest = text[text.index(after) :]
    lines = re.search(r"```\w*\n(.*?)```", rest, re.DOTALL)[1].splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return [line[indent:] for line in lines if line.strip()]


def write_birds(folder, lines):
    """Write recordings of two birds, and tables with the header of the README."""
    header, *rows = lines
    assert header == "ID,wav,duration,task,bird"
    birds = [row.split(",")[-1] for row in rows]
    folder.mkdir()
    for split, n_clip in (("train", 16), ("valid", 4), ("test", 4)):
        table = [header]
        for number in range(n_clip):
            name = f"{split}{number}"
            write_tone(folder / f"{name}.wav", (300, 1500)[number % 2])
            table.append(f"{name},{name}.wav,1.0,bird,{birds[number % 2]}")
        (folder / f"{split}.csv").write_text("\n".join(table) + "\n")


@pytest.mark.slow
def test_a_task_of_ones_own_goes_from_a_table_to_scores(root, tmp_path, monkeypatch):
    text = (root / "recipes" / "README.md").read_text()
    shutil.copytree(root / "hparams", tmp_path / "hparams")
    yaml = block(text, "A YAML, `hparams/birds.yaml`")
    (tmp_path / "hparams" / "birds.yaml").write_text("\n".join(yaml) + "\n")
    write_birds(tmp_path / "my_birds", block(text, "A folder with `train.csv`"))
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"`python (recipes\S+) (hparams/birds.yaml)`", text)
    script, hparams = command
    main = recipe_main(root, script.split("/")[1])
    table = main([hparams, *flags(FEW)])
    (line,) = [line for line in table if line["group"].startswith("birds")]
    assert line["n"] == 4
    assert line["score"] > 0.9
    model = AudioLanguageModel.from_hparams(
        source="results/birds/1986/model", savedir=str(tmp_path / "loaded")
    )
    assert model.generate_file("my_birds/test1.wav", "which bird is this?") == (
        "great tit"
    )


@pytest.mark.slow
def test_a_finished_model_is_tuned_as_the_keys_say(
    root, finished, make_arguments, tmp_path
):
    pytest.importorskip("peft", reason="LoRA needs peft")
    _, folder, _ = finished
    options = {
        "pretrained_folder": folder / "model",
        "number_of_epochs": 2,
        "lr": 0.01,
        "word_loss_weight": 0,
        "freeze": json.dumps(["audio_encoder.*"]),
        "lr_factors": json.dumps({"audio_projection.*": 0.1}),
        "lora": json.dumps({"r": 2}),
    }
    arguments = make_arguments(tmp_path / "tuned", **options)
    index = arguments.index("--model")
    del arguments[index : index + 2]  # the folder's, then
    recipe_main(root, "multitask")(arguments)

    def moved(part):
        before, after = (
            load_file(run / "model" / f"{part}.safetensors")
            for run in (folder, tmp_path / "tuned")
        )
        assert before.keys() == after.keys()
        return max(
            float((after[k].float() - before[k].float()).abs().max()) for k in before
        )

    assert moved("audio_encoder") == 0
    assert 0 < moved("audio_projection") < moved("audio_mapper")
    assert moved("lm") > 0
    adapter = load_file(tmp_path / "tuned/model/adapter/adapter_model.safetensors")
    assert adapter
    assert any(torch.any(weight != 0) for weight in adapter.values())
    AudioLanguageModel.from_hparams(
        source=str(tmp_path / "tuned" / "model"), savedir=str(tmp_path / "loaded")
    )
