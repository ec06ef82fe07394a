"""Intervals against the normal approximation and each other."""

import numpy as np
import pytest

from pengi_plugin.metrics.bootstrap import (
    bootstrap_interval,
    bootstrap_statistic,
    wilson_interval,
)


@pytest.fixture
def scores():
    return (np.random.default_rng(1).random(400) < 0.3).astype(float)


def test_the_interval_of_a_share_is_close_to_the_normal_one(scores):
    mean = scores.mean()
    half = 1.96 * np.sqrt(mean * (1 - mean) / len(scores))
    low, high = bootstrap_interval(scores, n_resamples=4000)
    assert low == pytest.approx(mean - half, abs=0.005)
    assert high == pytest.approx(mean + half, abs=0.005)


def test_a_seed_fixes_the_interval_and_another_moves_it(scores):
    assert bootstrap_interval(scores, seed=1) == bootstrap_interval(scores, seed=1)
    assert bootstrap_interval(scores, seed=1) != bootstrap_interval(scores, seed=2)


def test_a_mean_given_as_a_statistic_has_the_same_interval(scores):
    interval = bootstrap_statistic(lambda clips: scores[clips].mean(), len(scores))
    assert interval == pytest.approx(bootstrap_interval(scores), abs=0.004)


def test_several_statistics_share_the_draws(scores):
    both = bootstrap_statistic(
        lambda clips: np.array([scores[clips].mean(), 1 - scores[clips].mean()]), 400
    )
    assert both.shape == (2, 2)
    assert both[0, 0] == pytest.approx(1 - both[1, 1])


def test_the_bias_of_drawing_clips_twice_is_taken_off():
    numbers = np.arange(30)
    low, high = bootstrap_statistic(lambda clips: len(np.unique(clips)), len(numbers))
    # Of 30 clips about 19 are different in a resample; of the real ones all 30 are.
    assert low < 30 < high
    assert (low + high) / 2 == pytest.approx(30, abs=0.5)


def test_one_clip_has_no_interval():
    assert np.isnan(bootstrap_interval([1.0])).all()
    assert np.isnan(bootstrap_statistic(lambda clips: 1.0, 1)).all()


def test_scores_of_a_clip_are_drawn_together(scores):
    """Five copies of each score tell no more than one."""
    clips = np.repeat(np.arange(len(scores)), 5)
    alone = bootstrap_interval(scores)
    together = bootstrap_interval(np.repeat(scores, 5), clips=clips)
    apart = bootstrap_interval(np.repeat(scores, 5))
    assert together == pytest.approx(alone, abs=0.006)
    assert apart[1] - apart[0] < 0.6 * (alone[1] - alone[0])
    copies = np.repeat(scores, 5)
    statistic = bootstrap_statistic(
        lambda rows: copies[rows].mean(), len(copies), clips=clips
    )
    assert statistic == pytest.approx(alone, abs=0.006)


def test_a_share_of_one_or_zero_has_wilsons_interval():
    z = 1.959964
    assert wilson_interval(1.0, 20) == pytest.approx((20 / (20 + z**2), 1.0), abs=1e-5)
    assert wilson_interval(0.0, 20) == pytest.approx((0.0, z**2 / (20 + z**2)), 1e-5)
