"""What takes long is found out about a run's rows once, and again when they change."""

import numpy as np
import pytest

from pengi_plugin.training.once import once


def test_it_is_found_again_when_what_it_depends_on_changes(tmp_path):
    def found(value, key):
        return once(tmp_path / "x", key, lambda: {"a": np.array(value)})["a"].tolist()

    assert found([1, 2], {"n": 1, "of": ("b",)}) == [1, 2]
    assert found([3], {"n": 1, "of": ("b",)}) == [1, 2]
    assert found([], {"n": 2}) == []
    assert found([5], {"n": 1, "of": ("b",)}) == [5]
    (tmp_path / "x" / "record.json").write_text("{")
    assert found([6], {"n": 1, "of": ("b",)}) == [6]


def test_what_fails_leaves_nothing(tmp_path):
    def fail():
        raise FileNotFoundError("a.wav")

    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"a\.wav"):
            once(tmp_path / "x", {}, fail)
    assert not list(tmp_path.iterdir())
