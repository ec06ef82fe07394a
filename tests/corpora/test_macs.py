import pytest

from pengi_plugin.corpora.macs import prepare_macs

CAPTIONS = """\
files:
- filename: airport-x-1-2-a.wav
  annotations:
  - {annotator_id: 354, sentence: 'people talk, and walk', tags: [footsteps]}
  - annotator_id: 355
    sentence: 12
    tags: [adults_talking, footsteps]
- filename: park-x-1-3-a.wav
  annotations:
  - {annotator_id: 354, sentence: birds, tags: []}
"""


def build(tmp_path, write_audio):
    folder = tmp_path / "MACS"
    folder.mkdir()
    (folder / "MACS.yaml").write_text(CAPTIONS)
    tau = folder / "TAU-urban-acoustic-scenes-2019-development"
    write_audio(tau / "audio" / "airport-x-1-2-a.wav")
    return folder


official = pytest.fixture(build)


def test_each_annotators_caption_is_a_row(official, tmp_path, read_rows):
    prepare_macs(official, tmp_path / "m")
    tau = "{data_root}/TAU-urban-acoustic-scenes-2019-development"
    rows = read_rows(tmp_path / "m", "train")
    assert rows["airport-x-1-2-a_metadata_1"] == {
        "wav": f"{tau}/audio/airport-x-1-2-a.wav",
        "duration": 0.05,
        "clip": "airport-x-1-2-a",
        "source": "tau2019:airport-x-1-2-a",
        "task": "metadata",
        "metadata": "people talk, and walk",
        "references": ["people talk, and walk", "12"],
    }
    assert rows["airport-x-1-2-a_metadata_2"]["metadata"] == "12"
    assert len(rows) == 2
    assert "park-x-1-3-a,missing" in (tmp_path / "m" / "left_out.csv").read_text()


def test_another_task_is_prepared_anew_and_the_same_is_not(
    official, tmp_path, read_rows
):
    prepare_macs(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_macs(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    prepare_macs(official, tmp_path / "m", task="captioning")
    assert "airport-x-1-2-a_caption_1" in read_rows(tmp_path / "m", "train")


def test_a_wrong_folder_and_another_yaml_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no MACS\.yaml in .*folder of MACS"):
        prepare_macs(tmp_path / "elsewhere", tmp_path / "m")
    (official / "MACS.yaml").write_text("clips: []")
    with pytest.raises(ValueError, match="has no list 'files'"):
        prepare_macs(official, tmp_path / "m")
