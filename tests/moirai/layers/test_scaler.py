"""Standardisation per sample and variate."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moirai.layers.scaler import standard_scale
from moirai.tokens import group_index, group_sum


def scale_of(values, mask=None, **settings):
    """Location and scale of one group that holds these values."""
    target = torch.tensor([[values]], dtype=torch.float32)
    visible = torch.ones_like(target, dtype=torch.bool) if mask is None else torch.tensor([[mask]])
    ones = torch.ones(1, 1, dtype=torch.long)
    loc, scale = standard_scale(target, visible, ones, ones, **settings)
    return loc.item(), scale.item()


@pytest.mark.parametrize(
    ("values", "mask", "expected"),
    [
        ([1.0, 3.0], [True, True], (2.0, 2.00001**0.5)),
        ([1.0, 99.0], [True, False], (1.0, 1e-5**0.5)),
        ([5.0, 5.0], [True, True], (5.0, 1e-5**0.5)),
        ([7.0, 8.0], [False, False], (0.0, 1e-5**0.5)),
    ],
)
def test_by_hand(values, mask, expected):
    """Mean, unbiased deviation with its floor, and the answers for one and for no value."""
    assert scale_of(values, mask) == pytest.approx(expected)


def test_padding():
    """Padding tokens get location 0 and scale 1, whatever they hold."""
    zeros = torch.zeros(1, 2, dtype=torch.long)
    loc, scale = standard_scale(torch.randn(1, 2, 3), torch.ones(1, 2, 3, dtype=torch.bool), zeros, zeros)
    assert loc.flatten().tolist() == [0, 0]
    assert scale.flatten().tolist() == [1, 1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_groups_are_the_pairs(ids):
    """Two tokens share a group exactly when sample and variate are equal."""
    sample, variate = (torch.tensor([column]) for column in zip(*ids, strict=True))
    group = group_index(sample, variate)[0].tolist()
    assert all((group[i] == group[j]) == (ids[i] == ids[j]) for i in range(len(ids)) for j in range(i))
    counts = group_sum(torch.ones(1, len(ids)), torch.tensor([group]))[0].tolist()
    assert counts == [ids.count(pair) for pair in ids]


def test_rows_are_independent():
    """A row's statistics do not depend on the ids of other rows."""
    target, mask = torch.randn(2, 4, 3), torch.ones(2, 4, 3, dtype=torch.bool)
    sample, variate = torch.tensor([[1, 1, 2, 2]] * 2), torch.tensor([[0, 1, 0, 1], [5, 5, 9, 0]])
    both = standard_scale(target, mask, sample, variate)
    alone = standard_scale(target[:1], mask[:1], sample[:1], variate[:1])
    assert all(torch.equal(x[:1], y) for x, y in zip(both, alone, strict=True))


def test_large_offset():
    """A deviation is found under an offset a hundred thousand times larger, as sums run in float64."""
    loc, scale = scale_of([100_000.0, 100_001.0, 100_002.0])
    assert loc == pytest.approx(100_001)
    assert scale == pytest.approx(1.0, rel=1e-4)


@given(st.lists(st.integers(-6400, 6400).map(lambda n: n / 64), min_size=2, max_size=8), st.integers(-8, 8))
def test_scales_with_the_series(values, exponent):
    """A series times a power of two has location and scale times the same (the floor apart)."""
    factor = 2.0**exponent
    loc, scale = scale_of(values, minimum_scale=0.0)
    assert scale_of([factor * v for v in values], minimum_scale=0.0) == (factor * loc, factor * scale)
