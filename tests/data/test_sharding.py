"""Manifests in, shards out: every clip once, whatever is killed, and when."""

import csv
import io
import json
import multiprocessing
import os
import random
import signal
import tarfile
import threading
import time

import numpy as np
import pytest
import soundfile

from pengi_plugin.__main__ import main as pengi
from pengi_plugin.data import sharding
from pengi_plugin.data.audio import read_recording
from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.data.sharding import Options, shard_manifests
from pengi_plugin.data.shards import split_reference
from tests.data.archive import write_archive

SMALL = Options(shard_size=1 << 16, format="flac")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def sharded(archive, tmp_path_factory):
    """Return the folder of shards, what was counted, and what was left out."""
    folder = tmp_path_factory.mktemp("sharded") / "out"
    return folder, *shard_manifests(archive, folder, SMALL)


def contents(folder):
    """Return the name of each file of a folder -> its bytes, without the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock" and path.suffix != ".arrow"
    }


def test_every_row_is_there_but_those_of_a_bad_clip_and_reads_the_same_samples(
    archive, sharded
):
    folder, count, left_out = sharded
    n_row = 0
    for name, suffix in (
        ("birds/train", "json"),
        ("birds/test", "json"),
        ("rain/train", "csv"),
    ):
        corpus = name.split("/")[0]
        before = dict(read_manifest(archive / f"{name}.{suffix}", corpus))
        after = read_manifest(folder / f"{name}.json", corpus)
        bad = {"birds/4_a", "birds/4_b"}
        assert list(after) == [key for key in before if key not in bad]
        n_row += len(after)
        for key, row in after.items():
            assert row.pop("original") == before[key]["wav"]
            heard = read_recording(row.pop("wav"), 11025)
            assert heard.equal(read_recording(before[key].pop("wav"), 11025))
            assert row == before[key]
    assert count.rows == n_row == 48
    assert left_out == [
        (
            "birds/train",
            str(archive / "birds" / "bird 4.wav"),
            "not readable: Format not recognised.",
        )
    ]
    lines = list(csv.reader((folder / "left_out.csv").open()))
    assert lines == [["manifest", "wav", "reason"], *map(list, left_out)]


def test_a_clip_is_stored_once_however_many_rows_and_manifests_name_it(
    archive, sharded
):
    folder, count, _ = sharded
    assert not list(folder.glob("rain/*.tar"))
    (shared,) = read_manifest(folder / "rain" / "train.json", "rain").values()
    birds = read_manifest(folder / "birds" / "train.json", "birds")
    assert os.path.samefile(
        split_reference(shared["wav"])[0], split_reference(birds["birds/1_a"]["wav"])[0]
    )
    names = [name for path in folder.rglob("*.tar") for name in members(path)]
    audio = [name for name in names if not name.endswith(".json")]
    assert len(audio) == count.clips == 24  # 23 of train, one of test


def test_shards_have_the_layout_of_webdataset_and_their_size(sharded):
    folder, count, _ = sharded
    paths = sorted(folder.rglob("*.tar"))
    assert len(paths) == count.shards > 5
    assert sum(path.stat().st_size for path in paths) == count.n_byte
    rows = json.loads((folder / "birds" / "train.json").read_text())
    for path in paths:
        index = np.load(path.with_suffix(".npy"))
        found = members(path)
        assert path.stat().st_size <= 1 << 16 or len(found) == 2
        names = list(found)
        for audio, beside, entry in zip(names[::2], names[1::2], index, strict=True):
            key, _, suffix = audio.partition(".")
            assert beside == f"{key}.json"
            assert entry["member"].decode() == audio
            offset, data = found[audio]
            assert (entry["offset"], entry["size"]) == (offset, len(data))
            start = {"flac": b"fLaC", "ogg": b"OggS", "wav": b"RIFF"}[suffix]
            assert data.startswith(start)
            info = soundfile.info(io.BytesIO(data))
            assert entry["frames"] == info.frames
            assert entry["sample_rate"] == info.samplerate == 8000
            about = json.loads(found[beside][1])
            for row in about["rows"] if path.name.startswith("train") else ():
                expected = dict(rows[row.pop("id")])
                assert expected.pop("wav").endswith(f"{path.name}::{audio}")
                del expected["original"]
                assert row == expected


def members(path):
    """Return each member of a tar, in order -> its first byte and its bytes."""
    with tarfile.open(path) as tar:
        return {
            member.name: (member.offset_data, tar.extractfile(member).read())
            for member in tar
        }


def test_the_number_of_workers_changes_nothing(archive, sharded, tmp_path):
    again = shard_manifests(archive, tmp_path / "out", SMALL, n_worker=5)
    assert again == sharded[1:]
    assert contents(tmp_path / "out") == contents(sharded[0])


def test_what_is_done_is_not_done_again(archive, sharded, monkeypatch):
    monkeypatch.setattr(sharding, "encode", lambda *_: pytest.fail("encoded again"))
    before = contents(sharded[0])
    assert shard_manifests(archive, sharded[0], SMALL) == sharded[1:]
    assert contents(sharded[0]) == before


@pytest.mark.parametrize(
    "n_kill", [8, pytest.param(60, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_killed_at_random_it_ends_with_the_same_bytes(
    archive, sharded, tmp_path, n_kill
):
    draw, folder, n_killed = random.Random(0), tmp_path / "0", 0
    for n in range(n_kill):
        before = set(folder.rglob("*"))
        process = start(archive, folder, pause=0.02)
        while process.is_alive() and not set(folder.rglob("*")) - before:
            time.sleep(0.001)
        time.sleep(draw.random() * draw.choice((0.0, 0.02, 0.2)))
        process.kill()
        process.join()
        n_killed += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:
            assert contents(folder) == contents(sharded[0])
            folder = tmp_path / str(n + 1)
    assert n_killed > n_kill // 2
    shard_manifests(archive, folder, SMALL)
    assert contents(folder) == contents(sharded[0])


def start(manifests, folder, pause):
    """Write the shards in a process of its own, a clip every ``pause`` seconds."""
    process = multiprocessing.get_context("fork").Process(
        target=shard_slowly, args=(manifests, folder, pause)
    )
    process.start()
    return process


def shard_slowly(manifests, folder, pause):
    sharding.tqdm.set_lock(threading.RLock())  # else it is shared, and dies held
    encode = sharding.encode

    def slowly(*arguments):
        time.sleep(pause)
        return encode(*arguments)

    sharding.encode = slowly
    shard_manifests(manifests, folder, SMALL, n_worker=2)


def test_a_shard_that_was_deleted_is_written_again(archive, sharded, tmp_path):
    shard_manifests(archive, tmp_path / "out", SMALL)
    for suffix in ("tar", "npy"):
        (tmp_path / "out" / "birds" / f"train-000001.{suffix}").unlink()
    shard_manifests(archive, tmp_path / "out", SMALL)
    assert contents(tmp_path / "out") == contents(sharded[0])


def test_a_truncated_shard_is_named_with_what_to_do(archive, tmp_path):
    shard_manifests(archive, tmp_path / "out", SMALL)
    path = tmp_path / "out" / "birds" / "train-000002.tar"
    for n_cut in (1, 20000):
        os.truncate(path, path.stat().st_size - n_cut)
        with pytest.raises(
            ValueError, match=f"{path} is truncated.* delete it and its"
        ):
            shard_manifests(archive, tmp_path / "out", SMALL)
    path.unlink()
    with pytest.raises(ValueError, match=f"There is no shard {path}.* Its index is"):
        shard_manifests(archive, tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            {"shard_size": 1 << 17, "format": "flac"},
            "shard_size: 65536 then, 131072 now",
        ),
        ({"shard_size": 1 << 16}, "format: 'flac' then, None now"),
        (
            {"shard_size": 1 << 16, "format": "flac", "sample_rate": 8000},
            "sample_rate: None then, 8000 now",
        ),
    ],
)
def test_other_options_in_the_same_folder_are_refused(archive, sharded, options, named):
    with pytest.raises(ValueError, match=f"shards of other arguments .*{named}"):
        shard_manifests(archive, sharded[0], Options(**options))


def test_a_changed_manifest_in_the_same_folder_is_refused(tmp_path):
    archive = write_archive(tmp_path / "archive", 6)
    shard_manifests(archive, tmp_path / "out", SMALL)
    path = archive / "birds" / "test.json"
    path.write_text(path.read_text().replace('"held"', '"other"'))
    with pytest.raises(ValueError, match=r"manifest birds/test\.json: '.*' then"):
        shard_manifests(archive, tmp_path / "out", SMALL)
    path.unlink()
    with pytest.raises(ValueError, match=r"birds/test\.json: '.*' then, None now"):
        shard_manifests(archive, tmp_path / "out", SMALL)


def test_a_disk_that_has_gone_ends_the_command_and_it_goes_on_later(tmp_path):
    archive = write_archive(tmp_path / "archive", 24)
    (archive / "birds").rename(tmp_path / "away")
    (archive / "birds").mkdir()
    for name in ("train.json", "test.json"):
        (archive / "birds" / name).write_bytes((tmp_path / "away" / name).read_bytes())
    with pytest.raises(FileNotFoundError, match="10 files one behind the other are"):
        shard_manifests(archive, tmp_path / "out", SMALL)
    for path in (tmp_path / "away").iterdir():
        path.rename(archive / "birds" / path.name)
    count, left_out = shard_manifests(archive, tmp_path / "out", SMALL)
    assert (count.clips, len(left_out)) == (24, 1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda m, o: (o.mkdir(), (o / "thesis").touch()),
            FileExistsError,
            "thesis and no",
        ),
        (lambda m, o: (m / "birds/train.json").unlink(), None, None),
    ],
)
def test_a_folder_with_other_files_is_refused(tmp_path, make, error, message):
    archive, out = write_archive(tmp_path / "archive", 6), tmp_path / "out"
    make(archive, out)
    if error is None:
        assert shard_manifests(archive, out, SMALL)[0].clips == 2
    else:
        with pytest.raises(error, match=message):
            shard_manifests(archive, out, SMALL)


def test_what_cannot_be_is_refused(archive, sharded, tmp_path):
    with pytest.raises(ValueError, match="in the folder of the manifests"):
        shard_manifests(archive, archive / "out", SMALL)
    with pytest.raises(ValueError, match="names a clip in a shard already"):
        shard_manifests(sharded[0], tmp_path / "again", SMALL)
    with pytest.raises(ValueError, match="workers must be at least 1; got 0"):
        shard_manifests(archive, tmp_path / "new", SMALL, n_worker=0)
    with pytest.raises(ValueError, match="shard_size must be at least 65536 bytes"):
        Options(shard_size=1000)


def test_the_command_prints_what_is_stored_and_lists_what_is_not(
    archive, tmp_path, capsys
):
    words = ["shard", str(archive), str(tmp_path / "out"), "--workers", "1"]
    status = pengi([*words, "--shard-size", "64KiB", "--sample-rate", "4000"])
    out, err = capsys.readouterr()
    assert status == 1
    assert out.startswith(f"{tmp_path}/out: 24 clips in ")
    assert f"birds/train: {archive}/birds/bird 4.wav: not readable" in err
    assert "1 clips are in no shard" in err
    row = read_manifest(tmp_path / "out" / "birds" / "train.json", "b")["b/3_a"]
    assert row["wav"].endswith("bird_3.flac")
    expected = read_recording(row["original"], 4000)
    assert (read_recording(row["wav"], 4000) - expected).abs().max() < 2**-23


def test_a_bad_clip_where_a_shard_ends_is_encoded_once_and_belongs_to_the_next(
    tmp_path, monkeypatch
):
    rows, encoded = {}, []
    draw = np.random.default_rng(0)
    folder = tmp_path / "m"
    folder.mkdir()
    for n in range(9):
        path = folder / f"{n}.wav"
        soundfile.write(path, draw.uniform(-1, 1, 12000), 8000)  # two fit in a shard
        if n % 3 == 2:
            path.write_text("no audio")
        row = {"wav": path.name, "duration": 1.5, "task": "captioning"}
        rows[str(n)] = {**row, "caption": "noise"}
    (folder / "train.json").write_text(json.dumps(rows))
    encode = sharding.encode
    monkeypatch.setattr(
        sharding,
        "encode",
        lambda path, *rest: encoded.append(path) or encode(path, *rest),
    )
    count, left_out = shard_manifests(folder, tmp_path / "out", Options(1 << 16))
    assert (count.clips, count.shards, len(left_out)) == (6, 3, 3)
    assert sorted(encoded) == [str(folder / f"{n}.wav") for n in range(9)]
    starts = [
        np.load(path)["clip"].tolist() for path in sorted(tmp_path.glob("out/*.npy"))
    ]
    assert starts == [[0, 1], [3, 4], [6, 7]]


def write_noise(path):
    noise = 0.2 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(path, noise, 8000, "PCM_16")


@pytest.mark.parametrize(
    ("is_bad_at_first", "message"),
    [(False, r"3\.wav is in two shards"), (True, r"3\.wav is in no shard")],
)
def test_a_shard_written_again_with_other_clips_is_refused(
    tmp_path, is_bad_at_first, message
):
    paths = [tmp_path / "in" / f"{n}.wav" for n in range(12)]
    paths[0].parent.mkdir()
    for path in paths:
        write_noise(path)
    row = {"task": "captioning", "caption": "x", "duration": 1.0}
    rows = {path.stem: {"wav": path.name, **row} for path in paths}
    (tmp_path / "in" / "train.json").write_text(json.dumps(rows))
    bad, out = paths[1], tmp_path / "out"
    if is_bad_at_first:
        bad.write_text("no audio")
    shard_manifests(tmp_path / "in", out, Options(shard_size=1 << 16))
    bad.unlink()
    if is_bad_at_first:
        write_noise(bad)
    else:
        bad.write_text("no audio")
    for suffix in ("tar", "npy"):
        (out / f"train-000000.{suffix}").unlink()
    with pytest.raises(ValueError, match=message):
        shard_manifests(tmp_path / "in", out, Options(shard_size=1 << 16))
    for path in [*out.glob("train-*.tar"), *out.glob("train-*.npy")]:
        if "-000000." not in path.name:
            path.unlink()
    count, _ = shard_manifests(tmp_path / "in", out, Options(shard_size=1 << 16))
    assert count.clips == count.rows == (12 if is_bad_at_first else 11)
