"""The README's commands make the paper's batch, with keys that the YAML has."""

import re
import shlex

import pytest
import speechbrain as sb
from hyperpyyaml import resolve_references
from ruamel.yaml import YAML

from pengi_plugin.training.hparams import read_hparams

#: Clips of an update (Deshmukh et al., NeurIPS 2023, section 4).
PAPERS_BATCH = 384
SECTION = "## The paper's batch: one GPU, eight, two nodes"


def commands(root):
    """Return the commands of the README's section."""
    text = (root / "recipes" / "multitask" / "README.md").read_text()
    section = text.split(SECTION)[1].split("\n## ")[0]
    (block,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if not line.startswith("#")]


def settings(root, command):
    """Return the processes, and the resolved YAML with SpeechBrain's options."""
    words = shlex.split(command)
    script = words.index("recipes/multitask/train.py")
    launch = dict(word.split("=") for word in words[:script] if "=" in word)
    n_process = int(launch.get("--nnodes", 1)) * int(launch.get("--nproc_per_node", 1))
    yaml, run_opts, overrides = sb.parse_arguments(words[script + 1 :])
    # An override of a key that the YAML has not is an error.
    text = resolve_references(
        read_hparams(root / yaml), overrides, overrides_must_match=True
    )
    tree = dict(YAML().load(text))
    given = {name: run_opts[name] for name in run_opts.overridden_args}
    return n_process, tree | {k: v for k, v in given.items() if k in tree}


def test_the_three_commands_make_updates_of_the_papers_batch_at_one_rate(root):
    found = [settings(root, command) for command in commands(root)]
    assert [n_process for n_process, _ in found] == [1, 8, 16]
    for n_process, tree in found:
        assert tree["train_dataloader_opts"]["batch_size"] == tree["batch_size"]
        n_clip = n_process * tree["batch_size"] * tree["grad_accumulation_factor"]
        assert n_clip == PAPERS_BATCH
        assert (tree["lr"], tree["n_warmup"]) == (0.0001, 2000)


def test_a_key_that_the_yaml_has_not_is_refused(root):
    command = commands(root)[0] + " --batch_sise 24"
    with pytest.raises((KeyError, ValueError), match="batch_sise"):
        settings(root, command)
