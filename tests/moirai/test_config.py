"""The frozen configuration and its checks."""

from dataclasses import FrozenInstanceError

import pytest

from moirai.config import Moirai2Config
from moirai.errors import ConfigError

TINY = {"d_model": 128, "d_ff": 32, "num_layers": 1, "patch_size": 8}


def test_round_trip():
    """A configuration survives being written to a mapping and read back."""
    config = Moirai2Config(**TINY, quantile_levels=(0.25, 0.5))
    assert Moirai2Config.from_dict(config.to_dict()) == config


def test_derived_values():
    """Heads follow from the width, the number of quantiles from the levels."""
    config = Moirai2Config(**TINY, quantile_levels=(0.25, 0.5))
    assert (config.num_heads, config.num_quantiles) == (2, 2)


def test_is_frozen():
    """A configuration cannot be changed after it was checked."""
    with pytest.raises(FrozenInstanceError):
        Moirai2Config(**TINY).d_model = 64  # type: ignore[misc] - the point of the test


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("d_model", 100, "multiple of 64"),
        ("d_model", 0, "at least 1"),
        ("num_layers", -1, "at least 1"),
        ("num_layers", True, "at least 1"),
        ("dropout_p", 1.0, r"in \[0, 1\)"),
        ("attn_dropout_p", -0.1, r"in \[0, 1\)"),
        ("quantile_levels", [], "rise inside"),
        ("quantile_levels", [0.5, 0.1], "rise inside"),
        ("quantile_levels", [0.5, 0.5], "rise inside"),
        ("quantile_levels", [0.0, 0.5], "rise inside"),
        ("quantile_levels", [0.5, 1.0], "rise inside"),
        ("quantile_levels", [0.5, float("nan")], "rise inside"),
        ("heads", 2, "unknown field 'heads'"),
    ],
)
def test_impossible_values(field, value, says):
    """An impossible value is refused by an error that names the field and the rule."""
    with pytest.raises(ConfigError, match=says) as caught:
        Moirai2Config.from_dict(TINY | {field: value})
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("d_model", "64"), ("d_ff", 1.5), ("dropout_p", "x"), ("scaling", 1), ("quantile_levels", ["a"])],
)
def test_wrong_types(field, value):
    """A value of the wrong type is refused, by us or by the run-time check of types before us."""
    with pytest.raises((ConfigError, TypeError), match=field):
        Moirai2Config.from_dict(TINY | {field: value})


@pytest.mark.parametrize("field", sorted(TINY))
def test_missing_fields(field):
    """A missing field is named."""
    with pytest.raises(ConfigError, match=f"'{field}' is missing"):
        Moirai2Config.from_dict({name: value for name, value in TINY.items() if name != field})
