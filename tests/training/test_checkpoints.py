import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer
from torch import nn

from pengi_plugin.storage.parts import load_part, save_part
from pengi_plugin.training.checkpoints import WholeCheckpointer


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
