"""How long a run will take, told once its speed is known."""

import pytest

from pengi_plugin.training import progress
from pengi_plugin.training.progress import Progress, time_left


def test_the_time_left_is_of_the_updates_and_validations_left():
    message = time_left(6000, 0.5, 4, 150.0)
    assert message.startswith("Training takes 1 h 0 min more: ")  # 3000 + 600 s
    assert "lower" not in message


def test_validations_that_were_not_timed_are_named_and_not_counted():
    message = time_left(600, 0.1, 4)
    assert message.startswith("Training takes 1 min more: ")
    assert "4 validations, not timed yet" in message
    assert time_left(3, 0.1, 0, 1.0).startswith("Training takes 0 s more")


def test_the_message_names_the_options_that_make_a_run_shorter():
    message = time_left(60, 1.0, 0, 1.0, {"number_of_epochs": 6, "n_train": 800})
    assert message.endswith("lower --number_of_epochs (now 6), --n_train (now 800).")


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose one number is the time in s."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_time_is_told_after_twenty_updates_and_after_the_first_validation(clock):
    run, told = Progress(n_update=60, n_epoch=5), {}
    for update in range(60):
        epoch, index = divmod(update, 12)
        if not index:
            run.start_stage()
        # The first five are slow: memory is allocated.
        clock[0] += 100.0 if update < 5 else 2.0
        told[update + 1] = run.end_update(update + 1, epoch + 1)
        if index == 11:
            run.start_stage()
            clock[0] += 30.0
            told[f"epoch {epoch + 1}"] = run.end_validation(update + 1, epoch + 1)
    told = {when: message for when, message in told.items() if message}
    assert list(told) == [20]  # the first validation was before, and is included
    # 40 updates of 2 s, and validations of the epochs 2 to 5
    assert "40 updates of 2.00 s, 4 validations of 30.0 s" in told[20]
    assert "takes 3 min more" in told[20]


def test_the_first_validation_corrects_what_was_told_before_it(clock):
    run = Progress(n_update=60, n_epoch=2)
    run.start_stage()
    for update in range(1, 31):
        clock[0] += 2.0
        message = run.end_update(update, 1)
        assert ("2 validations, not timed yet" in (message or "")) == (update == 20)
    run.start_stage()
    clock[0] += 10.0
    message = run.end_validation(30, 1)
    assert "30 updates of 2.00 s, 1 validations of 10.0 s" in message
    assert run.end_validation(60, 2) is None
