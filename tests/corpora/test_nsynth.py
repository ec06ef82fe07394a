import csv
import json

import pytest

from pengi_plugin.corpora.nsynth import CLASSES, prepare_nsynth, read_notes
from pengi_plugin.tasks import Template, apply

SENTENCE = (
    "produced by {instrument}, pitch {pitch}, velocity {velocity}, source "
    "{source_kind}, and having qualities like {qualities_or_none}"
)


def note(name, family, source, pitch, velocity, qualities=()):
    return {
        "note_str": name,
        "instrument_str": name.split("-")[0],
        "instrument_family_str": family,
        "instrument_source_str": source,
        "pitch": pitch,
        "velocity": velocity,
        "qualities_str": list(qualities),
        "sample_rate": 16000,
    }


LEAD = note(
    "synth_lead_synthetic_003-060-100",
    *("synth_lead", "synthetic", 60, 100, ["bright", "fast_decay"]),
)
REED = note("reed_acoustic_037-110-025", "reed", "acoustic", 110, 25)


def write_notes(folder, split, *notes):
    path = folder / f"nsynth-{split}" / "examples.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({note["note_str"]: note for note in notes}))


def build(tmp_path, write_audio):
    """Return a folder with a note to train on and one of two to test."""
    folder = tmp_path / "nsynth"
    write_notes(folder, "train", LEAD)
    write_notes(folder, "test", REED, REED | {"note_str": "reed_acoustic_037-111-025"})
    for split, row in (("train", LEAD), ("test", REED)):
        path = folder / f"nsynth-{split}" / "audio" / f"{row['note_str']}.wav"
        write_audio(path, 4.0, 800)
    return folder


official = pytest.fixture(build)


def test_a_note_has_its_instrument_pitch_and_all_other_fields(
    official, tmp_path, read_rows
):
    prepare_nsynth(official, tmp_path / "m")
    name = "synth_lead_synthetic_003-060-100"
    assert read_rows(tmp_path / "m", "train") == {
        f"{name}_note": {
            "wav": f"{{data_root}}/nsynth-train/audio/{name}.wav",
            "duration": 4.0,
            "clip": name,
            "task": "music_note",
            "instrument": "synth lead",
            "family": "synth lead",
            "pitch": 60,
            "velocity": 100,
            "source_kind": "synthetic",
            "qualities": ["bright", "fast decay"],
            "qualities_or_none": "bright, fast decay",
            "instrument_id": "synth_lead_synthetic_003",
        }
    }
    assert not (tmp_path / "m" / "valid.json").exists()


def test_the_fuller_sentence_can_be_made_of_a_note_without_qualities(
    official, tmp_path, read_rows
):
    prepare_nsynth(official, tmp_path / "m")
    (row,) = read_rows(tmp_path / "m", "test").values()
    templates = {"music_note": Template("this music note is", SENTENCE)}
    assert apply("music_note", row, templates)[1] == (
        "produced by reed, pitch 110, velocity 25, source acoustic, and having "
        "qualities like none"
    )


def test_a_missing_note_and_one_of_another_length_are_left_out(
    official, tmp_path, write_audio
):
    write_audio(official / "nsynth-train" / "audio" / f"{LEAD['note_str']}.wav", 0.5)
    write_notes(official, "train", LEAD, REED)
    write_audio(
        official / "nsynth-train" / "audio" / f"{REED['note_str']}.wav", 4.0, 800
    )
    prepare_nsynth(official, tmp_path / "m")
    with (tmp_path / "m" / "left_out.csv").open(newline="") as file:
        reasons = {
            row["wav"].split("/")[-1]: row["reason"] for row in csv.DictReader(file)
        }
    assert reasons == {
        "synth_lead_synthetic_003-060-100.wav": "lasts 0.50 s, not 4 s",
        "reed_acoustic_037-111-025.wav": "missing",
    }


def test_it_is_prepared_once_and_again_when_a_split_was_added(official, tmp_path):
    train = tmp_path / "m" / "train.json"
    prepare_nsynth(official, tmp_path / "m")
    before = train.stat().st_mtime_ns
    prepare_nsynth(official, tmp_path / "m")
    assert train.stat().st_mtime_ns == before
    write_notes(official, "valid", REED)
    prepare_nsynth(official, tmp_path / "m")
    assert (tmp_path / "m" / "valid.json").is_file()


def test_a_wrong_folder_and_a_foreign_family_are_refused(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no nsynth-train/examples\.json or "):
        prepare_nsynth(official / "nsynth-train", tmp_path / "m")
    write_notes(official, "test", REED | {"instrument_family_str": "kazoo"})
    with pytest.raises(ValueError, match="family or quality kazoo"):
        prepare_nsynth(official, tmp_path / "m")


def test_the_official_file_is_read(shared):
    path = shared / "corpora/samples/nsynth/nsynth-test/examples.json"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    clips = read_notes(path, "test")
    assert len(clips) == 15
    assert clips[0].name == "bass_synthetic_068-049-025"
    first = clips[0].rows["note"]
    assert (first["instrument"], first["pitch"], first["velocity"]) == ("bass", 49, 25)
    assert first["qualities"] == ["dark"]
    for clip in clips:
        family, pitch, velocity = clip.name.rsplit("-", 2)
        row = clip.rows["note"]
        assert (
            family
            == f"{row['family'].replace(' ', '_')}_{row['source_kind']}_"
            + (row["instrument_id"][-3:])
        )
        assert (int(pitch), int(velocity)) == (row["pitch"], row["velocity"])
        assert row["family"] in CLASSES
