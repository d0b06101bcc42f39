"""Packing: first-fit-decreasing, and rows that are filled without favour."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.training.packing import counted, fill_rows, first_fit_decreasing


def one_at_a_time(lengths, max_tokens):
    """First-fit-decreasing as its name says it: (row, position, number) of every sample."""
    rooms, members, placed = [], [], {}
    for sample in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        row = next((r for r, room in enumerate(rooms) if room >= lengths[sample]), len(rooms))
        if row == len(rooms):
            rooms.append(max_tokens)
            members.append(0)
        members[row] += 1
        placed[sample] = (row, max_tokens - rooms[row], members[row])
        rooms[row] -= lengths[sample]
    return [placed[sample] for sample in range(len(lengths))]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 24), max_size=60), st.integers(24, 40))
def test_first_fit_decreasing_is_what_its_name_says(lengths, max_tokens):
    """Placing all samples of one length at once gives what placing one after the other gives."""
    packing = first_fit_decreasing(np.array(lengths, np.int64), max_tokens)
    assert list(zip(packing.row, packing.position, packing.number, strict=True)) == one_at_a_time(lengths, max_tokens)


def test_no_samples_need_no_rows():
    """Nothing packs into nothing."""
    assert first_fit_decreasing(np.array([], np.int64), 8).rows == 0


def test_counted_begins_anew_in_every_part():
    """Empty parts count nothing."""
    assert counted(np.array([3, 0, 2])).tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_full(seed):
    """Lengths that are all equally likely, the worst mixture there is, fill over 97 % of many rows."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 129, 3000)
    used, packing = fill_rows(rng, lengths, rows=1024, max_tokens=128)
    assert packing.rows == 1024
    assert set(packing.row.tolist()) == set(range(1024))
    assert lengths[used].sum() > 0.97 * 1024 * 128
    ends = packing.position + lengths[used]
    assert ends.max() <= 128
    places = packing.places(lengths[used])
    assert len(np.unique(places)) == len(places)


def test_neither_long_nor_short_samples_are_favoured():
    """Samples of every length are left out equally often: what is used has the mean length of what was drawn."""
    rng = np.random.default_rng(0)
    lengths = rng.choice([1, 2, 30, 33, 40, 64], (60, 800))
    used = np.concatenate([one[fill_rows(rng, one, rows=64, max_tokens=64)[0]] for one in lengths])
    error = lengths.std() / len(used) ** 0.5
    assert abs(used.mean() - lengths.mean()) < 4 * error


def test_places_spread_fields_and_leave_padding():
    """Tokens stand where their sample begins, in order; the rest is 0."""
    lengths = np.array([2, 3])
    packing = first_fit_decreasing(lengths, 6)
    rows = packing.spread(np.array([1, 2, 3, 4, 5]), packing.places(lengths))
    assert rows.tolist() == [[3, 4, 5, 1, 2, 0]]
