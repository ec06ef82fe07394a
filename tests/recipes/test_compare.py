"""Two folders on the same sets: scores side by side, and how many answers agree."""

import importlib
import json

import pytest

from tests.tone_model import ToneModel, write_tone

HPARAMS = """
output_folder: {folder}/out
batch_size: 3
search: {{}}
sets:
    tones:
        title: Tones
        protocol: !name:pengi_plugin.protocols.questions.question_answering
        manifests: [{folder}/test.json]
        where: {{task: question_answering}}
        fields: {{references: answer}}
    absent:
        title: Nowhere
        protocol: !name:pengi_plugin.protocols.questions.question_answering
        manifests: [{folder}/nowhere.json]
        fields: {{references: answer}}
        get: Ask its authors.
"""

MODELS = {
    "float": ToneModel({500: "dog", 1500: "church bells"}),
    "small": ToneModel({500: "dog", 1500: "rain"}),
}


@pytest.fixture
def compare(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "recipes" / "benchmark")
    compare = importlib.import_module("compare")
    evaluate = compare.evaluate

    def load(source, trust, run_opts):
        MODELS[source].precision = run_opts["precision"]
        return MODELS[source]

    monkeypatch.setattr(evaluate.AudioLanguageModel, "from_hparams", load)
    for module in (compare, evaluate):
        monkeypatch.setattr(module, "find_model", lambda name: name)
        monkeypatch.setattr(module, "fingerprint", lambda name, without=(): name)
    return compare


@pytest.fixture
def arguments(tmp_path):
    rows = {}
    for number, hertz in enumerate((500, 1500, 500, 1500)):
        path = tmp_path / f"{number}.wav"
        write_tone(path, hertz)
        answer = MODELS["float"].words[hertz]
        words = {"task": "question_answering", "question": "what?", "answer": answer}
        rows[str(number)] = {"wav": str(path), "duration": 0.25, **words}
    (tmp_path / "test.json").write_text(json.dumps(rows))
    (tmp_path / "benchmark.yaml").write_text(HPARAMS.format(folder=tmp_path))
    return [str(tmp_path / "benchmark.yaml"), "--models", "float", "small"]


def test_scores_stand_side_by_side_with_the_share_of_equal_answers(
    compare, arguments, capsys
):
    found = compare.main(arguments)
    assert found[0]["scores"] == [1.0, 0.5]
    assert (found[0]["n"], found[0]["same"]) == (4, 0.5)
    out = capsys.readouterr().out
    line = f"| Tones | {found[0]['metric']} | 4 | 1.0000 | 0.5000 | -0.5000 | 50.0% |"
    assert line in out
    assert not any(line["set"] == "absent" for line in found)
    assert "Not compared, as one has no score of it: absent." in out


def test_a_set_that_fails_for_one_is_no_success(
    compare, arguments, capsys, monkeypatch
):
    score = compare.evaluate.score_entry

    def failing(name, entry, rows, session, templates):
        if session.model is MODELS["small"]:
            raise RuntimeError("no memory")
        return score(name, entry, rows, session, templates)

    monkeypatch.setattr(compare.evaluate, "score_entry", failing)
    with pytest.raises(SystemExit, match="1"):
        compare.main(arguments)
    out = capsys.readouterr().out
    assert "Not compared, as one has no score of it: absent, tones." in out


def test_answers_of_another_search_are_not_compared(compare, arguments):
    compare.main([*arguments, "--search", "{beam_size: 2}"])
    MODELS["small"].words[1500] = "church bells"
    try:
        found = compare.main(arguments)
        assert {line["same"] for line in found} == {1.0}
    finally:
        MODELS["small"].words[1500] = "rain"
    found = compare.main([*arguments, "--search", "{beam_size: 2}"])
    assert {line["same"] for line in found} == {0.5}


def test_two_models_are_compared(compare, arguments, capsys):
    with pytest.raises(SystemExit):
        compare.main(arguments[:-1])
    assert "--models: expected 2 arguments" in capsys.readouterr().err
