"""A training from shards: bit by bit the one from files."""

import re

import torch

from pengi_plugin.data.sharding import Options, shard_manifests


def test_a_run_on_shards_ends_with_the_weights_and_table_of_one_on_files(
    main, make_arguments, tones, tmp_path
):
    shard_manifests(tones, tmp_path / "shards", Options(1 << 17, "flac"))
    folders = {"files": tones, "shards": tmp_path / "shards"}
    found = {}
    for name, folder in folders.items():
        options = {"folder": folder, "number_of_epochs": 1, "pairs_per_clip": 1}
        table = main(make_arguments(tmp_path / name, **options))
        log = (tmp_path / name / "train_log.txt").read_text()
        (path,) = (tmp_path / name / "save").glob("CKPT*/pengi.ckpt")
        weights = torch.load(path, weights_only=True)
        scores = [(line["group"], line["score"]) for line in table]
        found[name] = re.findall(r"loss: ([\d.e+-]+)", log), scores, weights
    losses, scores, weights = found["shards"]
    assert losses == found["files"][0]
    assert scores == found["files"][1]
    assert weights.keys() == found["files"][2].keys()
    assert all(weights[key].equal(found["files"][2][key]) for key in weights)
