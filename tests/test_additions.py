"""An addition is one file: a corpus with its benchmark, a search, a metric, a protocol.

Each is written into a temporary folder, as it would be into the project, and used in
the ways that users have. No other file is touched.
"""

import importlib
import io
import json
import shutil

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML

import pengi_plugin.corpora
from pengi_plugin.__main__ import main as pengi
from pengi_plugin.inference import AudioLanguageModel
from pengi_plugin.pretrained.write import write_model
from tests.recipes.conftest import recipe_main
from tests.tone_model import write_tone

CORPUS = '''
"""Beeps: 500 and 1500 Hz."""

from pathlib import Path

from pengi_plugin.data.manifest import check_files, is_prepared, write_manifests


def prepare_beeps(data_folder, manifest_folder):
    arguments = {"data_folder": str(data_folder)}
    if is_prepared(manifest_folder, arguments):
        return
    durations, left_out = check_files(sorted(Path(data_folder).glob("*.wav")))
    rows = {
        Path(path).stem: {
            "wav": "{data_root}/" + Path(path).name,
            "duration": seconds,
            "task": "sound_events",
            "labels": [Path(path).stem.split("_")[0]],
        }
        for path, seconds in durations.items()
    }
    splits = {"train": rows, "valid": rows, "test": rows}
    write_manifests(manifest_folder, splits, data_folder, arguments, left_out)
'''

BENCHMARK = """
beeps_folder: null
sets:
    beeps:
        title: Beeps
        protocol: !name:length_protocol.lengths
        prepare: !name:pengi_plugin.corpora.beeps.prepare_beeps
            data_folder: !ref <beeps_folder>
            manifest_folder: !ref <data_folder>/beeps
        source: !ref <beeps_folder>
        manifests: [!ref <data_folder>/beeps/test.json]
        where: {task: sound_events}
        fields: {label: labels}
        get: Give --beeps_folder.
"""

METRIC = '''
def n_letters(answers):
    """Return the number of letters of each answer."""
    return [float(len(answer)) for answer in answers]
'''

PROTOCOL = '''
from length_metric import n_letters

from pengi_plugin.protocols.score import mean_score
from pengi_plugin.protocols.session import generated_answers


def lengths(session, rows):
    """Score how long the answers are."""
    return [mean_score("letters", n_letters(generated_answers(session, rows)))]
'''

SEARCH = '''
import torch
from speechbrain.decoders.seq2seq import S2SBaseSearcher

from pengi_plugin.decoders.options import SearchOptions


class OneWord(SearchOptions, S2SBaseSearcher):
    """Answer with one token, the ``rank``-th likeliest."""

    def __init__(self, lm, eos_index, rank=0):
        super().__init__(eos_index, eos_index, 0.0, 1.0)
        self.lm, self.rank = lm, rank

    def forward(self, enc_states, wav_len=None):
        logits, _ = self.lm.prefill(enc_states, wav_len)
        log_probs = logits.log_softmax(-1)
        best = log_probs.argsort(-1, descending=True)[:, self.rank, None]
        scores = log_probs.gather(1, best)
        return best.tolist(), torch.ones(len(best)), scores[:, 0], scores
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes a module into a folder of importable modules."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def write(name, text):
        (folder / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    return write


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Add a corpus; return its data folder."""
    folder = tmp_path / "corpora"
    folder.mkdir()
    (folder / "beeps.py").write_text(CORPUS)
    path = [*pengi_plugin.corpora.__path__, str(folder)]
    monkeypatch.setattr(pengi_plugin.corpora, "__path__", path)
    data = tmp_path / "data"
    data.mkdir()
    for hertz in (500, 1500):
        write_tone(data / f"{hertz}_beep.wav", hertz)
    return data


def test_a_corpus_with_a_benchmark_a_protocol_and_a_metric_is_a_file_each(
    corpus, package, root, tiny_folder, tmp_path, capsys
):
    with pytest.raises(SystemExit):
        pengi(["prepare", "--list"])
    assert "beeps" in capsys.readouterr().out.split()
    assert pengi(["prepare", "beeps", str(corpus), str(tmp_path / "made")]) == 0
    rows = json.loads((tmp_path / "made" / "test.json").read_text())
    assert {name: row["labels"] for name, row in rows.items()} == {
        "500_beep": ["500"],
        "1500_beep": ["1500"],
    }

    shutil.copytree(root / "hparams", tmp_path / "hparams")
    (tmp_path / "hparams" / "benchmark" / "beeps.yaml").write_text(BENCHMARK)
    package("length_metric", METRIC)
    package("length_protocol", PROTOCOL)
    (line,) = recipe_main(root, "benchmark", "evaluate.py")(
        [
            str(tmp_path / "hparams" / "benchmark.yaml"),
            *("--model", str(tiny_folder), "--tasks", "beeps"),
            *("--output_folder", str(tmp_path / "out"), "--device=cpu"),
            *("--data_folder", str(tmp_path), "--beeps_folder", str(corpus)),
        ]
    )
    model = AudioLanguageModel.from_hparams(source=tiny_folder)
    answers = model.generate_files(sorted(corpus.glob("*.wav")), "this is a sound of")
    assert line["note"] == ""
    assert line["score"] == sum(map(len, answers)) / 2
    assert line["metric"] == "letters"


def test_a_search_is_one_file(package, root, tmp_path, corpus, capsys):
    package("one_word", SEARCH)
    text = (root / "hparams" / "model" / "tiny.yaml").read_text()
    text = text.replace(
        "pengi_plugin.decoders.beam.PrefixBeamSearcher", "one_word.OneWord"
    )
    text = text.replace("    beam_size: !ref <beam_size>\n", "")
    text = text.replace("    max_new_tokens: !ref <max_new_tokens>\n", "    rank: 1\n")
    folder = tmp_path / "model"
    folder.mkdir()
    section = YAML().load(resolve_references(io.StringIO(text)))
    write_model(folder, section, load_hyperpyyaml(io.StringIO(text)))

    model = AudioLanguageModel.from_hparams(source=folder, trust=True)
    path = corpus / "500_beep.wav"
    prefix = model.encode_batch(
        model.load_clip(path)[None], torch.ones(1), "what is it?"
    )
    order = model.mods.pengi.lm.prefill(prefix)[0][0].argsort(descending=True).tolist()
    for rank, options in ((1, {}), (7, {"rank": 7})):
        answer = model.generate_file(path, "what is it?", **options)
        assert answer == model.tokenizer.decode_ids([order[rank]]).strip()
    assert pengi(["ask", str(folder), "what is it?", str(path), "--trust"]) == 0
    answer = model.tokenizer.decode_ids([order[1]]).strip()
    assert capsys.readouterr().out.rstrip("\n").split("\t") == [str(path), answer]
    with pytest.raises(ValueError, match="OneWord has rank"):
        model.generate_file(path, "what is it?", rang=7)
