"""Steps of a run that need no training."""

from pengi_plugin.training.run import with_texts


def test_rows_get_their_texts_and_references_as_a_list():
    rows = {
        "a/1": {"task": "captioning", "caption": "rain"},
        "a/2": {"task": "captioning", "caption": "rain", "references": ["rain", "wet"]},
        "a/3": {"task": "captioning", "caption": "rain", "references": "it rains"},
        "a/4": {"task": "bird", "name": "wren"},
    }
    bird = {"prompt": "which bird?", "answer": "a {name}"}
    found = with_texts({"tasks": {"bird": bird}}, rows)
    assert [row["references"] for row in found] == [
        ["rain"],
        ["rain", "wet"],
        ["it rains"],
        ["a wren"],
    ]
    assert [row["id"] for row in found] == list(rows)
    assert (found[3]["prompt"], found[3]["answer"]) == ("which bird?", "a wren")
    assert found[3]["name"] == "wren"
