"""A trained model answers about recordings of any kind, behind SpeechBrain's face."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.inference.ASR import EncoderDecoderASR
from speechbrain.utils.fetching import FetchFrom, FetchSource

from pengi_plugin.inference import DESCRIBE_PROMPTS, AudioLanguageModel, classify
from pengi_plugin.inference.classify import text_embeddings

RATE = 8000


@pytest.fixture(scope="module")
def hparams(root):
    torch.manual_seed(0)
    with open(root / "hparams" / "model" / "tiny.yaml") as file:
        hparams = load_hyperpyyaml(file)
    hparams["pengi"].eval()
    larger = {"audio_encoder": 10, "audio_mapper": 20, "text_mapper": 5}
    with torch.no_grad():  # answers that depend on the sound and on the prompt
        for part, factor in larger.items():
            for weight in hparams[part].parameters():
                if weight.dim() == 2:
                    weight.mul_(factor)
    return hparams


@pytest.fixture(scope="module")
def model(hparams):
    return AudioLanguageModel(hparams["modules"], hparams, run_opts={"device": "cpu"})


@pytest.fixture(scope="module")
def noise():
    """Return a function: seconds -> noise whose colour changes with the seed."""

    def make(seconds, seed=0, rate=RATE):
        draw = np.random.default_rng(seed)
        n = int(seconds * rate)
        place = np.arange(n) / rate
        tone = np.sin(2 * np.pi * (300 + 400 * seed) * place)
        return (0.3 * tone + 0.1 * draw.standard_normal(n)).astype(np.float32)

    return make


@pytest.fixture
def record(tmp_path, noise):
    """Return a function that writes a recording and gives its path."""

    def write(name, seconds=1.0, seed=0, rate=RATE):
        path = tmp_path / name
        soundfile.write(path, noise(seconds, seed, rate), rate, "FLOAT")
        return path

    return write


def test_the_answers_of_this_model_depend_on_the_sound_and_the_prompt(model, noise):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(5)]))
    first = model.generate_batch(wavs, torch.ones(5), "what is it?")[0]
    other = model.generate_batch(wavs, torch.ones(5), "generate metadata")[0]
    assert len(set(first)) > 1
    assert first != other


# The face of EncoderDecoderASR.


def snippet(asr, path):
    """Use a model as one uses EncoderDecoderASR."""
    text = asr.transcribe_file(str(path))
    signal = asr.load_audio(str(path))
    wavs = torch.nn.utils.rnn.pad_sequence(
        [signal, signal[: len(signal) // 2]], batch_first=True
    )
    wav_lens = torch.tensor([1.0, 0.5])
    words, tokens = asr.transcribe_batch(wavs, wav_lens)
    same_words, same_tokens = asr(wavs, wav_lens)
    assert (words, list(tokens)) == (same_words, list(same_tokens))
    assert len(words) == len(tokens) == 2
    return text, words, tokens, asr.encode_batch(wavs, wav_lens)


class PrefixEncoder(torch.nn.Module):
    """What EncoderDecoderASR calls an encoder: Pengi with one prompt."""

    def __init__(self, model):
        super().__init__()
        self.model = [model]

    def forward(self, wavs, wav_lens):
        return self.model[0].encode_batch(wavs, wav_lens)


class PrefixDecoder(torch.nn.Module):
    """What EncoderDecoderASR calls a decoder; prefixes have no padding."""

    def __init__(self, searcher):
        super().__init__()
        self.searcher = searcher

    def forward(self, encoder_out, wav_lens):
        return self.searcher(encoder_out)


def test_a_snippet_for_encoder_decoder_asr_runs_unchanged(model, record):
    path = record("clip.wav", seconds=2.0)
    text, words, tokens, states = snippet(model, path)
    modules = {
        "encoder": PrefixEncoder(model),
        "decoder": PrefixDecoder(model.mods.searcher),
    }
    stock = EncoderDecoderASR(
        modules,
        {
            "tokenizer": model.tokenizer,
            "audio_normalizer": model.audio_normalizer,
        },
        run_opts={"device": "cpu"},
    )
    stock_text, stock_words, stock_tokens, stock_states = snippet(stock, path)
    assert list(tokens) == list(stock_tokens)
    assert [text, *words] == [t.strip() for t in (stock_text, *stock_words)]
    assert torch.equal(states, stock_states)


def test_transcribing_answers_the_default_prompt(model, record):
    path = record("clip.wav")
    default = model.hparams.default_prompt
    assert model.transcribe_file(path) == model.generate_file(path, default)


@pytest.mark.parametrize(
    "name", AudioLanguageModel.MODULES_NEEDED + AudioLanguageModel.HPARAMS_NEEDED
)
def test_what_the_yaml_lacks_is_named(hparams, name):
    modules = {k: v for k, v in hparams["modules"].items() if k != name}
    rest = {k: v for k, v in hparams.items() if k != name}
    with pytest.raises(ValueError, match=f"hyperparams.yaml lacks {name};"):
        AudioLanguageModel(modules, rest)


def test_an_end_mark_that_starts_otherwise_is_refused(hparams):
    with pytest.raises(ValueError, match=r"eos_index must be .*tokens \[2\]; got 3"):
        AudioLanguageModel(hparams["modules"], hparams | {"eos_index": 3})


# Recordings of any rate, number of channels and length.


def test_stereo_is_mixed_not_appended(model, noise, tmp_path):
    left, right = noise(0.7, 0), noise(0.7, 1)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right], 1), RATE, "FLOAT")
    wav = model.load_audio(tmp_path / "s.wav")
    np.testing.assert_allclose(wav, (left + right) / 2, atol=1e-6)
    clip = model.load_clip(tmp_path / "s.wav")
    np.testing.assert_allclose(clip[: len(left)], (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(clip[len(left) :], clip[: RATE - len(left)])
    stereo = torch.from_numpy(np.stack([left, right], 1))[None]
    mono = torch.from_numpy((left + right) / 2)[None]
    ones = torch.ones(1)
    torch.testing.assert_close(
        model.encode_audio(stereo, ones), model.encode_audio(mono, ones)
    )


def test_another_rate_sounds_the_same(model, noise, tmp_path):
    place = np.arange(44100) / 44100
    soundfile.write(tmp_path / "44.wav", np.sin(6.28 * 440 * place), 44100, "FLOAT")
    wav = model.load_audio(tmp_path / "44.wav")
    expected = np.sin(6.28 * 440 * np.arange(RATE) / RATE)
    assert len(wav) == RATE
    np.testing.assert_allclose(wav[200:-200], expected[200:-200], atol=0.02)


def test_short_recordings_are_repeated_without_their_padding(model, noise):
    short = torch.from_numpy(noise(0.3))
    whole = short.repeat(4)[:RATE]
    padded = torch.stack(
        [torch.nn.functional.pad(short, (0, RATE - len(short))), whole]
    )
    lengths = torch.tensor([len(short) / RATE, 1.0])
    embeddings = model.encode_audio(padded, lengths)
    torch.testing.assert_close(embeddings[0], embeddings[1])


def test_of_a_long_recording_the_beginning_is_heard_every_time(model, record, noise):
    path = record("long.wav", seconds=3.3)
    clip = model.load_clip(path)
    np.testing.assert_array_equal(clip, noise(3.3)[:RATE])
    assert torch.equal(clip, model.load_clip(path))
    start = torch.from_numpy(noise(3.3)[:RATE])[None]
    answer = model.generate_batch(start, torch.ones(1), "what is it?")[0][0]
    assert model.generate_file(path, "what is it?") == answer


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


def test_a_short_recording_has_one_window(model, record):
    path = record("short.wav", seconds=0.25)
    answer = model.generate_file(path, "what is it?")
    assert model.generate_file(path, "what is it?", window="all") == [(0, 0.25, answer)]
    with pytest.raises(ValueError, match="window must be 'first' or 'all'; got 'last'"):
        model.generate_file(path, window="last")
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        model.generate_file(path, window="all", batch_size=0)


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


# Answers.


def test_batches_of_files_answer_as_one_by_one(model, record):
    paths = [record(f"{n}.wav", 0.5 + n / 3, n) for n in range(5)]
    prompts = ["what is it?", "generate metadata", "what is it?", "who?", "where?"]
    alone = [model.generate_file(p, q) for p, q in zip(paths, prompts)]
    assert model.generate_files(paths, prompts, batch_size=2) == alone
    assert model.generate_files(paths, prompts, batch_size=8) == alone


def test_a_file_asked_twice_is_heard_once(model, record, monkeypatch):
    path = record("clip.wav")
    expected = [model.generate_file(path, q) for q in ("what is it?", "who?")]
    heard = []
    encode_audio = model.mods.pengi.encode_audio

    def count(wavs, wav_lens):
        heard.append(len(wavs))
        return encode_audio(wavs, wav_lens)

    monkeypatch.setattr(model.mods.pengi, "encode_audio", count)
    assert model.generate_files([path, path], ["what is it?", "who?"]) == expected
    assert heard == [1]
    model.describe_file(path)
    assert heard == [1, 1]


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


def test_as_many_prompts_as_recordings_are_needed(model):
    with pytest.raises(ValueError, match="2 texts for 3 recordings"):
        model.generate_batch(torch.zeros(3, RATE), torch.ones(3), ["a", "b"])


def test_returned_tokens_hold_no_part_of_the_end_mark(model, noise):
    wavs = torch.from_numpy(noise(1.0))[None]
    for options in ({}, {"beam_size": 1}, {"max_new_tokens": 3}):
        _, tokens = model.generate_batch(wavs, torch.ones(1), **options)
        assert model.hparams.eos_index not in tokens[0]
        assert len(tokens[0]) <= options.get("max_new_tokens", 8)


def test_added_text_is_read_as_tokens_behind_the_prefix(model, noise):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(3)]))
    ones, prompts = torch.ones(3), ["what is it?"] * 3
    texts = ["a dog", "a long text about rain and thunder", ""]
    together, _ = model.generate_batch(wavs, ones, prompts, add_texts=texts)
    pengi = model.mods.pengi
    for row, text in enumerate(texts):
        one = slice(row, row + 1)
        prefix = model.encode_batch(wavs[one], ones[one], prompts[one])
        ids = torch.tensor([model.tokenizer.encode_as_ids(text)], dtype=torch.long)
        prefix = torch.cat([prefix, pengi.lm.embed(ids)], dim=1)
        tokens, *_ = model.mods.searcher(prefix)
        assert together[row] == model.tokenizer.decode_ids(tokens[0]).strip()
    assert len(model.tokenizer.encode_as_ids(texts[1])) < len(texts[1])


def test_added_text_conditions_scores_too(model, noise):
    wavs, ones = torch.from_numpy(noise(1.0))[None], torch.ones(1)
    tokenizer = model.tokenizer
    head, tail = "a dog", "barks"
    joined = tokenizer.encode_as_ids(head) + tokenizer.encode_as_ids(tail)
    ids = torch.tensor([joined + tokenizer.encode_as_ids(model.hparams.answer_end)])
    prefix = model.encode_batch(wavs, ones, "who?")
    whole = model.mods.pengi.lm.answer_log_probs(prefix, ids)
    n_head = len(tokenizer.encode_as_ids(head))
    score = model.score_batch(wavs, ones, "who?", [tail], add_texts=[head])
    torch.testing.assert_close(score, whole[:, n_head:].sum(1), rtol=1e-4, atol=1e-4)


def test_ranked_answers_come_best_first_with_their_own_scores(model, record, noise):
    path = record("clip.wav")
    ranked = model.ranked_file(path, "what is it?", n_best=4)
    scores = [score for _, score in ranked]
    assert len(ranked) == 4
    assert scores == sorted(scores, reverse=True)
    prefix = model.encode_batch(
        model.load_clip(path)[None], torch.ones(1), "what is it?"
    )
    searcher = model.make_searcher(beam_size=4)
    searcher.topk, searcher.return_topk = 4, True
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


def test_a_description_joins_the_answers_to_three_prompts(model, record):
    path = record("clip.wav")
    answers = [model.generate_file(path, prompt) for prompt in DESCRIBE_PROMPTS]
    assert model.describe_file(path) == ". ".join(answers)


@pytest.fixture
def mixed_files(record):
    """Return files of different sounds, the third absent, the fifth as the first."""
    paths = [record(f"{n}.wav", 0.5 + n / 3, n) for n in range(4)]
    absent = paths[0].with_name("absent.wav")
    return [*paths[:2], absent, paths[2], paths[0], paths[3]]


def check_absent(results, paths):
    """Check that only the absent file failed; return the answers about the others."""
    assert [item.path for item in results] == [str(path) for path in paths]
    bad = results.pop(2)
    assert bad.answer is None
    assert isinstance(bad.error, FileNotFoundError)
    assert [item.error for item in results] == [None] * len(results)
    return [item.answer for item in results]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_files_are_described_in_batches_as_one_by_one(model, mixed_files, batch_size):
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
    ranked = list(model.classify_files(paths, LABELS, batch_size=2))
    for results in (described, ranked):
        errors = [type(item.error) for item in results]
        assert errors == [FileNotFoundError, FileNotFoundError, type(None)]


# Scores and classes.


def test_scores_are_the_log_probabilities_of_answer_and_end_mark(model, noise):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(3)]))
    ones, answers = torch.ones(3), ["a dog barks", "rain", "a dog and rain on a roof"]
    per_token = model.score_batch(wavs, ones, "who?", answers, per_token=True)
    totals = model.score_batch(wavs, ones, "who?", answers)
    pengi = model.mods.pengi
    for row, answer in enumerate(answers):
        ids = model.tokenizer.encode_as_ids(answer + model.hparams.answer_end)
        prefix = model.encode_batch(wavs[row : row + 1], ones[:1], "who?")
        logits, expected = None, []
        for position, token in enumerate(ids):  # one token after the other
            read = pengi.lm.embed(torch.tensor([ids[:position]], dtype=torch.long))
            logits = pengi.lm.model(inputs_embeds=torch.cat([prefix, read], 1)).logits
            expected.append(logits[0, -1].log_softmax(-1)[token].item())
        ours = per_token[row].tolist()
        assert ours[: len(ids)] == pytest.approx(expected, abs=1e-4)
        assert ours[len(ids) :] == [0.0] * (len(ours) - len(ids))
        assert totals[row].item() == pytest.approx(sum(expected), abs=1e-3)


def test_all_answers_are_scored_behind_every_prefix(model, noise):
    wavs = torch.from_numpy(np.stack([noise(1.0, seed) for seed in range(3)]))
    ones, answers = torch.ones(3), ["a dog barks", "rain"]
    scores = model.score_answers(model.encode_batch(wavs, ones, "who?"), answers)
    for column, answer in enumerate(answers):
        expected = model.score_batch(wavs, ones, "who?", answer)
        torch.testing.assert_close(scores[:, column], expected, rtol=1e-4, atol=1e-4)
    assert (scores[0] - scores[1]).abs().min() > 1e-3


LABELS = ["dog", "heavy rain on a tin roof", "siren", "people talking"]


@pytest.fixture
def read(model, monkeypatch):
    """Return a list: how many prefixes the language model read in each batch."""
    read, prefill = [], model.mods.pengi.lm.prefill

    def count(prefix, *rest):
        read.append(len(prefix))
        return prefill(prefix, *rest)

    monkeypatch.setattr(model.mods.pengi.lm, "prefill", count)
    return read


def test_likelihood_ranks_labels_by_their_scores(model, record, read):
    path = record("clip.wav")
    clips = model.load_clip(path)[None].expand(len(LABELS), -1)
    scores = model.score_batch(clips, torch.ones(4), "this is a sound of", LABELS)
    expected = sorted(zip(LABELS, scores.tolist()), key=lambda item: -item[1])
    read.clear()
    ranking = model.classify_file(path, LABELS, method="likelihood")
    assert [label for label, _ in ranking] == [label for label, _ in expected]
    assert [s for _, s in ranking] == pytest.approx([s for _, s in expected], abs=1e-3)
    assert read == [1]


def test_similarity_finds_the_label_that_is_the_answer(model, record, monkeypatch):
    path = record("clip.wav")
    monkeypatch.setattr(model, "generate_batch", lambda *_, **__: (["siren"], [[]]))
    (best, score), *others = model.classify_file(path, LABELS)
    assert best == "siren"
    assert score == pytest.approx(1.0, abs=1e-5)
    points = torch.nn.functional.normalize(
        model.mods.pengi.text_encoder(LABELS), dim=-1
    )
    cosines = (points @ points[LABELS.index("siren")]).tolist()
    expected = sorted(zip(LABELS, cosines), key=lambda item: -item[1])[1:]
    assert [label for label, _ in others] == [label for label, _ in expected]
    assert [s for _, s in others] == pytest.approx([s for _, s in expected], abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("method", ["similarity", "likelihood"])
def test_files_are_classified_in_batches_as_one_by_one(
    model, mixed_files, method, batch_size, monkeypatch
):
    monkeypatch.setattr(classify, "SCORED_AT_A_TIME", 2 * len(LABELS))
    rankings = model.classify_files(
        mixed_files, LABELS, "what is it?", method=method, batch_size=batch_size
    )
    found = check_absent(list(rankings), mixed_files)
    seen = []
    for path, ranking in zip(mixed_files[:2] + mixed_files[3:], found, strict=True):
        if method == "likelihood":
            clips = model.load_clip(path)[None].expand(len(LABELS), -1)
            scores = model.score_batch(clips, torch.ones(4), "what is it?", LABELS)
        else:
            texts = [model.generate_file(path, "what is it?"), *LABELS]
            points = torch.nn.functional.normalize(
                torch.cat([model.mods.pengi.text_encoder([text]) for text in texts])
            )
            scores = points[1:] @ points[0]
        assert dict(ranking) == pytest.approx(
            dict(zip(LABELS, scores.tolist())), abs=1e-3
        )
        assert ranking == sorted(ranking, key=lambda item: -item[1])
        seen.append([round(score, 1) for score in dict(sorted(ranking)).values()])
    assert len(set(map(tuple, seen))) > 2  # the sounds differ by more than rounding


def test_memory_for_likelihoods_is_bounded_by_the_labels(
    model, record, read, monkeypatch
):
    monkeypatch.setattr(classify, "SCORED_AT_A_TIME", 2 * len(LABELS) + 1)
    paths = [record(f"{n}.wav", seed=n) for n in range(5)]
    list(model.classify_files(paths, LABELS, method="likelihood"))
    list(model.classify_files(paths[:2], LABELS * 9, method="likelihood"))
    assert read == [2, 2, 1, 1, 1]


def test_an_answer_too_long_for_the_text_encoder_is_cut_at_a_word(model):
    encoder = model.mods.pengi.text_encoder
    long = " ".join(["thunder"] * 500)
    assert len(encoder.prompt_ids(long)) > encoder.max_tokens
    embedding = text_embeddings(model.mods.pengi, [long])
    assert embedding.norm().item() == pytest.approx(1.0, abs=1e-5)


def test_classification_needs_labels_and_a_known_method(model, record):
    with pytest.raises(ValueError, match="method='nearest' and 4 labels"):
        model.classify_file(record("clip.wav"), LABELS, method="nearest")
    with pytest.raises(ValueError, match="0 labels"):
        model.classify_file(record("clip.wav"), [])


# Loading.


def test_loading_faults_are_shown(convert_golden, tmp_path):
    _, folder = convert_golden("base_no_text_enc_seed0")
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    shutil.copy(broken / "audio_projection.safetensors", broken / "lm.safetensors")
    with pytest.raises(ValueError, match=r"lm\.safetensors does not hold .*PrefixLM"):
        AudioLanguageModel.from_hparams(source=broken)
    (broken / "lm.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no lm\.safetensors"):
        AudioLanguageModel.from_hparams(source=broken)
    with pytest.raises(FileNotFoundError, match=r"holds no hyperparams\.yaml"):
        AudioLanguageModel.from_hparams(source=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*absent"):
        AudioLanguageModel.from_hparams(source=tmp_path / "absent")


@pytest.fixture
def same_answer(tiny_folder, record):
    """Return a function that says whether a model answers as the folder's does."""
    path = record("clip.wav")
    expected = AudioLanguageModel.from_hparams(tiny_folder).transcribe_file(path)
    return lambda model: model.transcribe_file(path) == expected


def test_a_folder_loads_by_way_of_a_savedir(tiny_folder, same_answer, tmp_path):
    savedir = tmp_path / "saved"
    model = AudioLanguageModel.from_hparams(str(tiny_folder), savedir=savedir)
    assert same_answer(model)
    assert (savedir / "lm.ckpt").resolve() == tiny_folder / "lm.safetensors"


def test_a_folder_loads_from_a_hub_as_it_is(tiny_folder, same_answer, monkeypatch):
    asked = []

    def download(repo_id, filename, **_):
        asked.append((repo_id, filename))
        return str(tiny_folder / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    for source in ("me/pengi", FetchSource(FetchFrom.HUGGING_FACE, "me/pengi")):
        asked.clear()
        assert same_answer(AudioLanguageModel.from_hparams(source))
        files = {path.name for path in tiny_folder.iterdir()} - {"README.md"}
        assert set(asked) == {("me/pengi", file) for file in files}
