"""What Ray wrote becomes the parts of the local engine: each recording once, whole."""

import pyarrow
import pytest
from pyarrow import parquet

from pengi_plugin.annotation.output import Output, read_part, write_part
from pengi_plugin.annotation.ray_answers import (
    Answers,
    answered,
    write_recordings,
)
from tests.annotation.counting import output_in, rows_of


def store(output, ids, name, committed=True, rows=None):
    """Write the answers about recordings, and their checkpoint, as Ray does."""
    paths = [output.paths[n] for n in ids]
    rows = rows_of(paths) if rows is None else rows
    for folder in ("answers", "checkpoint"):
        (output.work_folder / folder).mkdir(parents=True, exist_ok=True)
    table = answered(pyarrow.array(ids), paths, rows)
    parquet.write_table(table, output.work_folder / "answers" / f"{name}-0.parquet")
    name += ".parquet" if committed else ".pending.parquet"
    parquet.write_table(table.select(["id"]), output.work_folder / "checkpoint" / name)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_parts_are_byte_for_byte_those_of_the_local_engine(tmp_path, form):
    output, local = output_in(tmp_path / "ray", form), output_in(tmp_path, form)
    ids = list(range(37))
    store(output, ids[30:] + ids[1:5], "u_000000")
    store(output, ids[:1] + ids[5:30], "u_000001")
    answers = Answers(output)
    assert answers.n_missing(range(13)) == 0
    answers.write_parts(range(13))
    for part in range(13):
        write_part(local.path_of(part), rows_of(local.recordings_of(part)))
        found = output.path_of(part).read_bytes()
        assert found == local.path_of(part).read_bytes()


def test_what_is_not_committed_does_not_count_and_what_is_twice_counts_once(tmp_path):
    output = output_in(tmp_path)
    store(output, [0, 1], "u_000000")
    store(output, [2, 3], "u_000001", committed=False)
    store(output, [1, 2], "v_000000")  # by a task that outlived its driver
    answers = Answers(output)
    assert answers.n_missing([0]) == 0
    assert answers.n_missing([0, 1]) == 3
    answers.write_parts([0])
    assert list(read_part(output.path_of(0))) == list(rows_of(output.paths[:3]))


def test_names_numbers_and_errors_come_back_as_they_were(tmp_path):
    paths = ("\udcffé.wav", "b.wav")
    output = Output(str(tmp_path), paths)
    rows = [
        {"path": paths[0], "score": -0.1234567890123, "error": None},
        {"path": paths[1], "score": None, "error": "no \udcff"},
    ]
    store(output, [0, 1], "u_000000", rows=rows)
    listed = parquet.read_table(write_recordings(output, [0])).to_pylist()
    assert listed == [
        {"id": 0, "path": b"\xff\xc3\xa9.wav"},
        {"id": 1, "path": b"b.wav"},
    ]
    Answers(output).write_parts([0])
    assert list(read_part(output.path_of(0))) == rows


def test_a_damaged_file_is_named_with_what_to_do(tmp_path):
    output = output_in(tmp_path)
    store(output, [0, 1], "u_000000")
    path = output.work_folder / "answers" / "u_000000-0.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"u_000000-0\.parquet is damaged .* Remove"):
        Answers(output)
