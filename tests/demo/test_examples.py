"""The page's examples are sounds that are rendered here, with tasks that it has."""

import soundfile

from pengi_plugin.demo.examples import make_examples
from pengi_plugin.demo.visit import make_question


def test_examples_can_be_asked_as_they_are(tmp_path):
    examples = make_examples(tmp_path)
    assert len(examples) == 4
    prompts = set()
    for path, task, words in examples:
        wave, rate = soundfile.read(path)
        assert rate == 16000
        assert 2 < len(wave) / rate < 3
        assert abs(wave).max() > 0.01
        rest = ("", "nearness to the answer", "the beginning", 60)
        prompts.add(make_question(path, task, words, *rest).prompt)
    assert len(prompts) == 4
