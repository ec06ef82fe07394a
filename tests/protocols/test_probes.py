"""Probes against scikit-learn, and on what can and cannot be learned."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import pengi_plugin.protocols.probe_training
import pengi_plugin.protocols.probes
from pengi_plugin.protocols.probe_training import choose_rate
from pengi_plugin.protocols.probes import log_mel_statistics, probe, probes


@pytest.fixture
def blobs():
    """Three overlapping clouds of points in two folds."""
    draw = np.random.default_rng(0)
    targets = draw.integers(0, 3, 240)
    centres = 2.0 * np.eye(3, 6)
    points = centres[targets] + draw.normal(size=(240, 6))
    return points.astype(np.float32), targets, np.arange(240) % 2


@pytest.fixture
def at_one_rate(monkeypatch):
    """Train with one learning rate that suits the clouds; its choice has own tests."""
    module = pengi_plugin.protocols.probes
    monkeypatch.setattr(module, "choose_rate", lambda *arguments: 3e-3)


@pytest.fixture
def few_steps(monkeypatch):
    """Train for a few steps only."""
    monkeypatch.setattr(pengi_plugin.protocols.probe_training, "N_STEPS", 50)
    monkeypatch.setattr(pengi_plugin.protocols.probe_training, "N_EPOCHS", 1)


def test_the_linear_probe_is_as_good_as_logistic_regression(blobs):
    points, targets, folds = blobs
    right = []
    for fold in range(2):
        scale = StandardScaler().fit(points[folds != fold])
        model = LogisticRegression(max_iter=1000)
        model.fit(scale.transform(points[folds != fold]), targets[folds != fold])
        guesses = model.predict(scale.transform(points[folds == fold]))
        right += (guesses == targets[folds == fold]).tolist()
    score = probe(points, targets, folds, "L1", seeds=(0, 1))
    assert score.value == pytest.approx(np.mean(right), abs=0.02)
    assert score.low < score.value < score.high
    assert "2 folds, 2 seeds, learning rate 0.001, standard" in score.note


def test_three_layers_learn_what_one_cannot(at_one_rate):
    points = np.random.default_rng(1).normal(size=(400, 2)).astype(np.float32)
    targets = (points[:, 0] * points[:, 1] > 0).astype(int)
    folds = np.where(np.arange(400) < 300, "train", "test")
    assert probe(points, targets, folds, "L1", seeds=(0,)).value < 0.7
    assert probe(points, targets, folds, "L3", seeds=(0,)).value > 0.9


def test_training_clips_are_never_tested(blobs, few_steps):
    points, targets, folds = blobs
    split = np.where(folds == 0, "train", "test")
    assert probe(points, targets, split, seeds=(0,)).n == 120


def test_labels_shuffled_between_folds_teach_nothing(blobs, at_one_rate):
    points, targets, folds = blobs
    mixed = np.random.default_rng(2).permutation(targets)
    assert probe(points, mixed, folds, seeds=(0,)).value < 0.5


def test_several_labels_are_scored_by_map(blobs, at_one_rate):
    points, targets, folds = blobs
    both = np.stack([targets == 0, targets != 1], axis=1).astype(int)
    score = probe(points, both, folds, seeds=(0,))
    assert score.metric == "mAP"
    assert score.value > 0.85


def test_a_seed_fixes_the_probe(blobs, few_steps, at_one_rate):
    points, targets, folds = blobs
    one, two, other = (
        probe(points, targets, folds, "L3", seeds=(seed,)).value for seed in (7, 7, 8)
    )
    assert one == two != other


def test_tones_are_probed_in_both_spaces(session, clips, at_one_rate):
    labels = {500: "dog", 1000: "rain", 1500: "bells"}
    rows = [
        clips(tone, f"{label}{fold}", label=label, fold=fold)
        for tone, label in labels.items()
        for fold in range(2)
    ]
    scores = probes(session, rows, list(labels.values()), kinds=("L1",), seeds=(0,))
    assert [score.way for score in scores] == [
        "L1 on audio embedding",
        "L1 on log-mel",
    ]
    assert [score.value for score in scores] == [1.0, 1.0]


def test_the_log_mel_summary_is_in_decibels_and_knows_the_band():
    time = torch.arange(16000) / 16000
    tone = torch.sin(2 * torch.pi * 4000 * time)[None]
    quiet = log_mel_statistics(tone, 16000, n_mels=32)
    loud = log_mel_statistics(10 * tone, 16000, n_mels=32)
    band = quiet[0, :32].argmax()
    assert loud[0, band] - quiet[0, band] == pytest.approx(20, abs=1e-3)
    assert 18 < band < 28


def test_the_learning_rate_that_is_best_on_validation_clips_is_taken(blobs):
    points, targets, _ = blobs
    learned = torch.from_numpy(points), torch.from_numpy(targets)
    clips = list(range(240))
    assert choose_rate("L1", *learned, 3, clips, rates=(1e-9, 3e-3)) == 3e-3
    assert choose_rate("L1", *learned, 3, clips, rates=(3e-3, 1e-9)) == 3e-3


def test_rows_of_a_clip_are_on_one_side_of_the_validation_split(monkeypatch):
    trained_on = []
    monkeypatch.setattr(
        pengi_plugin.protocols.probe_training,
        "fit",
        lambda model, points, *rest: trained_on.append(set(points[:, 0].tolist())),
    )
    clips = [row // 4 for row in range(80)]
    points = torch.tensor(clips, dtype=torch.float32)[:, None]
    choose_rate("L1", points, torch.zeros(80, dtype=torch.long), 2, clips, (0.1,))
    (seen,) = trained_on
    assert len(seen) == 17  # of 20 clips, 15 % are left for validation
    assert (torch.isin(points[:, 0], torch.tensor([*seen])).sum()) == 4 * 17


def test_test_clips_do_not_choose_the_learning_rate(blobs, monkeypatch):
    points, targets, folds = blobs
    split = np.where(folds == 0, "train", "test")
    seen = []
    monkeypatch.setattr(
        pengi_plugin.protocols.probes,
        "choose_rate",
        lambda kind, points, targets, n_class, clips: seen.append(clips) or 1e-3,
    )
    probe(points, targets, split, seeds=(0,))
    assert seen == [np.flatnonzero(folds == 0).tolist()]


@pytest.mark.parametrize(
    ("folds", "kind", "message"),
    [
        (["train"] * 240, "L1", "needs two folds"),
        ([1] * 240, "L1", r"got \['1'\]"),
        ([1, 2] * 120, "L9", "Unknown probe 'L9'"),
    ],
)
def test_what_cannot_be_probed_says_why(blobs, folds, kind, message):
    points, targets, _ = blobs
    with pytest.raises(ValueError, match=message):
        probe(points, targets, folds, kind)
