import csv

import pytest

from pengi_plugin.corpora.fma import CLASSES, prepare_fma, read_genres, read_tracks

GROUPS = ["", "album", "set", "set", *["track"] * 5]
NAMES = ["", "information", "split", "subset", "genre_top", "genres", "language_code"]
NAMES += ["license", "title"]
TRACKS = [
    [
        2,
        "<p>a,\nb</p>",
        "training",
        "small",
        "Folk",
        "[33, 17]",
        "en",
        "CC BY",
        'The "X"',
    ],
    [5, "", "validation", "small", "Rock", "[12]", "", "CC0", "Y"],
    [7, "", "test", "medium", "Rock", "[26]", "", "", "Z"],
    [100000, "", "training", "large", "", "[26, 33]", "", "", "Ü"],
    [100001, "", "training", "large", "", "[]", "", "", "no genre"],
]
GENRES = """\
genre_id,#tracks,parent,title,top_level
12,32923,0,Rock,12
17,12706,0,Folk,17
26,1952,12,Post-Rock,12
33,2267,17,Psych-Folk,17
"""


def build(tmp_path, write_audio):
    """Return the metadata and the folder of the large subset; a track is missing."""
    folder = tmp_path / "fma"
    (folder / "fma_metadata").mkdir(parents=True)
    (folder / "fma_metadata" / "genres.csv").write_text(GENRES)
    with (folder / "fma_metadata" / "tracks.csv").open(
        "w", newline="", encoding="utf-8"
    ) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([GROUPS, NAMES, ["track_id", *[""] * 8], *TRACKS])
    for number in (2, 7, 100000, 100001):
        name = f"{number:06d}"
        write_audio(folder / "fma_large" / name[:3] / f"{name}.mp3", 0.5)
    return folder


official = pytest.fixture(build)


def test_a_track_has_its_genres_with_the_roots_first(official, tmp_path, read_rows):
    prepare_fma(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "train")
    row = rows["000002_analysis"]
    assert 0.4 < row.pop("duration") < 0.7
    assert row == {
        "wav": "{data_root}/fma_large/000/000002.mp3",
        "clip": "000002",
        "language": "en",
        "track_licence": "CC BY",
        "genre": "Folk",
        "task": "music_analysis",
        "attributes": ["Folk", "Psych-Folk"],
    }
    # Its genres have two roots, so there is no single one; another has no genre.
    several = rows["100000_analysis"]
    assert several["attributes"] == ["Rock", "Folk", "Post-Rock", "Psych-Folk"]
    assert "genre" not in several
    assert len(rows) == 2


def test_a_subset_is_made_of_itself_and_the_smaller_ones(official, tmp_path, read_rows):
    (official / "fma_large").rename(official / "fma_medium")
    (official / "fma_small").mkdir()
    prepare_fma(official, tmp_path / "m")
    assert [*read_rows(tmp_path / "m", "train")] == ["000002_analysis"]
    assert [*read_rows(tmp_path / "m", "test")] == ["000007_analysis"]
    (official / "fma_small").rmdir()
    prepare_fma(official, tmp_path / "m", subset="small")
    assert read_rows(tmp_path / "m", "test") == {}
    lines = (tmp_path / "m" / "left_out.csv").read_text().splitlines()
    assert lines == ["wav,reason", "000005,missing"]


def test_a_file_without_audio_is_left_out(official, tmp_path, read_rows):
    path = official / "fma_large" / "000" / "000007.mp3"
    path.write_bytes(b"ID3")
    prepare_fma(official, tmp_path / "m")
    assert read_rows(tmp_path / "m", "test") == {}
    assert "000007.mp3,not readable" in (tmp_path / "m" / "left_out.csv").read_text()


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_fma(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_fma(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before


def test_a_wrong_folder_subset_and_table_are_refused(official, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no fma_metadata/tracks\.csv or tracks"
    ):
        prepare_fma(official / "fma_large", tmp_path / "m")
    with pytest.raises(ValueError, match=r"subset must be one of .* got 'tiny'"):
        prepare_fma(official, tmp_path / "m", subset="tiny")
    path = official / "fma_metadata" / "tracks.csv"
    path.write_text(path.read_text().replace("genre_top", "genre"))
    with pytest.raises(ValueError, match="no column track genre_top"):
        prepare_fma(official, tmp_path / "m")


def test_the_official_tables_are_read(shared):
    folder = shared / "corpora/samples/fma/fma_metadata"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    titles, roots = read_genres(folder / "genres.csv")
    assert len(titles) == 163
    assert sorted({titles[root] for root in roots.values()}) == CLASSES
    clips = read_tracks(folder / "tracks.csv", folder / "genres.csv", "full", {})
    assert len(clips) == 15
    rows = {clip.name: clip.rows["analysis"]["attributes"] for clip in clips}
    assert rows["000002"] == ["Hip-Hop"]
    # Genres 76 and 103 under the roots 10 and 17.
    assert rows["000020"] == ["Pop", "Folk", "Experimental Pop", "Singer-Songwriter"]
    small = read_tracks(folder / "tracks.csv", folder / "genres.csv", "small", {})
    assert {"000002", "000005"} <= {clip.name for clip in small}
    assert "000003" not in {clip.name for clip in small}
