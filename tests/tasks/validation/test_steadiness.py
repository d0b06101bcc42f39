"""Sudden change: what is compared with what, and what is never called a change."""

import numpy as np
import pytest

from tasks.validation.steadiness import steadiness


def measure(*series, stretch=6):
    """The measures of some series."""
    owners = np.repeat(np.arange(len(series)), [len(values) for values in series])
    return steadiness(np.concatenate(series).astype(float), owners, len(series), stretch)


def noise(length=120, scale=1.0, seed=0):
    """A series without level or season."""
    return np.random.default_rng(seed).normal(0, scale, length)


def test_a_jump_is_measured_in_usual_changes():
    """The level of the last stretch is compared with the one before, in medians of the changes before that."""
    levels = np.repeat([0.0, 1, 0, 1, 0, 50], 6)
    (row,) = measure(levels).to_dict("records")
    assert (row["level_before"], row["level_last"]) == (0, 50)
    assert row["level_change"] == pytest.approx(50 / 1)
    assert row["scale_change"] == 1


def test_a_stretch_counts_from_the_end():
    """What does not fill a stretch is the oldest, and only the latest twenty stretches are looked at."""
    levels = np.repeat([0.0, 1, 0, 1, 0, 50], 6)
    older = np.concatenate([[1e9] * 5, levels])
    assert measure(older).equals(measure(levels))
    long = np.tile(np.repeat([0.0, 1], 6), 12)
    assert measure(np.concatenate([np.arange(60) * 1e6, long])).equals(measure(long))


def test_a_constant_history_makes_any_jump_a_large_one():
    """Where nothing ever changed, a jump is a hundred times the usual change, and standing still is none."""
    jump, still = np.repeat([5.0, 6.0], [54, 6]), np.full(60, 5.0)
    found = measure(jump, still)
    assert found["level_change"].tolist() == [100, 0]
    assert found["scale_change"].tolist() == [1, 1]


def test_rounding_is_no_change():
    """A series that repeats itself but for rounding has changed in nothing."""
    wave = np.sin(np.arange(120) * 2 * np.pi / 6)
    (row,) = measure(wave).to_dict("records")
    assert row["level_change"] < 1e-6
    assert row["scale_change"] == pytest.approx(1)


def test_scale_changes_in_both_directions():
    """A spread that grows and one that shrinks count alike."""
    wide, narrow = noise(), noise()
    wide[-6:], narrow[-6:] = wide[-6:] * 30, narrow[-6:] / 30
    found = measure(wide, narrow)
    assert found["scale_change"].between(10, 90).all()
    assert found["scale_last"][0] > found["scale_before"][0]
    assert found["scale_last"][1] < found["scale_before"][1]


@pytest.mark.parametrize("stretch", [6, 168])
def test_a_sensor_that_sticks_or_starts_to_move_is_a_change_of_scale(stretch):
    """A flat stretch after noise, and a single value that moves after a flat history, are both large."""
    stuck, awake = noise(stretch * 8), np.zeros(stretch * 8)
    stuck[-stretch:], awake[-1] = 0.5, 1
    assert (measure(stuck, awake, stretch=stretch)["scale_change"] > 30).all()


def test_short_histories_say_nothing():
    """With fewer than five whole stretches nothing is known of what is usual, and series do not touch each other."""
    long, short = noise(30), noise(29, seed=1)
    found = measure(short, long, [], short)
    assert found["level_change"].notna().tolist() == [False, True, False, False]
    assert found.loc[[1]].reset_index(drop=True).equals(measure(long))


def test_values_of_any_size_give_no_warning():
    """Numbers near the largest there is are measured or left alone, without a word from numpy."""
    huge = np.where(np.arange(60) % 2, 1.7e308, -1.7e308)
    assert len(measure(huge, huge / 1e10, np.zeros(60))) == 3
