"""Labels ranked for each file."""

import pytest
import torch

from pengi_plugin.inference import classify
from pengi_plugin.inference.classify import text_embeddings

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
    monkeypatch.setattr(model, "generate_after", lambda *_, **__: (["siren"], [[]]))
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
    model, mixed_files, check_absent, method, batch_size, monkeypatch
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


def test_one_text_in_place_of_a_list_of_labels_is_refused(model, record):
    with pytest.raises(ValueError, match="must be a list of texts; got the text 'dog'"):
        model.classify_file(record("clip.wav"), "dog")


def test_likelihoods_per_token_and_less_those_about_silence(model, record):
    path, prompt = record("clip.wav"), "this is a sound of"
    plain = dict(model.classify_file(path, LABELS, prompt, "likelihood"))
    token = model.classify_file(path, LABELS, prompt, "likelihood", "token")
    prior = model.classify_file(path, LABELS, prompt, "likelihood", "prior")
    silence, ones = torch.zeros(4, model.n_sample), torch.ones(4)
    about_silence = model.score_batch(silence, ones, prompt, LABELS).tolist()
    for label, less in zip(LABELS, about_silence, strict=True):
        ids = model.tokenizer.encode_as_ids(label + model.hparams.answer_end)
        assert dict(token)[label] == pytest.approx(plain[label] / len(ids), abs=1e-4)
        assert dict(prior)[label] == pytest.approx(plain[label] - less, abs=1e-3)
    orders = [[label for label, _ in ranking] for ranking in (token, prior)]
    assert orders[0] != orders[1] != sorted(plain, key=plain.get)[::-1]


def test_how_likelihoods_are_normalized_is_checked(model, record):
    path = record("clip.wav")
    with pytest.raises(ValueError, match=r"none, token, prior with .* got 'mean'"):
        model.classify_file(path, LABELS, method="likelihood", normalize="mean")
    with pytest.raises(ValueError, match="one of none with method='similarity'"):
        model.classify_file(path, LABELS, normalize="prior")
