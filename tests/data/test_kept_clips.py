"""Clips on disk come back as they were, and each of their files is checked once."""

from pathlib import Path

import pytest

from pengi_plugin.data import kept_clips, preparation
from pengi_plugin.data.kept_clips import KeptClips
from pengi_plugin.data.preparation import Clip, check_many


def clips(n_clip, n_file=3):
    return [
        Clip(
            name=f"c{n}",
            split="train" if n % 2 else "test",
            path=Path(f"f{n % n_file}.wav") if n else None,
            rows={"r": {"task": "x", "labels": ["a", n]}},
        )
        for n in range(n_clip)
    ]


@pytest.mark.parametrize("n_block", [1, 2, 100])
def test_clips_come_back_in_order_also_in_two_loops_at_once(
    tmp_path, monkeypatch, n_block
):
    monkeypatch.setattr(kept_clips, "N_BLOCK", n_block)
    kept = KeptClips(iter(clips(7)), tmp_path)
    assert list(kept) == clips(7)
    assert list(zip(kept, kept, strict=True)) == [(clip, clip) for clip in clips(7)]
    assert kept.n_listed == {"test": 4, "train": 3}
    assert kept.splits_with_audio == {"test", "train"}
    assert not list(tmp_path.iterdir())


def test_each_file_is_checked_once_and_serves_all_of_its_clips(tmp_path):
    asked = []

    def check(paths):
        for path in paths:
            asked.append(path.name)
            yield (
                (0.0, "broken") if path.name == "f1.wav" else (float(path.stem[1]), "")
            )

    kept = KeptClips(clips(6), tmp_path)
    kept.check(check)
    assert asked == ["f1.wav", "f2.wav", "f0.wav"]
    assert [(clip.name, *found) for clip, *found in kept.checked()] == [
        ("c0", 0.0, "missing"),
        ("c1", 0.0, "broken"),
        ("c2", 2.0, ""),
        ("c3", 0.0, ""),
        ("c4", 0.0, "broken"),
        ("c5", 2.0, ""),
    ]


def test_names_that_come_twice_in_a_split_are_found(tmp_path):
    some = clips(5)
    assert KeptClips(some, tmp_path).twice() == []
    assert KeptClips([*some, some[1], some[1]], tmp_path).twice() == ["c1"]


def test_many_files_are_checked_in_order_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(preparation, "N_CHECKED", 2)
    monkeypatch.setattr(preparation, "check_audio", lambda path, seconds: (path, ""))
    assert [path for path, _ in check_many(range(7))] == list(range(7))
