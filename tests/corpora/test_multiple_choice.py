"""MMAU, MMAR, MuChoMusic and AIR-Bench: their lists in, questions with choices out."""

import csv
import json

import pytest

from pengi_plugin.corpora.air_bench import SOUND, prepare_air_bench, source_of
from pengi_plugin.corpora.clothoaqa import clotho_source
from pengi_plugin.corpora.mmar import prepare_mmar
from pengi_plugin.corpora.mmau import prepare_mmau
from pengi_plugin.corpora.muchomusic import OPTIONS, prepare_muchomusic
from pengi_plugin.data.overlap import HeldOut


def build_mmau(tmp_path, write_audio):
    item = {
        "id": "3f-1",
        "audio_id": "./test-mini-audios/3f-1.wav",
        "question": "Who speaks?",
        "choices": ["Man", "Woman, old"],
        "answer": "Woman, old",
        "dataset": "AudioSet",
        "task": "sound",
        "split": "test-mini",
        "category": "Reasoning",
        "sub-category": "Source",
        "difficulty": "easy",
    }
    hub = {"id": "3f-2", "question": "Q?", "choices": "['a', 'b']", "answer": "b"}
    hub["other_attributes"] = {"task": "music"}
    items = [item, hub, {**item, "id": "3f-3", "answer": "Child"}]
    items.append({**item, "id": "3f-4", "audio_id": "./test-mini-audios/3f-4.wav"})
    folder = tmp_path / "MMAU"
    for name in ("3f-1", "3f-2", "3f-3"):
        write_audio(folder / "test-mini-audios" / f"{name}.wav")
    (folder / "mmau-test-mini.json").write_text(json.dumps(items))
    return folder


mmau = pytest.fixture(build_mmau)


def test_mmau_items_keep_their_choices_and_kinds(mmau, tmp_path, read_rows, caplog):
    prepare_mmau(mmau, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert rows["3f-1_question"] == {
        "wav": "{data_root}/test-mini-audios/3f-1.wav",
        "duration": 0.05,
        "clip": "3f-1",
        "source": "mmau:3f-1",
        "task": "question_answering",
        "question": "Who speaks?",
        "choices": ["Man", "Woman, old"],
        "answer": "Woman, old",
        "kind": "sound",
        "category": "Reasoning",
        "sub_category": "Source",
        "difficulty": "easy",
        "dataset": "AudioSet",
    }
    assert rows["3f-2_question"]["choices"] == ["a", "b"]
    assert rows["3f-2_question"]["kind"] == "music"
    assert len(rows) == 2
    assert "to 1 questions is none of their choices; they are left out: 3f-3" in (
        caplog.text
    )
    assert "3f-4,missing" in (tmp_path / "m" / "left_out.csv").read_text()


def test_a_second_preparation_does_nothing(mmau, tmp_path):
    prepare_mmau(mmau, tmp_path / "m")
    before = (tmp_path / "m" / "test.json").stat().st_mtime_ns
    prepare_mmau(mmau, tmp_path / "m")
    assert (tmp_path / "m" / "test.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_mmar_is_read_by_lines_or_as_a_list(ending, tmp_path, read_rows, write_audio):
    item = {
        "id": "qx8hrhBZJ98_00-01-32_00-02-02",
        "audio_path": "./audio/qx8hrhBZJ98_00-01-32_00-02-02.wav",
        "question": "Where?",
        "choices": ["Canyon", "Forest"],
        "answer": "Forest",
        "modality": "music",
        "category": "Cultural Layer",
        "sub-category": "Knowledge",
        "language": None,
        "source": "youtube",
    }
    folder = tmp_path / "MMAR"
    write_audio(folder / "audio" / f"{item['id']}.wav")
    text = json.dumps(item) + "\n" if ending == "jsonl" else json.dumps([item])
    (folder / f"MMAR-meta.{ending}").write_text(text)
    prepare_mmar(folder, tmp_path / "m")
    row = read_rows(tmp_path / "m", "test")[f"{item['id']}_question"]
    assert (row["kind"], row["source"]) == ("music", "youtube:qx8hrhBZJ98:92")
    assert (row["choices"], row["answer"]) == (["Canyon", "Forest"], "Forest")
    assert "language" not in row


def test_muchomusic_has_an_order_of_options_that_stays(
    tmp_path, read_rows, write_audio
):
    head = ["question", *OPTIONS, "dataset", "dataset_identifier"]
    head += ["genre", "music_knowledge", "music_reasoning"]
    answers = ["right, one", "w1", "w2", "w3"]
    lines = [
        ["Q?", *answers, "sdd", "415600.json", "[]", "['tempo']", "[]"],
        ["Q?", *answers, "musiccaps", "a_-b_30.json", "[]", "['x']", "['mood']"],
        *[["Q?", *answers, "sdd", "415600.json", "[]", "[]", "[]"]] * 8,
    ]
    folder = tmp_path / "muchomusic"
    write_audio(folder / "data" / "sdd" / "audio" / "00" / "415600.2min.wav")
    write_audio(folder / "data" / "musiccaps" / "audio" / "[a_-b]-[30-40].wav")
    with (folder / "data" / "muchomusic.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *lines])
    orders = []
    for seed in (0, 0, 1):
        prepare_muchomusic(folder, tmp_path / f"m{len(orders)}", seed=seed)
        rows = read_rows(tmp_path / f"m{len(orders)}", "test")
        orders.append([row["choices"] for row in rows.values()])
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(order) == answers for order in orders[0])
    assert len({order.index("right, one") for order in orders[0]}) > 1
    first, second = rows["1_415600_question"], rows["2_a_-b_30_question"]
    assert (first["kind"], first["answer"]) == ("knowledge", "right, one")
    assert (second["kind"], second["source"]) == (
        "knowledge and reasoning",
        "youtube:a_-b:30",
    )
    assert second["wav"] == "{data_root}/data/musiccaps/audio/[a_-b]-[30-40].wav"


def test_air_bench_reads_the_folders_about_sound(tmp_path, read_rows, write_audio):
    items = [
        {
            "path": "a.wav",
            "question": "Q?",
            "choice_a": "yes",
            "choice_b": "no",
            "choice_c": None,
            "answer_gt": "no",
            "task_name": folder.rpartition("_")[0],
            "dataset_name": folder.rpartition("_")[2],
            "uniq_id": number,
        }
        for number, folder in enumerate([*SOUND, "Music_Genre_fma"])
    ]
    folder = tmp_path / "AIR-Bench"
    for item in items:
        name = f"{item['task_name']}_{item['dataset_name']}"
        ending = "flac" if "Grounding" in name else "wav"
        write_audio(folder / "Foundation" / name / f"a.{ending}")
    (folder / "Foundation" / "Foundation_meta.json").write_text(json.dumps(items))
    prepare_air_bench(folder, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test").values()
    assert [row["kind"] for row in rows] == list(SOUND)
    assert {tuple(row["choices"]) for row in rows} == {("yes", "no")}
    (asked,) = [row for row in rows if row["kind"] == "Sound_AQA_clothoaqa"]
    assert asked["source"] == "air_bench:clothoaqa/a clotho:a"
    (grounding,) = [row for row in rows if "Grounding" in row["kind"]]
    assert grounding["wav"].endswith("/Audio_Grounding_AudioGrounding/a.flac")
    prepare_air_bench(folder, tmp_path / "m", folders=("Music_Genre_fma",))
    (row,) = read_rows(tmp_path / "m", "test").values()
    assert row["clip"] == "6"
    with pytest.raises(ValueError, match="has no question of Speech_x"):
        prepare_air_bench(folder, tmp_path / "m", folders=("Speech_x",))


def test_clips_of_clotho_in_air_bench_are_found_in_training_rows():
    test = {"wav": "x.wav", "duration": 20.0}
    test["source"] = source_of("clothoaqa", "Rain &amp; wind (2)")
    held_out = HeldOut()
    held_out.add([test], "air_bench")
    train = {"wav": "y.wav", "duration": 20.0}
    for stem, names in (("Rain &amp; wind (2)", {"air_bench"}), ("Rain", set())):
        source = clotho_source(stem, "freesound:7")
        assert held_out.names_of({**train, "source": source}) == names


@pytest.mark.parametrize(
    ("prepare", "name"),
    [
        (prepare_mmau, r"mmau-test-mini\.json"),
        (prepare_mmar, r"MMAR-meta\.jsonl or MMAR-meta\.json"),
        (prepare_muchomusic, r"muchomusic\.csv"),
        (prepare_air_bench, r"Foundation_meta\.json"),
    ],
)
def test_a_wrong_folder_names_what_was_looked_for(prepare, name, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no {name} in .*; give the folder"):
        prepare(tmp_path, tmp_path / "m")


@pytest.mark.parametrize(
    ("prepare", "name", "file"),
    [
        (prepare_mmau, "mmau", "mmau-test-mini.json"),
        (prepare_mmar, "mmar", "MMAR-meta.jsonl"),
    ],
)
def test_the_real_first_items_are_read(
    prepare, name, file, shared, tmp_path, write_audio, read_rows
):
    text = (shared / "corpora" / "samples" / name / file).read_text()
    (tmp_path / file).write_text(text)
    lines = text.splitlines() if name == "mmar" else []
    items = [json.loads(line) for line in lines] or json.loads(text)
    for item in items:
        write_audio(tmp_path / "audio" / f"{item['id']}.wav")
    prepare(tmp_path, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    assert [row["choices"] for row in rows.values()] == [i["choices"] for i in items]
    assert [row["answer"] for row in rows.values()] == [i["answer"] for i in items]
    if name == "mmar":
        sources = [row["source"].partition(":")[0] for row in rows.values()]
        assert sources == [item["source"] for item in items]
