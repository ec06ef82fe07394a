import pytest

from pengi_plugin.tasks import TASKS, Template, apply, extend

#: Table 1 of the paper, written down apart from the code: row -> prompt, answer.
EXPECTED = {
    "captioning": ({"caption": "a dog barks"}, "generate audio caption", "a dog barks"),
    "question_answering": (
        {"question": "is it loud?", "answer": "no"},
        "question: is it loud?",
        "no",
    ),
    "sound_events": ({"labels": ["dog", "car"]}, "this is a sound of", "dog, car"),
    "acoustic_scene": ({"scene": "park"}, "this acoustic scene is", "park"),
    "speech_emotion": ({"emotion": "sad"}, "this emotion is", "sad"),
    "speech_sentiment": ({"sentiment": "positive"}, "this sentiment is", "positive"),
    "music_analysis": ({"attributes": ["jazz", "en"]}, "music analysis", "jazz, en"),
    "music_note": (
        {"instrument": "flute", "pitch": 60},
        "this music note is produced by",
        "flute, pitch 60",
    ),
    "metadata": ({"metadata": "dog.wav"}, "generate metadata", "dog.wav"),
}


@pytest.mark.parametrize("task", EXPECTED)
def test_a_row_becomes_the_prompt_and_answer_of_the_paper(task):
    fields, prompt, answer = EXPECTED[task]
    assert apply(task, fields) == (prompt, answer)


def test_there_are_nine_tasks_and_each_says_where_its_words_come_from():
    assert set(TASKS) == set(EXPECTED)
    assert all("Deshmukh" in template.source for template in TASKS.values())


def test_wording_that_we_could_not_confirm_is_marked():
    marked = {name for name, template in TASKS.items() if template.reconstructed}
    unconfirmed = {"speech_emotion", "speech_sentiment"}
    assert marked == unconfirmed | {"music_analysis", "music_note"}


def test_a_template_from_yaml_is_added_or_put_in_the_place_of_another():
    own = {
        "bird": {"prompt": "which bird?", "answer": "{bird}"},
        "captioning": {"prompt": "describe it", "answer": "{caption}"},
    }
    templates = extend(own)
    assert apply("bird", {"bird": "wren"}, templates) == ("which bird?", "wren")
    assert apply("captioning", {"caption": "rain"}, templates)[0] == "describe it"
    assert apply("captioning", {"caption": "rain"})[0] == "generate audio caption"
    assert templates["bird"].source == "user"
    assert set(templates) == {*TASKS, "bird"}


def test_a_template_without_an_answer_is_refused():
    with pytest.raises(ValueError, match=r"'bird' has the keys \['prompt'\]"):
        extend({"bird": {"prompt": "which bird?"}})


def test_a_template_with_a_misspelt_key_is_refused():
    with pytest.raises(ValueError, match="'anwser'"):
        extend({"bird": {"prompt": "?", "answer": "{bird}", "anwser": "x"}})


def test_an_unknown_task_names_the_row_and_the_tasks_there_are():
    with pytest.raises(ValueError, match=r"Row 'a1' .* 'captionning'.*'captioning'"):
        apply("captionning", {"id": "a1", "caption": "rain"})


@pytest.mark.parametrize("answer", [None, "", " ", []])
def test_a_row_without_a_word_that_its_task_needs_is_refused(answer):
    fields = {"id": "q7", "question": "is it loud?", "answer": answer}
    with pytest.raises(
        ValueError, match="Row 'q7' of task 'question_answering' has no"
    ):
        apply("question_answering", fields)


def test_pitch_zero_is_a_word():
    assert apply("music_note", {"instrument": "harp", "pitch": 0})[1] == "harp, pitch 0"


def test_a_template_knows_the_fields_of_prompt_and_answer():
    assert Template("is it {a}?", "{b}, {c}").fields() == {"a", "b", "c"}
