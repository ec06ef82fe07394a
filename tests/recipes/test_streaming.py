"""What the documentation shows of webdataset reads the tars of ``pengi shard``."""

import re

import pytest
import torch

from pengi_plugin.data.audio import read_clip
from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.data.sharding import Options, shard_manifests


def test_the_documented_stream_has_every_clip_and_its_rows(
    root, tones, tmp_path, monkeypatch
):
    pytest.importorskip("webdataset", reason="the stream needs webdataset")
    text = (root / "recipes" / "multitask" / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (snippet,) = [each for each in snippets if "import webdataset" in each]
    monkeypatch.chdir(tmp_path)
    shard_manifests(tones, "shards", Options(180_000))
    assert len(list((tmp_path / "shards").glob("train-*.tar"))) == 3
    expected = {}
    for row in read_manifest(tones / "train.json", "tones").values():
        clip = expected.setdefault(
            row["wav"], (read_clip(row["wav"], 44100, 308700), [])
        )
        clip[1].append(row["task"])
    found = []
    code = compile(snippet, "README.md", "exec")
    exec(code, {"print": lambda shape, task: found.append((shape, task))})
    assert found == [(torch.Size([308700]), "captioning")] * len(expected)

    names = {}
    exec(
        snippet.replace(
            'print(wav.shape, rows[0]["task"])', "pairs.append((wav, rows))"
        ),
        names | {"pairs": (pairs := [])},
    )
    wavs = {row["id"]: (wav, rows) for wav, rows in pairs for row in rows}
    for row_id, row in read_manifest(tones / "train.json", "tones").items():
        wav, rows = wavs[row_id.removeprefix("tones/")]
        assert wav.equal(expected[row["wav"]][0])
        assert [each["task"] for each in rows] == expected[row["wav"]][1]
