"""What an exported model is asked in its test."""

from types import SimpleNamespace

from pengi_plugin.protocols.exact_match import exact_match
from pengi_plugin.protocols.session import Session
from pengi_plugin.protocols.task_scores import score_tasks
from pengi_plugin.training.testing import RowsWithTexts
from pengi_plugin.training.testing import test_items as items_of


def test_rows_get_their_texts_and_references_as_a_list():
    rows = {
        "a/1": {"task": "captioning", "caption": "rain"},
        "a/2": {"task": "captioning", "caption": "rain", "references": ["rain", "wet"]},
        "a/3": {"task": "captioning", "caption": "rain", "references": "it rains"},
        "a/4": {"task": "bird", "name": "wren"},
    }
    bird = {"prompt": "which bird?", "answer": "a {name}"}
    found = list(RowsWithTexts({"tasks": {"bird": bird}}, rows))
    assert [row["references"] for row in found] == [
        ["rain"],
        ["rain", "wet"],
        ["it rains"],
        ["a wren"],
    ]
    assert [row["id"] for row in found] == list(rows)
    assert (found[3]["prompt"], found[3]["answer"]) == ("which bird?", "a wren")
    assert found[3]["name"] == "wren"


def test_captions_of_one_clip_are_one_item_that_is_searched_once(tmp_path):
    """Five rows a clip; what is right by the last of them is right."""
    rows = {}
    for corpus, clip in (("x", "1"), ("x", "2"), ("y", "1")):
        for number in range(5):
            rows[f"{corpus}/{clip}_{number}"] = {
                "wav": f"{clip}.wav",
                "corpus": corpus,
                "task": "captioning",
                "caption": f"a sound of number {number} in {clip}",
            }
    asked = items_of({"tasks": {}}, {"test": rows})
    assert [row["id"] for row in asked] == ["x/1_0", "x/2_0", "y/1_0"]
    assert asked[1]["references"] == [f"a sound of number {n} in 2" for n in range(5)]

    class Model:
        searched = []

        def answer_files(self, paths, prompts, batch_size):
            self.searched += paths
            for path in paths:
                answer = f"a sound of number 4 in {path[0]}"
                yield SimpleNamespace(answer=answer, error=None)

    model = Model()
    session = Session(model, tmp_path, settings={"model": "m"})
    lines = score_tasks(
        session,
        asked,
        {"default": {"protocol": exact_match}},
        RowsWithTexts({"tasks": {}}, rows),
        controls={},
    )
    assert sorted(model.searched) == ["1.wav", "2.wav"]
    assert [(line["group"], line["score"], line["n"]) for line in lines] == [
        ("x: captioning", 1.0, 2),
        ("y: captioning", 1.0, 1),
    ]
