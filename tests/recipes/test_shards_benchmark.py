import importlib

import pytest


@pytest.fixture
def benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "recipes" / "benchmark")
    return importlib.import_module("shards")


def test_every_variant_is_measured_and_the_ratios_are_of_the_loose_files(
    benchmark, capsys
):
    found = benchmark.main(["--n_clip", "3", "--n_round", "1", "--no_model"])
    lines = capsys.readouterr().out.splitlines()
    names = ["loose FLAC files", *benchmark.STORED]
    assert list(found["sizes"]) == list(found["speeds"]) == names
    rows = [line.split(" | ") for line in lines if line.startswith("| ")]
    key = "read_crop", True
    first, other = found["items"][(names[0], *key)], found["items"][(names[1], *key)]
    assert rows[2][5] == f"{other:.0f} ({other / first:.2f}) |"
    # FLAC is smaller than WAV, one channel smaller than two.
    sizes = found["sizes"]
    assert sizes[names[2]] < sizes[names[3]] < 3 * sizes[names[0]]
    assert sizes[names[2]] < sizes[names[0]]


def test_pages_that_were_dropped_are_read_again(benchmark, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    benchmark.drop_pages([str(path)])
    assert path.read_bytes() == bytes(1000)
