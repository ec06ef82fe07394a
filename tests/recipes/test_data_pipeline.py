import importlib

import pytest


@pytest.fixture
def benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "recipes" / "benchmark")
    return importlib.import_module("data_pipeline")


def test_every_variant_reads_the_same_clips(benchmark, tones):
    rows = benchmark.read_manifest(tones / "train.json", "tones")
    rows = benchmark.first_clips(rows, 10)
    assert len(rows) == 20
    assert benchmark.bare(rows)() == 10
    assert benchmark.pipeline(rows, 8000, 1.0)() == 10
    assert benchmark.pipeline(rows, 16000, 2.0)() == 10


def test_the_table_shows_each_variant_beside_bare_reading(benchmark, tones, capsys):
    speeds = benchmark.main(
        ["--manifest", str(tones / "train.json"), "--n_clip", "8", "--n_round", "2"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(speeds) == 5
    bare, ours, _ = speeds.values()
    assert lines[2].endswith("| 1.00 |")
    assert lines[3] == f"| pipeline, 8000 Hz, 1.00 s | {ours:.0f} | {ours / bare:.2f} |"
