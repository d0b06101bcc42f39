"""Patch sizes of a frequency against the reference's table."""

import json

import pytest

from moirai.forecasting.patch_sizes import admissible_patch_sizes, patch_size_range

NEW_NAMES = {"S": "s", "T": "min", "H": "h", "M": "ME", "Q": "QE", "A": "YE", "Y": "YE", "AS": "YS"}


@pytest.fixture(scope="module")
def table(parity):
    """Frequency -> smallest, largest and admissible sizes among the published ones."""
    return json.loads((parity / "components/patch_size_constraints.json").read_text("utf-8"))


def renamed(freq):
    """A frequency as pandas calls it since version 2.2."""
    unit, dash, anchor = freq.lstrip("0123456789").partition("-")
    return freq[: len(freq) - len(unit + dash + anchor)] + NEW_NAMES.get(unit, unit) + dash + anchor


def test_patch_size_table(table):
    """Every tabulated frequency has its range and its admissible sizes, by its old and by its new name."""
    assert {"S", "15T", "H", "W-SUN", "M", "Q-DEC", "AS"} <= table.keys()
    assert [renamed(freq) for freq in ("15T", "A-DEC", "MS")] == ["15min", "YE-DEC", "MS"]
    for freq, row in table.items():
        for name in (freq, renamed(freq)):
            assert patch_size_range(name) == (row["min"], row["max"]), name
            assert admissible_patch_sizes(name, (8, 16, 32, 64, 128)) == tuple(row["allowed"]), name
