import pytest

from pengi_plugin.corpora.clothoaqa import LooseNames, prepare_clothoaqa
from pengi_plugin.protocols.questions import is_binary

HEAD = "file_name,QuestionText,answer,confidence\n"


def lines(name, question, *answers):
    return "".join(f"{name},{question},{answer},Maybe\n" for answer in answers)


TRAIN = (
    lines("rain&amp;wind.wav", "Is it dry?", "no", "yes", "no")
    + lines("rain&amp;wind.wav", "Is it dry?", "no", "no", "no")
    + lines("rain&amp;wind.wav", '"What, then?"', "rain", "wind", "water")
    + lines("Geese 18.44 05.10.wav", "How many?", "two", "two", "ten")
)
TEST = lines("b.wav", "Are there waves?", "yes", "no", "yes") + lines(
    "b.wav", "Is it clich\u00e9?", "yes", "yes", "yes"
)


def build(tmp_path, write_audio):
    folder = tmp_path / "ClothoAQA"
    folder.mkdir()
    (folder / "clotho_aqa_train.csv").write_text(HEAD + TRAIN)
    (folder / "clotho_aqa_test.csv").write_bytes((HEAD + TEST).encode("cp1252"))
    (folder / "clotho_aqa_metadata.csv").write_text(
        ",file_name,keywords,sound_link,start_end_samples,manufacturer,license\n"
        '0,rain&amp;wind.wav,a;b,https://freesound.org/p/x/sounds/17,"[1, 2]",x,y\n'
        "1,Geese 18_44 05.10.wav,a,https://freesound.org/p/x/sounds/18,,x,y\n"
        "2,b.wav,a,,,x,y\n"
    )
    for name in ("rain&amp;wind", "Geese 18_44 05.10", "b"):
        write_audio(folder / "audio_files" / f"{name}.wav")
    return folder


official = pytest.fixture(build)


def test_each_answer_of_an_annotator_is_a_row_in_training(
    official, tmp_path, read_rows
):
    prepare_clothoaqa(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "train")
    assert [row["answer"] for row in rows.values()] == [
        *("no", "yes", "no", "no", "no", "no"),
        *("rain", "wind", "water", "two", "two", "ten"),
    ]
    assert rows["rain&amp;wind_question_1_2"] == {
        "wav": "{data_root}/audio_files/rain&amp;wind.wav",
        "duration": 0.05,
        "clip": "rain&amp;wind",
        "source": "freesound:17 clotho:rain_amp_wind",
        "task": "question_answering",
        "question": "Is it dry?",
        "answer": "yes",
        "answers": ["no", "yes", "no"],
        "question_kind": "binary",
        "agreement": 2,
        "has_majority": True,
    }
    assert rows["rain&amp;wind_question_2_1"]["agreement"] == 3
    word = rows["rain&amp;wind_question_3_1"]
    assert (word["question"], word["question_kind"]) == ("What, then?", "word")
    assert (word["agreement"], word["has_majority"]) == (1, False)
    geese = rows["Geese 18.44 05.10_question_1_3"]
    assert geese["wav"] == "{data_root}/audio_files/Geese 18_44 05.10.wav"
    assert geese["source"] == "freesound:18 clotho:geese_18_44_05_10"


def test_references_tell_the_kind_of_a_question(official, tmp_path, read_rows):
    prepare_clothoaqa(official, tmp_path / "m")
    rows = [*read_rows(tmp_path / "m", "train").values()]
    rows += read_rows(tmp_path / "m", "test").values()
    assert {row["question_kind"] for row in rows} == {"binary", "word"}
    for row in rows:
        for references in (row["answers"], [row["answer"]]):
            assert is_binary(references) == (row["question_kind"] == "binary")


def test_each_question_is_a_row_with_the_majoritys_answer_in_the_test(
    official, tmp_path, read_rows
):
    prepare_clothoaqa(official, tmp_path / "m")
    rows = read_rows(tmp_path / "m", "test")
    found = [(row["question"], row["answer"]) for row in rows.values()]
    assert found == [("Are there waves?", "yes"), ("Is it clich\u00e9?", "yes")]
    assert list(rows) == ["b_question_1", "b_question_2"]
    assert rows["b_question_1"]["source"] == "clotho:b"


def test_clips_of_another_corpus_test_are_left_out_of_training_alone(
    official, tmp_path, read_rows
):
    exclude = tmp_path / "clotho_captions_evaluation.csv"
    exclude.write_text("file_name,caption_1\nrain&amp;wind.wav,x\nb.wav,x\n")
    prepare_clothoaqa(official, tmp_path / "m", exclude=str(exclude))
    clips = {row["clip"] for row in read_rows(tmp_path / "m", "train").values()}
    assert clips == {"Geese 18.44 05.10"}
    assert len(read_rows(tmp_path / "m", "test")) == 2


def test_a_name_that_is_like_two_others_is_not_found():
    names = LooseNames({"a.b": 1, "a_b": 2})
    assert [names.get(name) for name in ("a.b", "a_b", "a b")] == [1, 2, None]


def test_a_second_preparation_does_nothing_and_a_wrong_folder_is_refused(
    official, tmp_path
):
    prepare_clothoaqa(official, tmp_path / "m")
    before = (tmp_path / "m" / "train.json").stat().st_mtime_ns
    prepare_clothoaqa(official, tmp_path / "m")
    assert (tmp_path / "m" / "train.json").stat().st_mtime_ns == before
    with pytest.raises(FileNotFoundError, match=r"no clotho_aqa_train\.csv or"):
        prepare_clothoaqa(official / "audio_files", tmp_path / "n")


def test_the_real_first_rows_are_read(shared, tmp_path, write_audio, read_rows):
    data = tmp_path / "data"
    data.mkdir()
    for path in (shared / "corpora" / "samples" / "clothoaqa").iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    for name in ("AmbianceBackyard_Quiet_bip", "river_mouth3", "Munich Cathedral"):
        write_audio(data / "audio_files" / f"{name}.wav")
    prepare_clothoaqa(data, tmp_path / "m")
    rows = list(read_rows(tmp_path / "m", "test").values())
    assert len(rows) == 6
    assert [row["question_kind"] for row in rows].count("word") == 2
    assert rows[1]["answers"] == ["eleven", "nine", "eleven"]
    assert (rows[1]["answer"], rows[1]["agreement"]) == ("eleven", 2)
