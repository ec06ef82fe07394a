"""How often a task is seen, against counting what a data set samples."""

import pytest

from pengi_plugin.training.exposure import equal_exposure, task_share, train_longer


def row(wav, task, corpus="a"):
    return {"wav": wav, "task": task, "corpus": corpus}


ROWS = dict(
    enumerate(
        [
            row("1", "captioning"),
            *[row("1", "question_answering")] * 3,
            row("2", "captioning"),
            row("3", "question_answering"),
            row("4", "captioning", "b"),
            row("4", "metadata", "b"),
        ]
    )
)


def test_a_task_has_the_share_of_its_weights_in_each_clip():
    assert task_share(ROWS, "captioning") == pytest.approx((1 / 4 + 1 + 0 + 1 / 2) / 4)
    weighed = task_share(ROWS, "captioning", {"question_answering": 2.0})
    assert weighed == pytest.approx((1 / 7 + 1 + 0 + 1 / 2) / 4)


def test_clips_without_any_weight_are_never_sampled():
    share = task_share(ROWS, "captioning", {"question_answering": 0.0})
    assert share == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_shares_of_corpora_weigh_their_clips():
    share = task_share(ROWS, "captioning", shares={"a": 1.0, "b": 3.0})
    assert share == pytest.approx((1 / 4 + 1 + 0) / 3 / 4 + 3 / 4 / 2)


def hparams(**changes):
    return {
        "number_of_epochs": 6,
        "pairs_per_clip": 1,
        "task_weights": {},
        "corpora": {"a": {"share": 3.0}, "b": {"share": 1.0}},
        **changes,
    }


def test_a_task_is_seen_as_often_as_alone():
    n_epoch = equal_exposure(hparams(), ROWS, "captioning")
    alone = 6 * 3  # clips with a caption
    among_all = n_epoch * 4 * task_share(ROWS, "captioning")
    assert n_epoch == 10
    assert among_all == pytest.approx(alone, rel=0.05)


def test_clips_that_are_never_sampled_make_no_run_shorter():
    changed = hparams(task_weights={"question_answering": 0.0})
    n_epoch = equal_exposure(changed, ROWS, "captioning")
    # Three clips are sampled, one of them half the time for another task.
    share = task_share(ROWS, "captioning", changed["task_weights"], {"a": 3, "b": 1})
    assert n_epoch * 3 * share == pytest.approx(6 * 3, rel=0.05)


def test_what_is_never_seen_or_sampled_otherwise_is_refused():
    with pytest.raises(ValueError, match="No row to train on is of the task 'music_no"):
        equal_exposure(hparams(), ROWS, "music_note")
    with pytest.raises(ValueError, match="pairs_per_clip 1; got 2"):
        equal_exposure(hparams(pairs_per_clip=2), ROWS, "captioning")


def test_a_longer_run_is_longer_for_its_counter_too():
    class Counter:
        limit = 6

    loaded = hparams(epoch_counter=Counter())
    train_longer(loaded, 10)
    assert (loaded["number_of_epochs"], loaded["epoch_counter"].limit) == (10, 10)
