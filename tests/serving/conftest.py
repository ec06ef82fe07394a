"""Sounds, and requests with them in both forms."""

import base64

import pytest

from tests.sounds import write_sounds


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """Return files of different sounds and lengths."""
    return write_sounds(tmp_path_factory.mktemp("sounds"), (0.4, 2.5, 1.0, 1.7))


@pytest.fixture(scope="session")
def in_base64():
    """Return a function: path -> its bytes as JSON holds them."""
    return lambda path: base64.b64encode(path.read_bytes()).decode()
