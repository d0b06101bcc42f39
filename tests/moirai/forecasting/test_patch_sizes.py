"""Patch sizes by frequency, for any list of sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moirai.errors import ConfigError
from moirai.forecasting.patch_sizes import admissible_patch_sizes, patch_size_by_frequency, patch_size_range

PUBLISHED = (8, 16, 32, 64, 128)
SIZES = st.lists(st.integers(5, 500), min_size=1, max_size=6, unique=True)
FREQUENCIES = st.sampled_from(
    ["s", "ms", "10S", "min", "15T", "h", "bh", "2H", "D", "B", "W-MON", "MS", "ME", "QS", "Y"]
)


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        ("ms", (64, 128)),
        ("60min", (32, 128)),
        ("24h", (32, 64)),
        ("C", (16, 32)),
        ("SMS", (8, 32)),
        ("WOM-2TUE", (8, 32)),
        ("BQE-MAR", (1, 8)),
        ("3BYS-JUN", (1, 8)),
    ],
)
def test_ranges_beyond_the_table(freq, expected):
    """Rarer frequencies have the range of their unit, whatever the multiple."""
    assert patch_size_range(freq) == expected


@pytest.mark.parametrize(
    ("freq", "context", "size"),
    [
        ("min", 5000, 128),
        ("h", 512, 64),
        ("h", 127, 32),
        ("h", 20, 32),
        ("D", 64, 32),
        ("D", 63, 16),
        ("MS", 63, 16),
        ("QS", 8, 8),
    ],
)
def test_largest_that_leaves_two_patches(freq, context, size):
    """The largest suitable size that leaves two patches of context; the smallest suitable if none does."""
    assert patch_size_by_frequency(freq, PUBLISHED, context=context) == size


@pytest.mark.parametrize(
    ("freq", "sizes", "size"),
    [("h", (5, 20), 20), ("h", (100, 500), 100), ("h", (20, 500), 20), ("QS", (100, 12), 12), ("D", (10, 52), 10)],
)
def test_nearest_where_none_suits(freq, sizes, size):
    """A model without a suitable size takes the one nearest by ratio."""
    assert admissible_patch_sizes(freq, sizes) == ()
    assert patch_size_by_frequency(freq, sizes, context=1000) == size


@given(FREQUENCIES, SIZES, st.integers(1, 3000))
def test_any_list_of_sizes(freq, sizes, context):
    """The choice is one of the model's sizes, suitable if any is, and does not depend on their order."""
    chosen = patch_size_by_frequency(freq, sizes, context=context)
    suitable = admissible_patch_sizes(freq, sizes)
    assert chosen in (suitable or sizes)
    assert chosen == patch_size_by_frequency(freq, sizes[::-1], context=context)
    assert list(suitable) == [size for size in sizes if size in suitable]


@pytest.mark.parametrize("freq", ["fortnight", "m", "-1h"])
def test_no_frequency(freq):
    """What is no frequency is refused."""
    with pytest.raises(ConfigError, match=freq):
        patch_size_by_frequency(freq, PUBLISHED, context=100)
