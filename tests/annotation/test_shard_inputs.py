"""Shards as input of ``pengi annotate`` and ``pengi ask``: the answers of the files."""

import json
import os
import tarfile

import pytest

from pengi_plugin.__main__ import main as pengi
from pengi_plugin.annotation.output import read_part
from pengi_plugin.commands.annotate import recordings_of
from pengi_plugin.data.sharding import Options, shard_manifests
from pengi_plugin.inference import AudioLanguageModel

PROMPT = "what is it?"


@pytest.fixture(scope="module")
def sharded(archive, tmp_path_factory):
    """Return a folder of shards of the good files, and each file's reference."""
    manifests = tmp_path_factory.mktemp("manifests")
    row = {"duration": 1.0, "task": "captioning", "caption": "tone"}
    files = [path for path in sorted(archive.glob("*.wav")) if len(path.stem) == 2]
    rows = {path.stem: {"wav": str(path), **row} for path in files}
    (manifests / "test.json").write_text(json.dumps(rows))
    folder = tmp_path_factory.mktemp("sharded") / "out"
    shard_manifests(manifests, folder, Options(1 << 18))
    rows = json.loads((folder / "test.json").read_text()).values()
    pairs = {r["original"]: r["wav"].format(data_root=folder) for r in rows}
    return folder, pairs


def answers_in(folder):
    rows = [row for path in sorted(folder.glob("part-*")) for row in read_part(path)]
    assert all(row["error"] is None for row in rows)
    keys = ("start", "end", "answer", "score")
    found = {}
    for row in rows:
        found.setdefault(row["path"], []).append([row[key] for key in keys])
    return found


def test_shards_are_annotated_as_their_files_are(
    sharded, archive, tiny_folder, tmp_path, capsys
):
    folder, pairs = sharded
    (tmp_path / "list").write_text("\n".join(pairs))
    sources = {"files": tmp_path / "list", "shards": folder}
    for name, source in sources.items():
        words = ["annotate", str(tiny_folder), str(source), str(tmp_path / name)]
        assert pengi([*words, "--prompts", PROMPT, "--batch-size", "1"]) == 0
    assert len(list(folder.glob("*.tar"))) > 1
    expected, found = answers_in(tmp_path / "files"), answers_in(tmp_path / "shards")
    assert found == {pairs[path]: rows for path, rows in expected.items()}


def test_ask_answers_about_a_clip_in_a_shard(sharded, tiny_folder, capsys):
    path, reference = next(iter(sharded[1].items()))
    assert pengi(["ask", str(tiny_folder), PROMPT, reference, path]) == 0
    (first, answer), (second, same) = (
        line.split("\t") for line in capsys.readouterr().out.splitlines()
    )
    assert (first, second) == (reference, path)
    assert answer == same
    gone = reference.replace("000000_000000", "000000_009999")
    assert pengi(["ask", str(tiny_folder), PROMPT, gone]) == 1
    assert "There is no clip 000000_009999" in capsys.readouterr().err


def test_a_model_hears_the_same_clip(sharded, tiny_folder):
    model = AudioLanguageModel.from_hparams(tiny_folder, run_opts={"device": "cpu"})
    for path, reference in sharded[1].items():
        assert model.load_clip(reference).equal(model.load_clip(path))
        assert model.load_audio(reference).equal(model.load_audio(path))


def test_a_folder_of_any_tars_and_one_tar_are_inputs(archive, tmp_path):
    files = sorted(archive.glob("*.wav"))
    for name, some in (("b/1.tar", files[:3]), ("a.tar", files[3:5])):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with tarfile.open(tmp_path / name, "w") as tar:
            for path in some:
                tar.add(path, path.name)
                tar.add(__file__, f"{path.stem}.json")
    expected = [f"{tmp_path}/a.tar::{path.name}" for path in files[3:5]]
    assert recordings_of(str(tmp_path / "a.tar")) == expected
    expected += [f"{tmp_path}/b/1.tar::{path.name}" for path in files[:3]]
    assert recordings_of(str(tmp_path)) == expected
    os.link(files[0], tmp_path / "loose.wav")
    assert recordings_of(str(tmp_path)) == [f"{tmp_path}/loose.wav"]


def test_a_tar_without_recordings_or_that_is_compressed_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(__file__, "notes.txt")
    with pytest.raises(ValueError, match=r"no recording in .*a\.tar"):
        recordings_of(str(tmp_path))
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        tar.add(__file__, "x.wav")
    with pytest.raises(ValueError, match=r"a\.tar is no uncompressed tar"):
        recordings_of(str(tmp_path / "a.tar"))
