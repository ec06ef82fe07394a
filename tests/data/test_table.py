"""Files of rows: what stands in them is taken literally, and errors name the row."""

import csv
import json

import pytest

from pengi_plugin.data.manifest import read_manifest
from pengi_plugin.data.table import read_table
from pengi_plugin.tasks import apply

#: Texts that SpeechBrain's readers change or refuse.
TEXTS = [
    "a {data_root} of {0} {{dogs}} {",
    "it costs $5, or $data_root, or ${x}",
    "she says \"no\" and 'yes', \\n",
    "one line\nand another",
    "one line\r\nand another",
    "a, b; c | d\te",
    "naïve 犬 🐕",
]


def write(path, rows, **options):
    """Write rows in the form that the ending of a path tells."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), **options)
    else:
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        with path.open("w", newline="", **options) as file:
            writer = csv.DictWriter(file, ["ID", *columns])
            writer.writeheader()
            writer.writerows({"ID": key, **row} for key, row in rows.items())
    return path


CLIP = {"wav": "{data_root}/a.wav", "duration": 1.0}


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_text_reaches_the_model_as_it_stands_in_the_manifest(tmp_path, suffix):
    rows = {
        str(number): {
            **CLIP,
            "task": "question_answering",
            "question": text,
            "answer": text,
        }
        for number, text in enumerate(TEXTS)
    }
    path = write(tmp_path / f"train.{suffix}", rows, encoding="utf-8")
    found = read_manifest(path, "m").values()
    assert [row["answer"] for row in found] == TEXTS
    for row, text in zip(found, TEXTS, strict=True):
        assert apply(row["task"], row) == (f"question: {text}", text)
        assert row["wav"] == str(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", ["json", "csv"])
@pytest.mark.parametrize(
    ("wav", "expected"),
    [
        ("{data_root}/{a}.wav", "/data/{a}.wav"),
        ("$data_root/$b.wav", "/data/$b.wav"),
        ("sub/c{d}.wav", "{folder}/sub/c{d}.wav"),
        ("/abs/{data_root}.wav", "/abs/{data_root}.wav"),
    ],
)
def test_a_path_is_of_the_data_root_of_the_manifest_or_whole(
    tmp_path, monkeypatch, suffix, wav, expected
):
    (tmp_path / "deep").mkdir()
    row = {"wav": wav, "duration": 1.0, "task": "captioning", "caption": "x"}
    write(tmp_path / "deep" / f"train.{suffix}", {"1": row})
    monkeypatch.chdir(tmp_path)
    (found,) = read_manifest(f"deep/train.{suffix}", "m", "/data").values()
    assert found["wav"] == expected.replace("{folder}", "deep")


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path, suffix):
    row = {**CLIP, "task": "captioning", "caption": "rain"}
    path = write(tmp_path / f"train.{suffix}", {"1": row, "2": row})
    text = path.read_bytes().decode().replace("\r\n", "\n").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    rows = read_manifest(path, "m")
    assert list(rows) == ["m/1", "m/2"]
    assert rows["m/2"]["caption"] == "rain"


def test_lists_of_a_csv_manifest_are_those_of_a_json_one(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        "ID,labels,references,attributes\n"
        '1,"Bark,Dog","it barks, twice| a dog ","loud, low"\n'
        "2,Rain,,\n"
    )
    assert list(read_table(path)) == [
        (
            "1",
            {
                "labels": ["Bark", "Dog"],
                "references": ["it barks, twice", "a dog"],
                "attributes": ["loud", "low"],
            },
        ),
        ("2", {"labels": ["Rain"]}),
    ]


def test_a_column_declares_another_separator_and_other_lists(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        'ID,labels[;],moods[ and ]\n1,"Bark, loud;Dog, small",glad and gay\n'
    )
    ((_, row),) = read_table(path)
    assert row == {"labels": ["Bark, loud", "Dog, small"], "moods": ["glad", "gay"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"7": {"wav": "a.wav"}, "8": {}, "7": {"wav": "b.wav"}}',
        "ID,wav\n7,a.wav\n8,b.wav\n7,c.wav\n",
    ],
)
def test_an_id_that_stands_there_twice_is_an_error(tmp_path, text):
    path = tmp_path / ("train.json" if text[0] == "{" else "train.csv")
    text = text.replace('"a.wav"', '"a.wav", "duration": 1, "task": "x"')
    path.write_text(text)
    assert [key for key, _ in read_table(path)] == ["7", "8", "7"]
    if path.suffix == ".csv":
        path.write_text("ID,wav,duration,task\n7,a,1,x\n7,b,1,x\n")
    else:
        path.write_text(text.replace('"8": {}, ', ""))
    with pytest.raises(ValueError, match=rf"The ID 'm/7' is in .*{path.name} twice"):
        read_manifest(path, "m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"1": {"wav": "a", "wav": "b"}}', "Row '1' of .* has the field wav twice"),
        ('{"1": ["a.wav"]}', "Row '1' of .* is a list; a row is an object"),
        ('[{"wav": "a"}]', r"m\.json holds a list; a manifest is an object"),
        (
            '{"1": {"wav": "a"}\n "2": {}}',
            r"m\.json is no JSON: .* in line 2, column 2",
        ),
        ("wav,task\na,b\n", r"first line of .*m\.csv must name .*\['wav', 'task'\]"),
        ("ID;wav\n1;a\n", r"commas between; got \['ID;wav'\]"),
        ("ID,wav,wav\n1,a,b\n", "each once"),
        (
            "ID,wav,caption\n1,a,rain, wind\n",
            r"Row '1' of .*line 2\) has 4 cells, .* 3",
        ),
        ("ID,wav,caption\n1,a,x\n2,a\n", r"Row '2' of .*line 3\) has 2 cells, .* 3"),
        ("ID,wav\n,a\n", r"Line 2 of .*m\.csv has no ID"),
        ('ID,wav\n1,"a" b\n', r"m\.csv is no CSV: .* the row after line 1"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line_or_row(
    tmp_path, text, message
):
    path = tmp_path / ("m.json" if text[0] in "{[" else "m.csv")
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_table(path))


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes("ID,caption\n1,naïve\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"m\.csv is not UTF-8 \(.* byte 15\)"):
        list(read_table(path))
