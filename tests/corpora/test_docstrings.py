"""What is known of a corpus for certain, and what is not, stands in its docstring."""

import importlib

import pytest

from pengi_plugin.commands.prepare import corpora


@pytest.mark.parametrize("name", corpora())
def test_a_corpus_says_what_is_certain(name):
    text = importlib.import_module(f"pengi_plugin.corpora.{name}").__doc__
    assert "\nCertain" in text
    text = " ".join(text.split())
    doubts = ("rom memory", "Not seen", "econstruction", "guess", "not known", "Ours")
    none_left = ("as the clips are made here", "as you say")
    assert any(words in text for words in (*doubts, *none_left))
