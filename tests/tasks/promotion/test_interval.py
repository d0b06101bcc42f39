"""Gains and their intervals: paired, the same every time, and about as wide as they should be."""

import math

import numpy as np
import pytest

from tasks.promotion import interval
from tasks.promotion.interval import FEWEST, block_length, paired_gain, relative_gain

CONFIDENCE = 0.9
TRUE_GAIN = 0.1


@pytest.mark.parametrize(
    ("mine", "theirs", "gain"),
    [(0.9, 1.0, 0.1), (1.0, 1.0, 0.0), (1.5, 1.0, -0.5), (0.0, 0.0, 0.0), (0.0, 1.0, 1.0), (1.0, 0.0, -math.inf)],
)
def test_a_gain_is_one_minus_the_quotient_of_the_losses(mine, theirs, gain):
    """Nothing lost by either is level; a loss beside none is worse by any factor."""
    assert relative_gain(mine, theirs) == pytest.approx(gain)


@pytest.mark.parametrize(("mine", "theirs"), [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (math.nan, math.nan)])
def test_a_loss_that_is_no_number_shows_no_gain(mine, theirs):
    """The rule reads NaN as nothing shown."""
    assert math.isnan(relative_gain(mine, theirs))
    found = paired_gain(np.array([mine] * 20), np.array([theirs] * 20), unit="series", confidence=CONFIDENCE)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize("unit", ["series", "windows"])
def test_what_two_models_have_in_common_does_not_widen_the_interval(unit):
    """A tenth less loss in every unit is a tenth less whichever units are drawn, however hard some of them are."""
    theirs = np.random.default_rng(0).lognormal(0, 2, 30)
    found = paired_gain(0.9 * theirs, theirs, unit=unit, confidence=CONFIDENCE)
    assert found == pytest.approx((0.1, 0.1, 0.1))


def test_the_same_losses_give_the_same_interval(monkeypatch):
    """Two runs decide on the same numbers, and how many draws fit into memory at a time changes nothing to speak of."""
    theirs = np.random.default_rng(0).gamma(4, 1, 50)
    mine = theirs * np.random.default_rng(1).lognormal(-0.1, 0.3, 50)
    first = paired_gain(mine, theirs, unit="series", confidence=CONFIDENCE)
    assert first == paired_gain(mine, theirs, unit="series", confidence=CONFIDENCE)
    monkeypatch.setattr(interval, "AT_ONCE", 500)
    assert first == pytest.approx(paired_gain(mine, theirs, unit="series", confidence=CONFIDENCE), abs=0.01)


def test_too_few_units_have_a_gain_and_no_interval():
    """An interval made of three windows would say more than they do."""
    losses = np.arange(1.0, FEWEST)
    found = paired_gain(losses / 2, losses, unit="windows", confidence=CONFIDENCE)
    assert found == (0.5, None, None)
    assert paired_gain(np.ones(FEWEST), np.ones(FEWEST), unit="windows", confidence=CONFIDENCE).low == pytest.approx(0)


def test_windows_in_a_row_that_fare_alike_widen_the_interval():
    """Ten good windows followed by ten bad ones are little evidence; the same ones mixed are more."""
    theirs = np.ones(64)
    runs = np.where(np.arange(64) // 8 % 2, 1.3, 0.5)
    mixed = np.random.default_rng(0).permutation(runs)
    widths = []
    for mine in (runs, mixed):
        found = paired_gain(mine, theirs, unit="windows", confidence=CONFIDENCE)
        widths.append(found.high - found.low)
    assert block_length(64) == 4
    assert widths[0] > 1.4 * widths[1]


@pytest.mark.parametrize(
    ("count", "unit", "memory", "least"),
    [(40, "series", 0.0, 0.83), (7, "windows", 0.0, 0.85), (20, "windows", 0.6, 0.79)],
)
def test_an_interval_holds_the_true_gain_about_as_often_as_it_says(count, unit, memory, least):
    """In 200 simulated comparisons; losses differ in size by unit, and of windows by those before as well."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        noise = rng.normal(0, 0.2, count + 1)
        errors = noise[1:] + memory * noise[:-1]
        theirs = rng.gamma(4, 1, count)
        mine = theirs * (1 - TRUE_GAIN) * np.exp(errors - 0.02 * (1 + memory**2))  # the mean of exp is 1
        found = paired_gain(mine, theirs, unit=unit, confidence=CONFIDENCE)
        held += found.low <= TRUE_GAIN <= found.high
    assert least <= held / 200 <= 0.97
