import pytest

from pengi_plugin.corpora.audioset import (
    CLASSES,
    find_videos,
    prepare_audioset,
    read_segments,
)

HEAD = (
    "# Segments csv created Sun Mar  5 10:54:25 2017\n"
    "# num_ytids=2, num_segs=2, num_unique_labels=527, num_positive_labels=4\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
)
SPEECH, MAN, DOG = "/m/09x0r", "/m/05zppz", "/m/0bt9lr"


def build(tmp_path, write_audio):
    """Two lists in a folder of their own, and audio in PANNs' folders."""
    folder = tmp_path / "audioset"
    (folder / "metadata").mkdir(parents=True)
    (folder / "metadata" / "balanced_train_segments.csv").write_text(
        f'{HEAD}--aaaaaaaa_, 30.000, 40.000, "{MAN},{SPEECH}"\n'
        f'lostlostlos, 0.000, 10.000, "{DOG}"\n'
    )
    (folder / "metadata" / "unbalanced_train_segments_part00.csv").write_text(
        f'empty\nempty\nempty\n-b_bbbbbbbb, 0.000, 9.500, "{DOG}"\n'
        f'--aaaaaaaa_, 30.000, 40.000, "{MAN}"\n'
    )
    (folder / "metadata" / "eval_segments.csv").write_text(
        f'{HEAD}Yccccccccc_, 7.500, 10.000, "{DOG}"\n'
    )
    write_audio(folder / "audios" / "balanced_train_segments" / "Y--aaaaaaaa_.wav")
    write_audio(folder / "audios" / "part00" / "Y-b_bbbbbbbb.flac")
    write_audio(folder / "audios" / "eval_segments" / "Yccccccccc_.wav")
    return folder


official = pytest.fixture(build)


def test_segments_become_rows_with_published_names(official, tmp_path, read_rows):
    prepare_audioset(official, tmp_path / "m")
    assert read_rows(tmp_path / "m", "train") == {
        "--aaaaaaaa__events": {
            "wav": "{data_root}/audios/balanced_train_segments/Y--aaaaaaaa_.wav",
            "duration": 0.05,
            "clip": "--aaaaaaaa_",
            "source": "youtube:--aaaaaaaa_:30",
            "task": "sound_events",
            "labels": ["Male speech, man speaking", "Speech"],
        },
        "-b_bbbbbbbb_events": {
            "wav": "{data_root}/audios/part00/Y-b_bbbbbbbb.flac",
            "duration": 0.05,
            "clip": "-b_bbbbbbbb",
            "source": "youtube:-b_bbbbbbbb:0",
            "task": "sound_events",
            "labels": ["Dog"],
        },
    }
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert (row["clip"], row["source"]) == ("Yccccccccc_", "youtube:Yccccccccc_:7.5")
    assert (tmp_path / "m" / "left_out.csv").read_text() == (
        "wav,reason\nlostlostlos,missing\n"
    )


@pytest.mark.parametrize(
    "name",
    [
        *("{}.wav", "Y{}.flac", "Y{}_30.000_40.000.wav", "Dog/{}_30.0-40.0.ogg"),
        *("{}_30.wav", "{}_30_40.flac", "{}_30000_40000.flac"),
    ],
)
@pytest.mark.parametrize("video", ["abcdefghijk", "Y_cdefghi_-", "-1234567890"])
def test_files_are_found_by_every_name_in_use(tmp_path, write_audio, video, name):
    write_audio(tmp_path / name.format(video))
    assert list(find_videos(tmp_path)) == [video]


def test_other_files_are_no_videos(tmp_path, write_audio):
    for name in ("short.wav", "abcdefghijklm.wav", "abcdefghijk-mono.wav"):
        write_audio(tmp_path / name)
    assert find_videos(tmp_path) == {}


def test_lists_of_other_forms_are_read_and_damaged_ones_refused(tmp_path):
    path = tmp_path / "eval_segments.csv"
    path.write_bytes(
        b"\xef\xbb\xbfYTID,start_seconds,end_seconds,positive_labels\r\n"
        b'abcdefghijk,0,10,"/m/09x0r,/m/0bt9lr",,,\r\n'
    )
    assert list(read_segments(path)) == [("abcdefghijk", 0.0, [SPEECH, DOG])]
    for wrong in ("#NAME?,0,10,/m/09x0r", "abcdefghijk,0,10,/m/none", "abcdefghijk,0"):
        path.write_text(f"{HEAD}{wrong}\n")
        with pytest.raises(ValueError, match=r"eval_segments\.csv has the line .* dam"):
            list(read_segments(path))


def test_a_folder_without_lists_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no balanced_train_.* or eval_segm"):
        prepare_audioset(tmp_path, tmp_path / "m")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_audioset(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_audioset(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before


def test_the_527_classes_differ():
    assert len(CLASSES) == len({name.lower() for name in CLASSES}) == 527


def test_the_real_first_rows_are_read(shared):
    folder = shared / "corpora" / "samples" / "audioset"
    first, *others = read_segments(folder / "eval_segments.csv")
    assert first == (
        "--4gqARaEJE",
        0.0,
        ["/m/068hy", "/m/07q6cd_", "/m/0bt9lr", "/m/0jbk"],
    )
    assert len(others) == 14
    assert len(list(read_segments(folder / "balanced_train_segments.csv"))) == 15
