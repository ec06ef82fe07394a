"""References to clips in shards in, the samples of the files that were stored out."""

import io
import multiprocessing
import os
import random
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from pengi_plugin.data import shards
from pengi_plugin.data.audio import (
    Recording,
    open_audio,
    read_clip,
    read_recording,
    read_windows,
)
from pengi_plugin.data.batch import PairBatch
from pengi_plugin.data.check import check_folder
from pengi_plugin.data.dataset import ClipDataset, make_sampler
from pengi_plugin.data.file_state import file_state
from pengi_plugin.data.manifest import check_audio, read_manifest
from pengi_plugin.data.overlap import HeldOut, find_overlaps
from pengi_plugin.data.sharding import Options, shard_manifests
from tests.data.archive import RATE, write_archive
from tests.doubles import Letters

SMALL = 1 << 16


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module", params=[None, "flac", "wav"])
def sharded(archive, tmp_path_factory, request):
    """Return a folder of shards of each format that loses nothing."""
    folder = tmp_path_factory.mktemp("sharded") / "out"
    shard_manifests(archive, folder, Options(SMALL, request.param))
    return folder


@pytest.fixture
def copy(archive, tmp_path):
    """Return a folder of shards to be damaged, and a reference to a clip in it."""
    folder = tmp_path / "out"
    shard_manifests(archive, folder, Options(1 << 20))
    row = read_manifest(folder / "birds" / "train.json", "birds")["birds/7_a"]
    return folder, row["wav"]


def pairs_of(archive, folder):
    """Return each file of the archive that is stored, and its reference."""
    rows = read_manifest(folder / "birds" / "train.json", "birds").values()
    return {row["original"]: row["wav"] for row in rows}


def test_every_reader_hears_the_same_samples_from_a_shard(archive, sharded):
    pairs = pairs_of(archive, sharded)
    assert len(pairs) == 23
    for path, reference in pairs.items():
        for rate in (RATE, 11025):
            whole = read_recording(path, rate)
            assert read_recording(reference, rate).equal(whole)
            for offset in (0.0, 0.3, 1.0):
                clip = read_clip(path, rate, 4000, offset)
                assert read_clip(reference, rate, 4000, offset).equal(clip)
            windows = zip(
                read_windows(path, rate, 3000),
                read_windows(reference, rate, 3000),
                strict=True,
            )
            for (start, wav), (other, same) in windows:
                assert start == other
                assert same.equal(wav)
        assert check_audio(reference)[1] == ""
        assert check_audio(reference)[0] == check_audio(path)[0]


def test_training_draws_the_same_clips_crops_and_rows_from_shards(archive, sharded):
    def epochs(folder, n_worker):
        rows = dict(read_manifest(folder / "birds" / "train.json", "birds"))
        rows |= read_manifest(
            folder / "rain" / f"train.{'csv' if folder is archive else 'json'}", "rain"
        )
        rows = {key: row for key, row in rows.items() if "/4_" not in key}
        dataset = ClipDataset(
            *(rows, 11025, 0.5, Letters(), "z"),
            pairs_per_clip=1,
            random_crop=True,
        )
        sampler = make_sampler(dataset, {"birds": 1.0, "rain": 1.0}, seed=3)
        for epoch in (1, 2):
            dataset.set_epoch(epoch)
            sampler.set_epoch(epoch)
            loader = DataLoader(
                *(dataset, 4),
                sampler=sampler,
                collate_fn=PairBatch,
                num_workers=n_worker,
            )
            yield from loader

    expected = list(epochs(archive, 0))
    for n_worker in (0, 2):
        batches = list(epochs(sharded, n_worker))
        for batch, other in zip(expected, batches, strict=True):
            assert batch.wav.data.equal(other.wav.data)
            assert batch.id == other.id
            assert batch.clip_index.equal(other.clip_index)


def test_a_crop_reads_a_small_part_of_a_long_clip(tmp_path, monkeypatch):
    folder = tmp_path / "m"
    folder.mkdir()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 400)
    for suffix in ("wav", "flac"):
        soundfile.write(folder / f"long.{suffix}", noise, 8000)
    row = '"duration": 400, "task": "captioning", "caption": "noise"'
    rows = [f'"{s}": {{"wav": "long.{s}", {row}}}' for s in ("wav", "flac")]
    (folder / "train.json").write_text("{" + ", ".join(rows) + "}")
    shard_manifests(folder, tmp_path / "out", Options())
    n_read = []
    read_at = shards.Shard.read_at

    def counted(shard, start, n_byte):
        n_read.append(n_byte)
        return read_at(shard, start, n_byte)

    monkeypatch.setattr(shards.Shard, "read_at", counted)
    for row in read_manifest(tmp_path / "out" / "train.json", "m").values():
        n_read.clear()
        clip = read_clip(row["wav"], 8000, 8000, 0.7)
        assert sum(n_read) < 0.2 * shards.open_member(row["wav"]).raw._size
        assert clip.equal(read_clip(row["original"], 8000, 8000, 0.7))


def test_a_process_keeps_few_shards_open_and_threads_hear_the_right_clips(
    archive, sharded, monkeypatch
):
    pairs = list(pairs_of(archive, sharded).items())
    expected = {path: read_recording(path, RATE) for path, _ in pairs}
    few = shards.lru_cache(maxsize=2)(shards._open_shard.__wrapped__)
    monkeypatch.setattr(shards, "_open_shard", few)
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    draw = random.Random(0)

    def read(_):
        path, reference = draw.choice(pairs)
        return path, read_recording(reference, RATE)

    with ThreadPoolExecutor(8) as pool:
        for path, wav in pool.map(read, range(400)):
            assert wav.equal(expected[path])
    assert few.cache_info().misses > 20
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_a_shard_is_opened_once_in_a_process_and_again_in_a_forked_one(copy):
    def tell(reference, pipe):
        opened = shards.open_shard(shards.split_reference(reference)[0])
        pipe.send((id(opened), read_recording(reference, RATE).sum().item()))

    path = shards.split_reference(copy[1])[0]
    shard = shards.open_shard(path)
    assert shards.open_shard(path) is shard
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=tell, args=(copy[1], there)
    )
    process.start()
    other, total = here.recv()
    process.join()
    assert other != id(shard)
    assert total == read_recording(copy[1], RATE).sum().item()


def test_a_shard_that_was_replaced_is_read_anew(copy, archive):
    path = Path(shards.split_reference(copy[1])[0])
    before = read_recording(copy[1], RATE)
    index = path.with_suffix(".npy")
    content = path.read_bytes(), index.read_bytes()
    path.write_bytes(content[0][:10240])
    with pytest.raises(ValueError, match=r"train-000000\.tar is truncated"):
        read_recording(copy[1], RATE)
    path.write_bytes(content[0])
    assert read_recording(copy[1], RATE).equal(before)


def test_a_member_or_shard_that_is_not_there_is_missing(copy):
    _, reference = copy
    gone = reference.replace("bird_7", "bird_77")
    with pytest.raises(FileNotFoundError, match=r"no clip .*bird_77\.wav in .*\.tar"):
        read_recording(gone, RATE)
    other = reference.replace("train-000000", "train-000009")
    with pytest.raises(FileNotFoundError, match=r"no shard .*train-000009\.tar"):
        read_recording(other, RATE)
    for path in (gone, other):
        assert file_state(path) is None
        assert check_audio(path) == (0.0, "missing")
    assert file_state(reference)[0] > 1000


def test_a_data_set_names_a_shard_that_is_damaged_before_it_is_read(copy):
    folder, reference = copy
    path = Path(shards.split_reference(reference)[0])
    rows = read_manifest(folder / "birds" / "train.json", "birds")
    os.truncate(path, path.stat().st_size - 20480)
    with pytest.raises(ValueError, match=f"{path} is truncated.* same pengi shard"):
        ClipDataset(rows, RATE, 0.5, Letters(), "z")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="23 of 23 audio files are missing"):
        ClipDataset(rows, RATE, 0.5, Letters(), "z")


def test_another_shards_index_is_found_out(copy):
    folder, reference = copy
    path = Path(shards.split_reference(reference)[0])
    os.replace(folder / "birds" / "test-000000.tar", path)
    index = np.load(path.with_suffix(".npy"))
    content = path.read_bytes()
    path.write_bytes(
        content + bytes(int(index["offset"].max()) // 10240 * 10240 + 1024000)
    )
    with pytest.raises(ValueError, match="altered, or the index is another shard's"):
        read_recording(reference, RATE)


def test_a_byte_that_was_changed_is_found_by_the_check(copy):
    folder, reference = copy
    path, member = shards.split_reference(reference)
    row = shards.open_shard(path).find(member)
    assert check_folder(folder).faults == []
    with open(path, "rb+") as file:
        file.seek(int(row["offset"] + row["size"]) - 3)
        file.write(b"\x55")
    (fault,) = check_folder(folder).faults
    assert fault.kind == "altered"
    assert fault.name == reference
    assert "SHA-256" in fault.message


def test_a_damaged_index_is_named(copy):
    path = Path(shards.split_reference(copy[1])[0]).with_suffix(".npy")
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(ValueError, match=rf"index {path} is damaged .*pengi shard"):
        shards.Shard(str(path.with_suffix(".tar")))
    np.save(path, np.zeros(3))
    with pytest.raises(ValueError, match=rf"index {path} has the columns None"):
        shards.Shard(str(path.with_suffix(".tar")))


def test_bytes_that_cannot_be_read_are_an_error_and_not_the_end(copy, monkeypatch):
    read_at = shards._Local.read_at
    reference = copy[1]
    path, member = shards.split_reference(reference)
    row = shards.open_shard(path).find(member)
    middle = int(row["offset"] + row["size"] // 2)

    def failing(local, start, n_byte):
        if start <= middle < start + n_byte:
            raise OSError("the disk is gone")
        return read_at(local, start, n_byte)

    monkeypatch.setattr(shards._Local, "read_at", failing)
    monkeypatch.setattr(shards._Local, "buffer_size", 4096)
    shards._open_shard.cache_clear()
    with pytest.raises(
        ValueError, match=r"bird_7\.wav cannot be read: the disk is gone"
    ):
        read_recording(reference, RATE)
    monkeypatch.setattr(shards._Local, "read_at", lambda local, start, n: b"")
    with pytest.raises(ValueError, match="gave 0 of 512 bytes"):
        read_recording(reference, RATE)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_any_tar_is_read_without_an_index(tmp_path, form):
    path = tmp_path / "any.tar"
    names = ["b.wav", "sub/a.flac", "long" * 60 + "é.wav", "notes.txt"]
    wavs = {}
    with tarfile.open(path, "w", format=form) as tar:
        for n, name in enumerate(names):
            data = io.BytesIO()
            wavs[name] = np.full(1000 + n, 0.1 * n, dtype=np.float32)
            kind = "FLAC" if name.endswith("flac") else "WAV"
            soundfile.write(data, wavs[name], RATE, format=kind)
            info = tarfile.TarInfo(name)
            info.size = len(data.getvalue())
            data.seek(0)
            tar.addfile(info, data)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    references = shards.members_of(path)
    assert {shards.split_reference(each)[1] for each in references} == set(names)
    for reference in references:
        expected = wavs[shards.split_reference(reference)[1]]
        assert np.allclose(read_recording(reference, RATE), expected, atol=2**-14)
    os.truncate(path, path.stat().st_size - 15000)
    with pytest.raises(ValueError, match=r"any\.tar is no uncompressed tar, or is dam"):
        shards.members_of(path)


def test_a_url_is_read_in_ranges_by_fsspec(copy, monkeypatch):
    fsspec = pytest.importorskip("fsspec", reason="URLs need fsspec")
    folder, reference = copy
    path, member = shards.split_reference(reference)
    files = fsspec.filesystem("memory")
    for suffix in ("tar", "npy"):
        files.pipe(
            f"/bucket/a.{suffix}", Path(path).with_suffix(f".{suffix}").read_bytes()
        )
    url = f"memory://bucket/a.tar::{member}"
    assert read_recording(url, 11025).equal(read_recording(reference, 11025))
    assert read_clip(url, RATE, 500, 0.5).equal(read_clip(reference, RATE, 500, 0.5))
    assert file_state(url)[0] == file_state(reference)[0]
    assert shards.open_shard("memory://bucket/a.tar").is_indexed
    manifest = (folder / "birds" / "train.json").read_text()
    manifest = manifest.replace("{data_root}/train-000000.tar", "memory://bucket/a.tar")
    (folder / "birds" / "train.json").write_text(manifest)
    rows = read_manifest(folder / "birds" / "train.json", "birds")
    assert rows["birds/7_a"]["wav"] == url
    with monkeypatch.context() as patch:
        patch.setattr(type(files), "cat_file", lambda *_, **__: b"")
        with pytest.raises(ValueError, match="gave 0 of 512 bytes"):
            read_recording(url, RATE)
    files.rm("/bucket/a.tar")
    shards._open_shard.cache_clear()
    with pytest.raises(FileNotFoundError, match="no shard memory://bucket/a"):
        read_recording(url, RATE)


def test_a_url_without_a_package_that_reads_it_says_so():
    pytest.importorskip("fsspec", reason="URLs need fsspec")
    with pytest.raises(ValueError, match=r"nosuch://b/a\.tar cannot be opened"):
        shards.open_shard("nosuch://b/a.tar")


def test_a_test_clip_is_known_whether_it_is_named_in_a_shard_or_as_a_file(
    copy, archive
):
    loose = read_manifest(archive / "birds" / "train.json", "birds")
    stored = read_manifest(copy[0] / "birds" / "train.json", "birds")
    for train, test in ((loose, stored), (stored, loose), (stored, stored)):
        held_out = HeldOut()
        held_out.add([test["birds/7_a"]], "test")
        found = {[*train][place] for place in find_overlaps(train, held_out)}
        assert found == {"birds/7_a", "birds/7_b"}


def test_the_bytes_of_a_clip_are_those_of_its_file(copy):
    folder, reference = copy
    row = read_manifest(folder / "birds" / "train.json", "birds")["birds/7_a"]
    with open_audio(reference) as file:
        assert file.read(3) == b"RIF"
        assert file.read() == Path(row["original"]).read_bytes()[3:]
        file.seek(-4, os.SEEK_END)
        assert file.read(10) == Path(row["original"]).read_bytes()[-4:]
    with Recording(reference, None) as recording:
        assert recording.rate == RATE
    assert torch.is_tensor(read_recording(reference, RATE))
