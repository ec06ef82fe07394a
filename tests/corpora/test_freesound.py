import json

import pytest

from pengi_plugin.corpora.freesound import prepare_freesound

DESCRIPTION = "Rain &amp; wind.<br>\r\nMore at <a href='x'>http://x.org</a>"


def build(tmp_path, write_audio):
    folder = tmp_path / "freesound"

    def pair(name, number, texts, description="", tags=()):
        path = write_audio(folder / f"{name}.flac")
        page = {"id": number, "description": description, "tags": list(tags)}
        content = {"text": texts, "tag": list(tags), "original_data": page}
        path.with_suffix(".json").write_text(json.dumps(content))

    pair("train_1/0/mnt/1", 17, ["A rain", "Rain &amp; wind."], DESCRIPTION)
    pair("train_2/0/mnt/1", 18, ["bell_01"], "", ["bell", "metal"])
    pair("train_2/0/mnt/2", 117790, ["In Clotho", "Water."])
    pair("test/0/mnt/1", 19, ["", "A dog."])
    write_audio(folder / "test" / "0" / "mnt" / "alone.flac")
    (folder / "train_1" / "0" / "mnt" / "1.flac").touch()
    return folder


official = pytest.fixture(build)


def metadata(read_rows, folder, split):
    rows = read_rows(folder, split).values()
    return {row["source"]: row["metadata"] for row in rows}


def test_a_pair_is_a_row_by_its_number_at_freesound(official, tmp_path, read_rows):
    prepare_freesound(official, tmp_path / "m")
    assert metadata(read_rows, tmp_path / "m", "train") == {
        "freesound:17": "Rain & wind.",
        "freesound:18": "bell_01, bell, metal",
        "freesound:117790": "Water.",
    }
    assert read_rows(tmp_path / "m", "test") == {
        "19_metadata": {
            "wav": "{data_root}/test/0/mnt/1.flac",
            "duration": 0.05,
            "clip": "19",
            "source": "freesound:19",
            "task": "metadata",
            "metadata": "A dog.",
            "references": ["A dog."],
        }
    }


def test_lists_leave_clips_out_and_whole_descriptions_are_cleaned(
    official, tmp_path, read_rows
):
    prepare_freesound(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_freesound(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    (official / "blacklist_clotho.full.v2.csv").write_text("index,id\n0,117790\n")
    prepare_freesound(official, tmp_path / "m", text="description")
    assert metadata(read_rows, tmp_path / "m", "train") == {
        "freesound:17": "Rain & wind. More at",
        "freesound:18": "bell_01, bell, metal",
    }


def test_archives_that_were_not_extracted_are_refused(official, tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    (folder / "0.tar").write_text("")
    with pytest.raises(
        FileNotFoundError, match=r"no audio below .*taken out of \*\.tar"
    ):
        prepare_freesound(folder, tmp_path / "m")
    prepare_freesound(official / "test", tmp_path / "t")
    assert (tmp_path / "t" / "test.json").exists()
    assert not (tmp_path / "t" / "train.json").exists()
    for path in official.rglob("*.json"):
        path.unlink()
    with pytest.raises(ValueError, match=r"No audio file in .* has a JSON file"):
        prepare_freesound(official, tmp_path / "m")


def test_a_real_page_is_read(shared, tmp_path, write_audio, read_rows):
    page = shared / "corpora" / "samples" / "freesound" / "laion" / "282776.json"
    path = write_audio(tmp_path / "train_1" / "0" / "7.flac")
    path.with_suffix(".json").write_bytes(page.read_bytes())
    prepare_freesound(tmp_path, tmp_path / "m", text="description")
    (row,) = read_rows(tmp_path / "m", "train").values()
    assert row["source"] == "freesound:282776"
    assert row["metadata"].startswith("Single note sampled from an analog synthesizer")
    assert "Modular Samples. Modular Samples provides samples" in row["metadata"]
    assert not {"<", ">"} & set(row["metadata"])
    assert "http" not in row["metadata"]
