import pytest

from pengi_plugin.corpora.gtzan import FILTERED, prepare_gtzan, read_lists

CLIPS = ["blues.00000", "hiphop.00099", "jazz.00054", "rock.00007"]


def build(tmp_path, write_audio):
    """Return a re-upload with three clips and a fourth that cannot be decoded."""
    folder = tmp_path / "Data"
    for name in CLIPS:
        write_audio(folder / "genres_original" / name.split(".")[0] / f"{name}.wav")
    (folder / "genres_original" / "jazz" / "jazz.00054.wav").write_text("no audio")
    return folder


original = pytest.fixture(build)


def test_a_clip_has_its_genre(original, tmp_path, read_rows):
    prepare_gtzan(original, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows["hiphop.00099_genre"] == {
        "wav": "{data_root}/genres_original/hiphop/hiphop.00099.wav",
        "duration": 0.05,
        "clip": "hiphop.00099",
        "task": "music_analysis",
        "attributes": ["hip hop"],
        "genre": "hip hop",
    }
    assert [row["genre"] for row in rows.values()] == ["blues", "hip hop", "rock"]
    left_out = (tmp_path / "m" / "left_out.csv").read_text()
    assert left_out.count(",missing") == 996
    assert "jazz.00054.wav,not readable" in left_out
    assert not (tmp_path / "m" / "train.json").exists()


def test_files_of_the_old_format_are_read(tmp_path, write_audio, read_rows):
    write_audio(tmp_path / "genres" / "pop" / "pop.00001.au")
    prepare_gtzan(tmp_path, tmp_path / "m")
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert row["wav"] == "{data_root}/genres/pop/pop.00001.au"


def test_lists_make_splits(original, tmp_path, read_rows):
    prepare_gtzan(original, tmp_path / "m")
    lists = tmp_path / "lists"
    lists.mkdir()
    for split, names in (
        ("train", "blues/blues.00000.wav\r\njazz/jazz.00054.wav\r\n"),
        ("valid", "rock/rock.00007.wav\n"),
        ("test", "hiphop/hiphop.00099.wav\nhiphop/hiphop.00098.wav"),
    ):
        (lists / f"{split}_filtered.txt").write_bytes(names.encode())
    prepare_gtzan(original, tmp_path / "m", lists=lists)
    assert {split: [*read_rows(tmp_path / "m", split)] for split in FILTERED} == {
        "train": ["blues.00000_genre"],
        "valid": ["rock.00007_genre"],
        "test": ["hiphop.00099_genre"],
    }
    (lists / "valid_filtered.txt").write_text("blues/blues.00000.wav")
    with pytest.raises(ValueError, match=r"names 'blues/blues\.00000\.wav', which"):
        prepare_gtzan(original, tmp_path / "other", lists=lists)
    (lists / "valid_filtered.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no valid_filtered\.txt in"):
        prepare_gtzan(original, tmp_path / "other", lists=lists)


def test_a_second_preparation_does_nothing(original, tmp_path):
    prepare_gtzan(original, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_gtzan(original, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


def test_a_folder_of_other_files_is_refused(tmp_path, write_audio):
    write_audio(tmp_path / "polka" / "polka.00000.wav")
    with pytest.raises(
        FileNotFoundError, match=r"genres/blues/blues\.00000\.wav and so"
    ):
        prepare_gtzan(tmp_path, tmp_path / "m")


def test_the_published_lists_are_read(shared):
    folder = shared / "corpora/samples/gtzan"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    genres = {line.split("/")[0] for line in (folder / "test_filtered.txt").open()}
    expected = {f"{genre}.{n:05d}" for genre in genres for n in range(100)}
    splits = [*read_lists(folder, expected).values()]
    assert {split: splits.count(split) for split in FILTERED} == FILTERED
