import errno
import math
import re

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer
from torch import nn

from pengi_plugin.storage.parts import load_part, save_part
from pengi_plugin.training.checkpoints import WholeCheckpointer, remove_unfinished


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path):
    layer = nn.Linear(2, 3)
    checkpointer = WholeCheckpointer(tmp_path, {"layer": layer})
    whole = checkpointer.save_checkpoint(name="whole")
    weight = layer.weight.detach().clone()
    # what a process leaves that is killed while it saves: the meta file alone
    cut = Checkpointer(tmp_path, {}).save_checkpoint(name="cut")
    assert cut.path.exists()
    nn.init.zeros_(layer.weight)
    assert checkpointer.recover_if_possible().path == whole.path
    assert torch.equal(layer.weight, weight)


def full_disk(layer, path):
    """Write a part of a file, as a full disk does."""
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def full_disk_of_torch(layer, path):
    """Fail as ``torch.save`` does."""
    path.write_bytes(b"half")
    raise RuntimeError("[enforce fail] . PytorchStreamWriter failed writing file")


@pytest.mark.parametrize(
    ("save", "message"),
    [(full_disk, "No space left"), (full_disk_of_torch, "failed writing")],
)
def test_a_full_disk_is_told_and_leaves_the_checkpoint_before_it(
    tmp_path, save, message
):
    layer = nn.Linear(2, 3)
    checkpointer = WholeCheckpointer(tmp_path, {"layer": layer})
    checkpointer.save_and_keep_only(meta={"loss": 1.0}, min_keys=["loss"])
    (whole,) = tmp_path.iterdir()
    weight = layer.weight.detach().clone()
    nn.init.zeros_(layer.weight)
    checkpointer.add_recoverable("layer", layer, custom_save_hook=save)
    with pytest.raises(OSError, match=rf"{message}.*{re.escape(whole.name)} is whole"):
        checkpointer.save_and_keep_only(meta={"loss": 0.5}, min_keys=["loss"])
    assert list(tmp_path.iterdir()) == [whole]
    checkpointer.recover_if_possible()
    assert torch.equal(layer.weight, weight)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_never_the_best_and_deletes_no_good_one(
    tmp_path, value
):
    checkpointer = WholeCheckpointer(tmp_path, {"layer": nn.Linear(2, 3)})
    for loss in (2.0, value, 1.0, value, value):
        checkpointer.save_and_keep_only(meta={"loss": loss}, min_keys=["loss"])
    assert checkpointer.find_checkpoint(min_key="loss").meta["loss"] == 1.0
    assert checkpointer.find_checkpoint(max_key="loss").meta["loss"] == 1.0
    newest = checkpointer.find_checkpoint().meta["loss"]
    assert newest == value or math.isnan(newest)
    assert len(checkpointer.list_checkpoints()) == 2


def test_a_thousandth_save_looks_at_as_many_folders_as_the_first(tmp_path, monkeypatch):
    checkpointer = WholeCheckpointer(tmp_path, {"layer": nn.Linear(2, 3)})
    looks = []
    find = Checkpointer.find_checkpoints
    monkeypatch.setattr(
        Checkpointer,
        "find_checkpoints",
        lambda *given, **named: looks.append(1) or find(*given, **named),
    )
    counts = []
    for _ in range(5):
        looks.clear()
        checkpointer.save_and_keep_only()
        counts.append(len(looks))
    assert counts[0] == counts[-1]


def test_what_a_killed_process_left_is_removed_and_whole_checkpoints_stay(tmp_path):
    checkpointer = WholeCheckpointer(tmp_path, {"layer": nn.Linear(2, 3)})
    whole = checkpointer.save_checkpoint(name="whole")
    Checkpointer(tmp_path, {}).save_checkpoint(name="cut")
    (tmp_path / "run.json").touch()
    remove_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == [whole.path, tmp_path / "run.json"]


def test_a_part_comes_back_bit_by_bit(tmp_path):
    part, other = nn.Linear(3, 4), nn.Linear(3, 4)
    save_part(part, tmp_path / "part.safetensors")
    load_part(other, tmp_path / "part.safetensors")
    assert torch.equal(part.weight, other.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["part.safetensors"]


def test_a_part_of_another_shape_or_name_is_refused_by_name(tmp_path):
    save_part(nn.Linear(3, 4), tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match="size mismatch for weight"):
        load_part(nn.Linear(3, 5), tmp_path / "part.safetensors")
    part = nn.Linear(3, 4)
    part.extra = nn.Parameter(torch.zeros(1))
    with pytest.raises(ValueError, match="extra"):
        load_part(part, tmp_path / "part.safetensors")
