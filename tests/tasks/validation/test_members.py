"""The set of series against what earlier runs stored."""

import pytest

from tasks.errors import ValidationError
from tasks.job import RULES

from .checked import HOURS, check, found, make_rows, message


def rows_of(items, length=10):
    """Sound series of some names."""
    return [make_rows(HOURS[:length], range(length), item=item) for item in items]


def test_a_first_run_has_nothing_to_compare(tmp_path):
    """Without earlier runs neither check is run."""
    result = check(tmp_path, *rows_of("ab"))
    assert not {one.rule for one in result.checks} & {"no_series_lost", "no_series_new"}


def test_lost_and_new_series_are_named(tmp_path):
    """Series that are gone are a warning, new ones are told; both are counted and named, and nothing is left out."""
    result = check(tmp_path, *rows_of("abc"), known_items=["b", "c", "v", "w", "x", "y", "z"])
    assert found(result) == {"no_series_lost": 5, "no_series_new": 1}
    assert "no longer has: 5 of 7 (v, w, x, ...); allowed: 0%" in message(result, "no_series_lost")
    assert "no earlier run stored: 1 of 3 (a)" in message(result, "no_series_new")
    assert result.quarantined == []
    assert result.passed


def test_some_may_be_lost(tmp_path):
    """max_lost is the share of the known series that may be absent, and critical makes more of them stop."""
    known = list("abcd")
    assert found(check(tmp_path, *rows_of("abc"), known_items=known, validation={"max_lost": 0.25})) == {}
    with pytest.raises(ValidationError, match=r"no longer has: 1 of 4 \(d\); allowed: 20%"):
        check(
            tmp_path,
            *rows_of("abc"),
            known_items=known,
            validation={"max_lost": 0.2, "severity": {"no_series_lost": "critical"}},
        )


def test_a_series_in_quarantine_is_neither_lost_nor_new(tmp_path):
    """What is left out is in the source, and no run stores it."""
    result = check(tmp_path, *rows_of("abc"), *rows_of(["short", "known"], length=2), known_items=[*"abc", "known"])
    assert {one.item_id for one in result.quarantined} == {"short", "known"}
    assert not {"no_series_lost", "no_series_new"} & set(found(result))


@pytest.mark.parametrize("rule", ["no_series_lost", "no_series_new"])
def test_either_check_can_be_off(tmp_path, rule):
    """A check that is off leaves no record."""
    assert rule in RULES
    result = check(tmp_path, *rows_of("ab"), known_items=["b", "c"], validation={"severity": {rule: "off"}})
    assert rule not in {one.rule for one in result.checks}
