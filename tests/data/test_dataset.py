import json
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from pengi_plugin.data.batch import PairBatch
from pengi_plugin.data.dataset import ClipDataset, make_sampler
from pengi_plugin.data.manifest import manifest_path, read_manifest, read_manifests
from pengi_plugin.tasks import extend
from tests.doubles import Letters


@pytest.fixture
def ramp(tmp_path):
    """Ten seconds at 100 Hz, whose value is the time in tens of seconds."""
    path = tmp_path / "ramp.wav"
    soundfile.write(path, np.arange(1000) / 1000, 100, subtype="FLOAT")
    return path


@pytest.fixture
def rows(tmp_path, ramp):
    """Two corpora: three clips of one row each, one clip of five rows."""
    rows = {}
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.full(50, 0.25), 100)
        wav = str(tmp_path / f"{name}.wav")
        row = {"wav": wav, "duration": 0.5, "corpus": "short"}
        rows[name] = {**row, "task": "sound_events", "labels": [name * 3, name]}
    for number in range(5):
        row = {"wav": str(ramp), "duration": 10.0, "corpus": "long"}
        rows[f"q{number}"] = {**row, "task": "question_answering"}
        rows[f"q{number}"] |= {
            "question": f"is it {number}?",
            "answer": "abcde"[number],
        }
    return rows


def make_dataset(rows, **options):
    return ClipDataset(rows, 100, 2.0, Letters(), "z", **options)


def write_manifest(folder, rows, name="train.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(rows))
    return folder / name


ROW = {
    "wav": "{data_root}/a.wav",
    "duration": 1.0,
    "task": "captioning",
    "caption": "x",
}


# Manifests


def test_a_row_knows_its_corpus_and_id_and_its_path_is_made_whole(tmp_path):
    path = write_manifest(tmp_path / "m", {"r1": ROW})
    (row,) = read_manifest(path, "birds", data_root="/data").values()
    assert (row["id"], row["corpus"]) == ("birds/r1", "birds")
    assert row["wav"] == "/data/a.wav"


def test_a_manifest_that_was_moved_with_its_record_finds_its_files(tmp_path):
    path = write_manifest(tmp_path / "m", {"r1": ROW})
    assert read_manifest(path, "m")["m/r1"]["wav"] == str(tmp_path / "m" / "a.wav")
    (path.parent / "prepared.json").write_text(json.dumps({"data_root": "/old"}))
    assert read_manifest(path, "m")["m/r1"]["wav"] == "/old/a.wav"


def test_a_csv_manifest_is_read_as_a_json_one_is(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        "ID,duration,wav,task,caption\nr1,1.5,$data_root/a.wav,captioning,rain falls\n"
    )
    (row,) = read_manifest(path, "birds", data_root="/data").values()
    assert (row["wav"], row["task"], row["caption"]) == (
        *("/data/a.wav", "captioning"),
        "rain falls",
    )


def test_an_empty_cell_of_a_csv_manifest_is_no_field(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(
        "ID,duration,wav,task,caption,question,answer\n"
        "r1,1.5,a.wav,captioning,rain falls,,\n"
        "r2,1.5,a.wav,question_answering,,is it wet?,yes\n"
    )
    rows = read_manifest(path, "birds")
    assert "question" not in rows["birds/r1"]
    assert "caption" not in rows["birds/r2"]
    path.write_text(path.read_text().replace("r2,1.5,a.wav", "r2,1.5,"))
    with pytest.raises(ValueError, match=r"Row 'birds/r2' of .* has no wav"):
        read_manifest(path, "birds")


def test_the_manifest_of_a_split_is_its_json_or_its_csv_but_not_both(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no train\.json or train\.csv in"):
        manifest_path(tmp_path, "train")
    (tmp_path / "train.csv").touch()
    assert manifest_path(tmp_path, "train") == tmp_path / "train.csv"
    write_manifest(tmp_path, {"r1": ROW}, "valid.json")
    assert manifest_path(tmp_path, "valid") == tmp_path / "valid.json"
    write_manifest(tmp_path, {"r1": ROW}, "train.json")
    with pytest.raises(ValueError, match=r"holds both train\.json and train\.csv"):
        manifest_path(tmp_path, "train")


def test_several_manifests_are_read_in_order_as_json_or_csv_with_their_splits(tmp_path):
    folder = tmp_path / "birds"
    folder.mkdir()
    write_manifest(folder, {"r1": ROW}, "valid.json")
    (folder / "test.csv").write_text(f"ID,wav,duration,task\nr2,{ROW['wav']},1,x\n")
    rows = read_manifests([folder / "test.json", str(folder / "valid.json")])
    assert [(row["id"], row["split"]) for row in rows] == [
        ("birds/r2", "test"),
        ("birds/r1", "valid"),
    ]
    with pytest.raises(FileNotFoundError, match=r"no train\.json or train\.csv in"):
        read_manifests([folder / "train.json"])


@pytest.mark.parametrize("field", ["wav", "duration", "task"])
def test_a_row_without_a_field_is_named(tmp_path, field):
    row = {key: value for key, value in ROW.items() if key != field}
    path = write_manifest(tmp_path / "m", {"r1": ROW, "r2": row})
    with pytest.raises(
        ValueError, match=rf"Row 'm/r2' of .* has no {field}; every row"
    ):
        read_manifest(path, "m")


@pytest.mark.parametrize("duration", [0, -1.0, "long", float("nan"), float("inf")])
def test_a_wrong_duration_is_named(tmp_path, duration):
    path = write_manifest(tmp_path / "m", {"r1": {**ROW, "duration": duration}})
    with pytest.raises(ValueError, match=f"'m/r1' .* the duration {duration!r}; give"):
        read_manifest(path, "m")


def test_a_missing_manifest_says_to_prepare_the_corpus(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no manifest .*x\.json; prepare the"):
        read_manifest(tmp_path / "x.json", "m")


# Data sets


def test_an_item_is_a_clip_with_all_its_prompts_and_answers(rows):
    dataset = make_dataset(rows)
    assert len(dataset) == 4
    item = dataset[3]
    assert [pair["prompt"] for pair in item["pairs"]] == [
        f"question: is it {number}?" for number in range(5)
    ]
    assert [pair["id"] for pair in item["pairs"]] == ["q0", "q1", "q2", "q3", "q4"]
    assert item["wav"].shape == (200,)
    assert dataset[1]["pairs"][0]["answer"] == "bbb, b"


def test_the_tokens_of_an_answer_end_with_those_of_its_end_mark(rows):
    (pair,) = make_dataset({"b": {**rows["b"], "labels": "bee"}})[0]["pairs"]
    assert pair["answer_ids"].tolist() == [2, 5, 5, 26]


def test_another_draw_of_rows_and_crop_comes_with_every_epoch_and_seed(rows):
    def draw(epoch, seed=0):
        dataset = make_dataset(rows, pairs_per_clip=2, random_crop=True, seed=seed)
        dataset.set_epoch(epoch)
        item = dataset[3]
        return item["wav"][0].item(), [pair["id"] for pair in item["pairs"]]

    draws = [draw(epoch) for epoch in range(30)]
    assert draws == [draw(epoch) for epoch in range(30)]
    assert len({start for start, _ in draws}) > 25
    assert {row for _, pairs in draws for row in pairs} == {f"q{n}" for n in range(5)}
    assert all(len(set(pairs)) == 2 for _, pairs in draws)
    assert [draw(epoch, seed=1) for epoch in range(30)] != draws


def test_without_random_crop_the_beginning_is_taken_in_every_epoch(rows):
    dataset = make_dataset(rows)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        assert dataset[3]["wav"][0].item() == 0.0


def test_task_weights_tell_how_often_a_row_is_drawn(rows, ramp):
    row = {"wav": str(ramp), "duration": 10.0, "corpus": "long", "caption": "x"}
    rows["caption"] = {**row, "task": "captioning"}

    def share(weight):
        weights = {"captioning": weight}
        dataset = make_dataset(rows, pairs_per_clip=1, task_weights=weights)
        count = 0
        for epoch in range(400):
            dataset.set_epoch(epoch)
            count += dataset[3]["pairs"][0]["id"] == "caption"
        return count / 400

    assert share(1.0) == pytest.approx(1 / 6, abs=0.06)
    assert share(5.0) == pytest.approx(1 / 2, abs=0.08)


@pytest.mark.parametrize("fault", ["missing", "empty"])
def test_a_file_that_is_missing_or_empty_is_told_before_training(rows, tmp_path, fault):
    path = tmp_path / "b.wav"
    path.unlink()
    if fault == "empty":
        path.touch()
    with pytest.raises(
        FileNotFoundError, match=r"1 of 4 audio files .*b\.wav of row 'b'"
    ):
        make_dataset(rows)


def test_an_unknown_task_and_a_missing_word_are_told_before_training(rows):
    with pytest.raises(ValueError, match="Row 'a' has the unknown task 'bird'"):
        make_dataset({**rows, "a": {**rows["a"], "task": "bird"}})
    with pytest.raises(ValueError, match="Row 'a' of task 'captioning' has no caption"):
        make_dataset({**rows, "a": {**rows["a"], "task": "captioning"}})


def test_a_template_of_the_user_is_applied(rows):
    templates = extend({"bird": {"prompt": "which bird?", "answer": "{labels}"}})
    row = {**rows["a"], "task": "bird", "labels": "wren"}
    (pair,) = make_dataset({"a": row}, templates=templates)[0]["pairs"]
    assert (pair["prompt"], pair["answer"]) == ("which bird?", "wren")


def test_an_answer_longer_than_the_model_takes_is_named(rows):
    dataset = make_dataset(rows)
    dataset.check_answers(7)
    with pytest.raises(ValueError, match=r"row 'a' has 7 tokens .* takes 6 after"):
        dataset.check_answers(6)


def test_an_unknown_task_or_a_wrong_number_among_the_weights_is_named(rows):
    with pytest.raises(ValueError, match=r"unknown tasks \['captions'\]; known are"):
        make_dataset(rows, task_weights={"captions": 2.0})
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"of 'captioning' is {weight}; give a"):
            make_dataset(rows, task_weights={"captioning": weight})
    templates = extend({"bird": {"prompt": "which bird?", "answer": "{bird}"}})
    make_dataset(rows, templates=templates, task_weights={"bird": 2.0})


def test_a_row_of_weight_0_is_never_drawn(rows, ramp):
    row = {"wav": str(ramp), "duration": 10.0, "corpus": "long", "caption": "x"}
    rows["caption"] = {**row, "task": "captioning"}
    weights = {"question_answering": 0, "sound_events": 0.0}
    dataset = make_dataset(rows, pairs_per_clip=3, task_weights=weights)
    assert [pair["id"] for pair in dataset.pairs] == ["caption"]
    assert len(dataset) == 1  # the other clips have no row to draw
    for epoch in range(20):
        dataset.set_epoch(epoch)
        assert [pair["id"] for pair in dataset[0]["pairs"]] == ["caption"]
    with pytest.raises(ValueError, match=r"All 9 rows .* weight 0 .*'captioning'"):
        make_dataset(rows, pairs_per_clip=1, task_weights={**weights, "captioning": 0})


def test_no_rows_are_an_error():
    with pytest.raises(ValueError, match="There are no rows"):
        make_dataset({})


# Files that cannot be read


@pytest.fixture
def many(tmp_path):
    """Twenty clips of two corpora, each of its own value and with a row of its own."""
    rows = {}
    for number in range(20):
        wav = tmp_path / f"{number}.wav"
        soundfile.write(wav, np.full(50, number / 100), 100, subtype="FLOAT")
        row = {"wav": str(wav), "duration": 0.5, "corpus": "ab"[number % 2]}
        row |= {"task": "captioning", "caption": "abcdefghijklmnopqrst"[number]}
        rows[str(number)] = row
    return rows


def spoil(path, fault):
    if fault == "missing":
        path.unlink()
    elif fault == "NaN":
        soundfile.write(path, np.full(50, np.nan), 100, subtype="FLOAT")
    elif fault == "no samples":
        soundfile.write(path, np.zeros(0), 100)
    else:
        path.write_bytes({"empty": b"", "text": b"no audio"}[fault])


def items(dataset, epochs=(1, 2, 3)):
    """Return (number in the clip, ID of its row) of every item of some epochs."""
    found = []
    for epoch in epochs:
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            item = dataset[index]
            (pair,) = item["pairs"]
            found.append((round(100 * item["wav"][0].item()), int(pair["id"])))
    return found


@pytest.mark.parametrize("fault", ["missing", "empty", "text", "NaN", "no samples"])
def test_a_file_that_cannot_be_read_is_replaced_by_another_of_its_corpus(
    many, tmp_path, fault, caplog
):
    dataset = make_dataset(many, max_unreadable_share=0.05)
    whole = items(dataset, epochs=range(20))
    spoil(tmp_path / "4.wav", fault)
    caplog.clear()
    found = items(dataset, epochs=range(20))
    replaced = [new for old, new in zip(whole, found, strict=True) if old != new]
    assert [old for old, new in zip(whole, found, strict=True) if old != new] == [
        (4, 4)
    ] * 20
    # The sound and the words are of one item, of the same corpus, and vary.
    assert all(clip == row and row % 2 == 0 and row != 4 for clip, row in replaced)
    assert len(set(replaced)) > 1
    assert dataset.n_unreadable == 1
    (record,) = caplog.records  # once, though it was met in 20 epochs
    assert "row '4' cannot be read" in record.getMessage()
    assert "(1 of 20 so far)" in record.getMessage()


def test_a_run_that_is_resumed_replaces_a_file_by_the_same_ones(many, tmp_path):
    first = make_dataset(many, max_unreadable_share=0.1)
    for number in (4, 6):
        spoil(tmp_path / f"{number}.wav", "missing")
    whole_run = items(first, epochs=(1, 2, 3))
    again = make_dataset(many, max_unreadable_share=0.1)
    assert again.n_unreadable == 2
    assert items(again, epochs=(3,)) == whole_run[-20:]


def test_worker_processes_replace_as_the_main_process_does_and_count_together(
    many, tmp_path, caplog
):
    datasets = [make_dataset(many, max_unreadable_share=0.1) for _ in range(2)]
    for number in (4, 7):
        spoil(tmp_path / f"{number}.wav", "text")
    for epoch in (1, 2):
        batches = []
        for dataset, workers in zip(datasets, (0, 2), strict=True):
            dataset.set_epoch(epoch)
            loader = DataLoader(dataset, 4, collate_fn=PairBatch, num_workers=workers)
            batches.append([batch.id for batch in loader])
        assert batches[0] == batches[1]
    assert [dataset.n_unreadable for dataset in datasets] == [2, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_more_files_than_the_limit_that_cannot_be_read_are_an_error(
    many, tmp_path, workers
):
    dataset = make_dataset(many, max_unreadable_share=0.1)
    loader = DataLoader(dataset, 1, collate_fn=PairBatch, num_workers=workers)
    for number in (4, 7, 9):
        spoil(tmp_path / f"{number}.wav", "text")
    with pytest.raises(
        ValueError, match=r"3 of 20 clips .* max_unreadable_share=0\.1 .*\.wav"
    ):
        list(loader)


def test_files_that_are_gone_before_the_start_count_for_the_limit(many, tmp_path):
    for number in (4, 7, 9):
        spoil(tmp_path / f"{number}.wav", "missing")
    make_dataset(many, max_unreadable_share=0.15)
    with pytest.raises(FileNotFoundError, match=r"3 of 20 .*4\.wav of row '4'"):
        make_dataset(many, max_unreadable_share=0.1)


def test_without_a_limit_a_file_that_cannot_be_read_is_an_error(many, tmp_path):
    dataset = make_dataset(many)
    spoil(tmp_path / "4.wav", "NaN")
    with pytest.raises(ValueError, match=r"4\.wav has samples that are NaN"):
        items(dataset)


def test_only_a_file_is_replaced_not_an_error_of_the_program(many):
    dataset = make_dataset(many, max_unreadable_share=0.5)
    dataset.tokenizer = None
    with pytest.raises(AttributeError, match="NoneType"):
        items(dataset)


# Batches


def test_a_batch_holds_each_clip_once_and_tells_whose_each_pair_is(rows):
    dataset = make_dataset(rows)
    batch = PairBatch([dataset[3], dataset[0]])
    assert batch.wav.data.shape == (2, 200)
    assert batch.clip_index.tolist() == [0, 0, 0, 0, 0, 1]
    assert batch.id == ["q0", "q1", "q2", "q3", "q4", "a"]
    assert batch.task == ["question_answering"] * 5 + ["sound_events"]
    assert batch.answer_ids.data.shape == (6, 7)
    lengths = (batch.answer_ids.lengths * 7).round().long()
    assert lengths.tolist() == [2] * 5 + [7]
    assert batch.answer_ids.data[1].tolist() == [2, 26, 0, 0, 0, 0, 0]


def test_an_item_has_a_clip_and_its_pairs_and_further_columns_become_lists(rows):
    dataset = make_dataset(rows)
    assert dataset[3].keys() == {"id", "wav", "pairs"}
    items = [{**dataset[index], "length": index} for index in (3, 0)]
    assert PairBatch(items).length == [3, 0]


def test_worker_processes_sample_what_the_main_process_samples(rows):
    dataset = make_dataset(rows, pairs_per_clip=2, random_crop=True)
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        batches = [
            list(DataLoader(dataset, 1, collate_fn=PairBatch, num_workers=workers))
            for workers in (0, 2)
        ]
        for batch, other in zip(*batches):
            assert batch.id == other.id
            assert torch.equal(batch.wav.data, other.wav.data)


def test_one_corpus_comes_whole_every_epoch_in_a_new_order(rows):
    dataset = make_dataset({key: rows[key] for key in "abc"})
    sampler = make_sampler(dataset, {})
    orders = []
    for epoch in range(8):
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
        assert sorted(orders[-1]) == [0, 1, 2]
    assert len(set(orders)) > 2
    sampler.set_epoch(3)
    assert tuple(sampler) == orders[3]


def test_corpora_are_mixed_by_their_shares_whatever_their_sizes(rows):
    dataset = make_dataset(rows)
    sampler = make_sampler(dataset, {"short": 1.0, "long": 3.0})
    counts = Counter()
    for epoch in range(500):
        sampler.set_epoch(epoch)
        counts.update(sampler)
    assert counts.total() == 500 * 4
    assert counts[3] / counts.total() == pytest.approx(3 / 4, abs=0.04)
    assert counts[0] / counts.total() == pytest.approx(1 / 12, abs=0.03)


def test_corpora_that_share_their_files_each_keep_their_share(tmp_path, rows, ramp):
    for name in "abc":  # the same three clips, with questions
        row = {"wav": rows[name]["wav"], "duration": 0.5, "corpus": "questions"}
        row |= {"task": "question_answering", "question": "which?", "answer": name}
        rows[f"{name}?"] = row
    dataset = make_dataset(rows, pairs_per_clip=1)
    assert len(dataset) == 7
    shares = {"short": 0.3, "long": 0.1, "questions": 0.6}
    sampler = make_sampler(dataset, shares)
    counts = Counter()
    for epoch in range(300):
        sampler.set_epoch(epoch)
        for index in sampler:
            clip = dataset.data[dataset.data_ids[index]]
            counts[clip["corpus"]] += 1
            tasks = {pair["task"] for pair in clip["rows"]}
            assert len(tasks) == 1  # of its own corpus only
    for corpus, share in shares.items():
        assert counts[corpus] / counts.total() == pytest.approx(share, abs=0.04)


def test_shares_that_are_all_0_or_negative_are_refused(rows):
    for shares in ({"short": 0, "long": 0}, {"short": 1.0, "long": -1.0}):
        with pytest.raises(ValueError, match=r"Shares must be numbers from 0 .*'long'"):
            make_sampler(make_dataset(rows), shares)


def test_a_corpus_without_a_share_is_named(rows):
    with pytest.raises(ValueError, match=r"No share .* \['long'\]; got .*\['short'\]"):
        make_sampler(make_dataset(rows), {"short": 1.0})
