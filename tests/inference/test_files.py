"""Answers about files: windows, batches, several answers, descriptions, errors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from pengi_plugin.data.audio import window_starts
from pengi_plugin.decoders.beam import PrefixBeamSearcher
from pengi_plugin.decoders.greedy import PrefixGreedySearcher
from pengi_plugin.decoders.sampling import PrefixSampler
from pengi_plugin.inference import DESCRIBE_PROMPTS, AudioLanguageModel, summarize

RATE = 8000


def test_windows_cover_a_long_recording(model, noise, tmp_path):
    parts = [noise(1.0, seed) for seed in (0, 1, 2)]
    wave = np.concatenate([*parts, noise(0.5, 3)])
    soundfile.write(tmp_path / "long.wav", wave, RATE, "FLOAT")
    answers = model.generate_file(tmp_path / "long.wav", "what is it?", window="all")
    assert [times[:2] for times in answers] == [(0, 1), (1, 2), (2, 3), (2.5, 3.5)]
    parts.append(wave[-RATE:])
    wavs = torch.from_numpy(np.stack(parts))
    expected, _ = model.generate_batch(wavs, torch.ones(4), "what is it?")
    assert [answer for *_, answer in answers] == expected


def test_a_last_window_that_adds_less_than_a_tenth_is_left_out(model, noise, tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, noise(2.15)[: 2 * RATE + 799], RATE)
    found = model.generate_file(path, "what is it?", window="all")
    assert [(start, end) for start, end, _ in found] == [(0, 1), (1, 2)]
    soundfile.write(path, noise(2.15)[: 2 * RATE + 800], RATE)
    found = model.generate_file(path, "what is it?", window="all")
    assert [(start, end) for start, end, _ in found] == [(0, 1), (1, 2), (1.1, 2.1)]


def test_windows_that_overlap_hear_what_lies_there(model, noise, tmp_path):
    wave = noise(2.6)
    soundfile.write(tmp_path / "long.wav", wave, RATE, "FLOAT")
    asked = {"prompt": "what is it?", "window": "all", "batch_size": 2}
    found = model.generate_file(tmp_path / "long.wav", overlap=0.5, **asked)
    starts = [0, 0.5, 1.0, 1.5, 1.6]
    assert [start for start, *_ in found] == starts
    for start, end, answer in found:
        wav = torch.from_numpy(wave[round(start * RATE) : round(end * RATE)])[None]
        (expected,), _ = model.generate_batch(wav, torch.ones(1), "what is it?")
        assert answer == expected
    for overlap in (-0.1, 1.0, float("nan"), float("inf"), 0.99999):
        with pytest.raises(ValueError, match=f"1.0 s of a window; got {overlap}"):
            model.generate_file(tmp_path / "long.wav", overlap=overlap, **asked)
    with pytest.raises(ValueError, match="overlap needs window='all'"):
        model.generate_file(tmp_path / "long.wav", overlap=0.5)


def test_the_last_of_windows_that_overlap_is_no_near_copy():
    for n_sample in range(100, 400):
        for n_overlap in (0, 30, 95, 99):
            starts = window_starts(n_sample, 100, n_overlap)
            steps = np.diff(starts)
            assert (steps[:-1] == 100 - n_overlap).all()
            assert (steps >= min(10, 100 - n_overlap)).all()
            assert n_sample - (starts[-1] + 100) < 10


def test_wrong_options_of_windows_are_refused_at_once(model, record):
    path = record("clip.wav")
    for options, message in (
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"overlap": 2.0}, "overlap must be"),
        ({"beam_sise": 2}, "No search has the options"),
    ):
        with pytest.raises(ValueError, match=message):
            model.answer_windows(path, **options)


def test_a_summary_merges_times_that_touch_and_counts_windows():
    answers = [(0, 2, "a"), (1, 3, "b"), (2, 4, "a"), (3, 5, "c"), (4, 6, "b")]
    answers += [(5, 7, "b"), (6, 8, "a")]
    assert summarize(answers) == [
        ("a", 3, [(0, 4), (6, 8)]),
        ("b", 3, [(1, 3), (4, 7)]),
        ("c", 1, [(3, 5)]),
    ]


#: Answers about all windows of a recording; prints them and by how much the largest
#: memory of the process grew over that of one window, in MiB.
WINDOWS = """
import json, resource, sys, torch
from pengi_plugin.inference import AudioLanguageModel
torch.set_num_threads(1)
model = AudioLanguageModel.from_hparams(source=sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
model.generate_file(sys.argv[2], window="all", batch_size=16, max_new_tokens=1)
before = peak()
found = model.generate_file(sys.argv[3], window="all", batch_size=16, max_new_tokens=1)
print(json.dumps({"grown": peak() - before, "answers": found}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["flac", "wav"])
def test_windows_of_half_an_hour_are_answered_in_the_memory_of_a_batch(
    root, tiny_folder, noise, tmp_path, form
):
    short, long = tmp_path / f"short.{form}", tmp_path / f"long.{form}"
    soundfile.write(short, noise(16), RATE)
    n_second = 1800
    with soundfile.SoundFile(long, "w", RATE, 1) as file:
        for second in range(n_second):
            file.write(noise(1.0, seed=second % 5))
    run = subprocess.run(
        [sys.executable, "-c", WINDOWS, tiny_folder, short, long],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=500,
        check=True,
    )
    found = json.loads(run.stdout.splitlines()[-1])
    # Whole, the waveform alone would have 55 MiB, twice that while it is joined.
    assert found["grown"] < 20
    assert [start for start, *_ in found["answers"]] == list(range(n_second))
    # Windows hold the samples of the whole recording.
    model = AudioLanguageModel.from_hparams(source=tiny_folder)
    whole = model.load_audio(long)
    for start in (0, 937, n_second - 1):
        wav = whole[None, start * RATE : (start + 1) * RATE]
        (answer,), _ = model.generate_batch(wav, torch.ones(1), max_new_tokens=1)
        assert found["answers"][start][2] == answer


def test_a_short_recording_has_one_window(model, record):
    path = record("short.wav", seconds=0.25)
    answer = model.generate_file(path, "what is it?")
    assert model.generate_file(path, "what is it?", window="all") == [(0, 0.25, answer)]
    with pytest.raises(ValueError, match="'all' or None; got 'last'"):
        model.generate_file(path, window="last")
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        model.generate_file(path, window="all", batch_size=0)


def test_the_beginning_of_a_long_recording_is_encoded_every_time(model, record, noise):
    path = record("long.wav", seconds=3.3)
    clip = model.load_clip(path)
    np.testing.assert_array_equal(clip, noise(3.3)[:RATE])
    assert torch.equal(clip, model.load_clip(path))
    start = torch.from_numpy(noise(3.3)[:RATE])[None]
    answer = model.generate_batch(start, torch.ones(1), "what is it?")[0][0]
    assert model.generate_file(path, "what is it?") == answer


def test_batches_of_files_answer_as_one_by_one(model, record):
    paths = [record(f"{n}.wav", 0.5 + n / 3, n) for n in range(5)]
    prompts = ["what is it?", "generate metadata", "what is it?", "who?", "where?"]
    alone = [model.generate_file(p, q) for p, q in zip(paths, prompts)]
    assert model.generate_files(paths, prompts, batch_size=2) == alone
    assert model.generate_files(paths, prompts, batch_size=8) == alone


def test_a_file_with_two_prompts_is_encoded_once(model, record, monkeypatch):
    path = record("clip.wav")
    expected = [model.generate_file(path, q) for q in ("what is it?", "who?")]
    n_clips = []
    encoder = model.mods.pengi.audio_encoder
    forward = encoder.forward

    def count(wavs, wav_lens):
        n_clips.append(len(wavs))
        return forward(wavs, wav_lens)

    monkeypatch.setattr(encoder, "forward", count)
    assert model.generate_files([path, path], ["what is it?", "who?"]) == expected
    assert n_clips == [1]
    model.describe_file(path)
    assert n_clips == [1, 1]


def test_a_bad_file_does_not_stop_the_others(model, record):
    good, other = record("a.wav", seed=1), record("b.wav", seed=2)
    absent = good.with_name("absent.wav")
    results = list(model.answer_files([good, absent, other], "what is it?", 2))
    assert [item.path for item in results] == [str(good), str(absent), str(other)]
    assert results[1].answer is None
    assert isinstance(results[1].error, FileNotFoundError)
    expected = [model.generate_file(path, "what is it?") for path in (good, other)]
    assert [results[0].answer, results[2].answer] == expected
    with pytest.raises(FileNotFoundError, match=r"absent\.wav"):
        model.generate_files([good, absent])


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_holds_a_file_at_least(model, record, batch_size):
    with pytest.raises(ValueError, match=f"batch_size .* 1; got {batch_size}"):
        model.generate_files([record("a.wav")], batch_size=batch_size)


def test_files_that_cannot_be_read_say_why(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("this is no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    with pytest.raises(ValueError, match=r"text\.wav cannot be read as audio"):
        model.transcribe_file("text.wav")
    for path in ("absent.wav", "no/such/absent.wav", tmp_path / "absent.wav"):
        if path != "no/such/absent.wav":
            with pytest.raises(FileNotFoundError, match=r"no file .*absent\.wav"):
                model.generate_file(path)
    with pytest.raises(ValueError, match=r"empty\.wav holds no samples"):
        model.generate_file("empty.wav")


def test_ranked_answers_come_best_first_with_their_own_scores(model, record, noise):
    path = record("clip.wav")
    ranked = model.ranked_file(path, "what is it?", n_best=4)
    scores = [score for _, score in ranked]
    assert len(ranked) == 4
    assert scores == sorted(scores, reverse=True)
    prefix = model.encode_batch(
        model.load_clip(path)[None], torch.ones(1), "what is it?"
    )
    searcher = PrefixBeamSearcher(
        model.mods.pengi.lm,
        model.hparams.eos_index,
        beam_size=4,
        max_new_tokens=model.hparams.max_new_tokens,
        topk=4,
        return_topk=True,
    )
    tokens, lengths, _, _ = searcher(prefix)
    for row, (answer, score) in enumerate(ranked):
        n = round(float(lengths[0, row]) * tokens.shape[-1])
        ids = tokens[0, row, :n].tolist()
        assert answer == model.tokenizer.decode_ids(ids).strip()
        if n < model.hparams.max_new_tokens:
            ids.append(model.hparams.eos_index)
        log_probs = model.mods.pengi.lm.answer_log_probs(prefix, torch.tensor([ids]))
        assert score == pytest.approx(log_probs.mean().item(), abs=1e-4)


def test_samples_vary_and_repeat_with_their_seed(model, record):
    path = record("clip.wav")
    draw = {"n_samples": 4, "temperature": 3.0}
    first = model.sample_file(path, "what is it?", seed=3, **draw)
    assert len(set(first)) > 1
    assert first == model.sample_file(path, "what is it?", seed=3, **draw)
    assert first != model.sample_file(path, "what is it?", seed=4, **draw)
    greedy = model.generate_file(path, "what is it?", beam_size=1)
    assert model.sample_file(path, "what is it?", n_samples=2, top_k=1) == [greedy] * 2


def test_one_ranked_answer_is_the_greedy_one_with_its_score(model, record):
    path = record("clip.wav")
    ((answer, score),) = model.ranked_file(path, "what is it?", n_best=1)
    assert answer == model.generate_file(path, "what is it?", beam_size=1)
    prefix = model.encode_batch(
        model.load_clip(path)[None], torch.ones(1), "what is it?"
    )
    greedy = PrefixGreedySearcher(model.mods.pengi.lm, model.hparams.eos_index, 8)
    assert score == pytest.approx(greedy(prefix)[2].item(), abs=1e-4)
    with pytest.raises(ValueError, match="n_best must be at least 1; got 0"):
        model.ranked_file(path, n_best=0)


def test_ranked_answers_come_from_the_yamls_beam_search(with_searcher, record):
    path = record("clip.wav")
    options = {"max_new_tokens": 6, "length_normalization": False}
    model = with_searcher(PrefixBeamSearcher, **options)
    prefix = model.encode_batch(
        model.load_clip(path)[None], torch.ones(1), "what is it?"
    )
    tokens, lengths, scores, _ = PrefixBeamSearcher(
        model.mods.pengi.lm,
        model.hparams.eos_index,
        beam_size=3,
        topk=3,
        return_topk=True,
        **options,
    )(prefix)
    assert (lengths * tokens.shape[-1] == 6).all()
    texts = [model.tokenizer.decode_ids(ids).strip() for ids in tokens[0].tolist()]
    expected = list(zip(texts, scores[0].tolist()))
    assert model.ranked_file(path, "what is it?", n_best=3) == expected
    averages = [(text, pytest.approx(score / 6)) for text, score in expected]
    for other in (PrefixGreedySearcher, PrefixSampler):
        model = with_searcher(other, max_new_tokens=6)
        assert model.ranked_file(path, "what is it?", n_best=3) == averages


def test_samples_are_drawn_by_the_yamls_sampler_if_it_has_one(with_searcher, record):
    path = record("clip.wav")
    model = with_searcher(PrefixSampler, max_new_tokens=8, temperature=5.0, seed=3)
    found = model.sample_file(path, "what is it?", n_samples=3)
    other = with_searcher(PrefixBeamSearcher, max_new_tokens=8)
    drawn = other.sample_file(path, "what is it?", n_samples=3, temperature=5.0, seed=3)
    assert found == drawn
    assert len(set(found)) > 1
    assert model.sample_file(path, "what is it?", n_samples=1) == found[:1]
    with pytest.raises(ValueError, match="PrefixSampler has no option beam_size"):
        model.sample_file(path, beam_size=3)


def test_a_description_joins_the_answers_to_three_prompts(model, record):
    path = record("clip.wav")
    answers = [model.generate_file(path, prompt) for prompt in DESCRIBE_PROMPTS]
    assert model.describe_file(path) == ". ".join(answers)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_files_are_described_in_batches_as_one_by_one(
    model, mixed_files, check_absent, batch_size
):
    results = list(model.describe_files(mixed_files, batch_size))
    found = check_absent(results, mixed_files)
    good = mixed_files[:2] + mixed_files[3:]
    expected = [
        ". ".join(model.generate_file(path, prompt) for prompt in DESCRIBE_PROMPTS)
        for path in good
    ]
    assert len(set(expected)) > 2
    assert found == expected


def test_a_batch_that_cannot_be_read_is_only_reported(model, record):
    good = record("a.wav")
    paths = [good.with_name("x.wav"), good.with_name("y.wav"), good]
    described = list(model.describe_files(paths, batch_size=2))
    ranked = list(model.classify_files(paths, ["dog", "rain"], batch_size=2))
    for results in (described, ranked):
        errors = [type(item.error) for item in results]
        assert errors == [FileNotFoundError, FileNotFoundError, type(None)]
