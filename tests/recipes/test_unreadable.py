"""A training goes on where some files cannot be read, and stops where many cannot."""

import json
import re
import shutil

import pytest


@pytest.fixture
def spoiled(tones, tmp_path):
    """Return a function: number of text files in place of recordings -> folder.

    They are of the training and one of the validation clips.
    """

    def spoil(n_train, n_valid=0):
        folder = shutil.copytree(tones, tmp_path / "tones")
        for path in folder.glob("*.json"):
            path.write_text(path.read_text().replace(str(tones), str(folder)))
        for split, number in (("train", n_train), ("valid", n_valid)):
            for index in range(number):
                (folder / f"{split}_{index}.wav").write_text("no audio")
        return folder

    return spoil


def unreadable_clips(folder):
    """Return the number that each epoch's line of the log tells."""
    log = (folder / "train_log.txt").read_text()
    return [int(n) for n in re.findall(r"train unreadable_clips: (\d+)", log)]


def test_files_that_cannot_be_read_are_replaced_counted_and_logged(
    main, arguments, spoiled, tmp_path
):
    folder = spoiled(2, n_valid=1)
    options = {"folder": folder, "max_unreadable_share": 0.2, "num_workers": 2}
    main(arguments(**options, number_of_epochs=2))
    assert unreadable_clips(tmp_path / "run") == [2, 2]
    log = (tmp_path / "run" / "log.txt").read_text()
    for name in ("train_0", "train_1", "valid_0"):
        assert f"'tones/{name}_captioning' cannot be read; another clip" in log
    assert (tmp_path / "run" / "model" / "hyperparams.yaml").is_file()


def test_a_run_that_is_resumed_bears_them_as_well(main, arguments, spoiled, tmp_path):
    folder = spoiled(0)
    options = {"folder": folder, "max_unreadable_share": 0.1}
    main(arguments(**options, number_of_epochs=1))
    assert unreadable_clips(tmp_path / "run") == []
    (folder / "train_3.wav").unlink()
    (folder / "train_4.wav").write_text("no audio")
    main(arguments(**options, number_of_epochs=2))
    assert unreadable_clips(tmp_path / "run") == [2]


def test_more_files_than_the_limit_that_cannot_be_read_stop_a_training(
    main, arguments, spoiled, tmp_path
):
    folder = spoiled(3)
    with pytest.raises(
        ValueError, match=r"of 24 clips .* max_unreadable_share=0\.1 .*train_"
    ):
        main(arguments(folder=folder, max_unreadable_share=0.1))
    assert not (tmp_path / "run" / "model").exists()


@pytest.fixture
def listed(tones, tmp_path):
    """Return a folder of clips and a table, and the corpora of a YAML that prepare it
    where a training starts."""
    folder = shutil.copytree(tones, tmp_path / "clips")
    lines = ["file_name,text,split"]
    for split in ("train", "valid", "test"):
        rows = json.loads((folder / f"{split}.json").read_text())
        for key, row in rows.items():
            if row["task"] == "captioning":
                lines.append(f"{key.removesuffix('_captioning')}.wav,{row['caption']},")
                lines[-1] += split
        (folder / f"{split}.json").unlink()
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    manifests = tmp_path / "manifests"
    prepare = (
        f"!name:pengi_plugin.corpora.clips.prepare_clips {{data_folder: {folder}, "
        f"manifest_folder: {manifests}, task: captioning, split_column: split}}"
    )
    corpora = (
        "{general_midi: {source: null}, esc50: {source: null}, "
        f"tones: {{manifest_folder: {manifests}, share: 1.0, prepare: {prepare}}}}}"
    )
    return folder, manifests, corpora


def test_a_run_goes_on_with_its_rows_where_listed_files_have_gone_since(
    main, arguments, listed, tmp_path
):
    folder, manifests, corpora = listed
    options = {"corpora": corpora, "max_unreadable_share": 0.1, "pairs_per_clip": 1}
    main(arguments(**options, number_of_epochs=1))
    before = (manifests / "train.json").read_bytes()
    (folder / "train_3.wav").unlink()
    main(arguments(**options, number_of_epochs=2))
    assert (manifests / "train.json").read_bytes() == before
    assert unreadable_clips(tmp_path / "run") == [1]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"1 have gone or are empty: {folder / 'train_3.wav'})" in log
    # A new run prepares them again, and is one of the files that are there.
    main(arguments("new", **options, number_of_epochs=1))
    assert unreadable_clips(tmp_path / "new") == []
    assert "train_3" not in (manifests / "train.json").read_text()
    # Which the first run then refuses, and says what to do.
    with pytest.raises(ValueError, match=r"train rows: .24 .* put its files back"):
        main(arguments(**options, number_of_epochs=3))
