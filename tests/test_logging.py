"""What one test's run leaves in the log does not reach the tests after it."""

import io
import logging

import speechbrain as sb


def test_a_run_writes_its_log_to_a_buffer_that_is_closed(tmp_path, monkeypatch):
    buffer = io.StringIO()
    monkeypatch.setattr("sys.stdout", buffer)
    monkeypatch.setattr("sys.excepthook", None)  # the experiment sets its own
    sb.create_experiment_directory(str(tmp_path / "run"))
    logging.getLogger("a run").warning("it trains")
    assert "it trains" in buffer.getvalue()
    buffer.close()


def test_the_next_test_logs_without_an_error(capsys):
    logging.getLogger("another").warning("it asks")
    assert "Logging error" not in capsys.readouterr().err
