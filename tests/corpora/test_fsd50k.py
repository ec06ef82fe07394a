import pytest

from pengi_plugin.corpora.fsd50k import CLASSES, prepare_fsd50k
from pengi_plugin.data.preparation import read_table

DEV = (
    "fname,labels,mids,split\n"
    '11,"Dishes_and_pots_and_pans,Domestic_sounds_and_home_sounds","/m/a,/m/b",train\n'
    "12,Bark,/m/05tny_,val\n"
    "13,Bark,/m/05tny_,train\n"
)
EVAL = "fname,labels,mids\n14,Bathtub_(filling_or_washing),/m/03dnzn\n"


def build(tmp_path, write_audio):
    folder = tmp_path / "FSD50K"
    (folder / "FSD50K.ground_truth").mkdir(parents=True)
    (folder / "FSD50K.ground_truth" / "dev.csv").write_text(DEV)
    (folder / "FSD50K.ground_truth" / "eval.csv").write_text(EVAL)
    for name in ("dev_audio/11", "dev_audio/12", "eval_audio/14"):
        write_audio(folder / f"FSD50K.{name}.wav")
    return folder


official = pytest.fixture(build)


def test_labels_have_the_ontologys_names_and_clips_their_splits(
    official, tmp_path, read_rows
):
    prepare_fsd50k(official, tmp_path / "m")
    assert read_rows(tmp_path / "m", "train") == {
        "11_events": {
            "wav": "{data_root}/FSD50K.dev_audio/11.wav",
            "duration": 0.05,
            "clip": "11",
            "source": "freesound:11",
            "task": "sound_events",
            "labels": ["Dishes, pots, and pans", "Domestic sounds, home sounds"],
        }
    }
    assert read_rows(tmp_path / "m", "valid")["12_events"]["labels"] == ["Bark"]
    assert read_rows(tmp_path / "m", "test")["14_events"]["labels"] == [
        "Bathtub (filling or washing)"
    ]
    assert (tmp_path / "m" / "left_out.csv").read_text() == "wav,reason\n13,missing\n"


def test_audio_of_another_folder_and_lists_beside_each_other(
    official, tmp_path, read_rows, write_audio
):
    for path in (official / "FSD50K.ground_truth").iterdir():
        path.rename(official / path.name)
    for name in "11", "12", "14":
        write_audio(tmp_path / "44khz" / f"{name}.flac")
    folder = str(tmp_path / "44khz")
    prepare_fsd50k(official, tmp_path / "m", audio_folder=folder)
    row = read_rows(tmp_path / "m", "test")["14_events"]
    assert row["wav"] == f"{folder}/14.flac"


def test_a_wrong_folder_and_a_foreign_label_are_refused(official, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no FSD50K\.ground_truth/dev\.csv or .*or dev\.csv in"
    ):
        prepare_fsd50k(tmp_path / "elsewhere", tmp_path / "m")
    path = official / "FSD50K.ground_truth" / "eval.csv"
    path.write_text(EVAL.replace("Bathtub", "Bath_tub"))
    with pytest.raises(ValueError, match=r"clip 14 has the labels \['Bath_tub"):
        prepare_fsd50k(official, tmp_path / "m")


def test_a_second_preparation_does_nothing(official, tmp_path):
    prepare_fsd50k(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_fsd50k(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before


def test_the_200_classes_differ():
    assert len({name.lower() for name in CLASSES}) == 200


def test_the_real_first_rows_are_read(shared, tmp_path, write_audio, read_rows):
    folder = shared / "corpora" / "samples" / "fsd50k"
    truth = folder / "FSD50K.ground_truth"
    listed = {
        "train": read_table(truth / "dev.csv", ["split"]),
        "test": read_table(truth / "eval.csv", ["mids"]),
    }
    for line in [*listed["train"], *listed["test"]]:
        write_audio(tmp_path / "audio" / f"{line['fname']}.wav")
    prepare_fsd50k(folder, tmp_path / "m", audio_folder=str(tmp_path / "audio"))
    n_test = len(read_rows(tmp_path / "m", "test"))
    assert n_test == len(listed["test"]) == 15
    rows = read_rows(tmp_path / "m", "train")
    assert len(rows) == sum(line["split"] == "train" for line in listed["train"])
    assert rows["64760_events"]["labels"] == [
        *("Electric guitar", "Guitar", "Plucked string instrument"),
        *("Musical instrument", "Music"),
    ]
