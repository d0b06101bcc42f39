"""The suites, how they are filled, and what is a defect of a suite rather than of the data."""

import json

import pandas as pd
import pytest

from tasks.expectations import SUITES, CannotRunError, load_suite, run_suite, write_out
from tasks.job import RULES
from tasks.validation.severity import COMPUTED


@pytest.mark.parametrize("name", ["rows", "series", "horizon"])
def test_suites_are_complete(name):
    """Every entry of a suite has what a check needs."""
    suite = json.loads((SUITES / f"{name}.json").read_text())
    for entry in suite["expectations"]:
        assert entry["meta"].keys() >= {"rule", "what"}
        assert entry["severity"] in {"critical", "warning", "info"} or entry["severity"][0] == "$"
        assert (name != "rows") == ("why" in entry["meta"])


def test_the_job_file_knows_every_check():
    """The rules that a job may give a severity are those of the suites and those that are computed."""
    entries = [entry for path in SUITES.glob("*.json") for entry in json.loads(path.read_text())["expectations"]]
    assert sorted(RULES) == sorted([*(entry["meta"]["rule"] for entry in entries), *COMPUTED])


def test_severities_can_be_set_for_a_suite():
    """A rule takes the severity that it is given, and is left out when that is off."""
    names = {"horizon": 3}
    lists = {"known": [{"column": "x"}]}
    (entry,) = load_suite("horizon", names, lists, {"known_for_horizon": "info"})["expectations"]
    assert entry["severity"] == "info"
    assert load_suite("horizon", names, lists, {"known_for_horizon": "off"})["expectations"] == []


def test_entries_repeat_for_each_element():
    """An entry is repeated for each element of its list, and left out when the list is empty."""
    names = {"min_length": 4, "max_missing": 0.5, "max_missing_percent": "50%", "horizon": 1_000}
    names |= {"stale_after": "7d", "now": pd.Timestamp("2024-01-01")}
    names |= {"stretch": 24, "max_level_change": 10, "max_scale_change": 10}
    lists = {"level_limit": [{}], "scale_limit": []}
    without = load_suite("series", names, {"age_limit": [], **lists})["expectations"]
    twice = load_suite("series", names, {"age_limit": [{"max_age_hours": 1}, {"max_age_hours": 2}], **lists})
    assert "steady_scale" not in {e["meta"]["rule"] for e in without}
    ages = [e["kwargs"] for e in twice["expectations"] if e["meta"]["rule"] == "fresh"]
    assert [kwargs["max_value"] for kwargs in ages] == [1, 2]
    assert len(twice["expectations"]) == len(without) + 2
    gaps = next(e for e in without if e["meta"]["rule"] == "short_gaps")
    assert gaps["kwargs"]["max_value"] == 1_000
    assert gaps["meta"]["what"] == "series with a gap longer than the horizon (1,000 steps)"


def test_suite_with_an_unknown_name_is_a_defect():
    """A name that nobody fills in does not pass silently."""
    with pytest.raises(KeyError):
        load_suite("series", {}, {"age_limit": []})


def test_expectation_that_cannot_be_run_is_a_defect():
    """An expectation on a column that is not there is an error, not a failed check."""
    kwargs = {"column": "absent", "min_value": 0}
    entry = {
        "type": "expect_column_values_to_be_between",
        "kwargs": kwargs,
        "severity": "warning",
        "meta": {"rule": "broken", "what": "nothing"},
    }
    with pytest.raises(CannotRunError, match=r"expectation broken could not be run: .*absent"):
        run_suite({"name": "bad", "expectations": [entry]}, pd.DataFrame({"y": [1.0]}))


def test_few_places_of_many_are_kept():
    """Where millions of rows may be wrong, an outcome counts them all and names the first of them only."""
    entry = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "y", "max_value": 0},
        "severity": "info",
        "meta": {"rule": "low", "what": "high values"},
    }
    suite, frame = {"name": "low", "expectations": [entry]}, pd.DataFrame({"y": [0.0, *[1.0] * 8]}, index=range(10, 19))
    (few,), (every,) = run_suite(suite, frame, places="first"), run_suite(suite, frame)
    assert (few.count, few.places) == (8, [11, 12, 13, 14, 15])
    assert (every.count, every.places) == (8, list(range(11, 19)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12_345, "12,345"),
        (0.25, "0.25"),
        (200.0, "200"),
        (pd.Timestamp("2024-01-01"), "2024-01-01"),
        (pd.Timestamp("2024-01-01 10:00"), "2024-01-01 10:00"),
        (pd.Timestamp("2024-01-01 00:00:30"), "2024-01-01 00:00:30"),
        ("text", "text"),
    ],
)
def test_values_are_written_for_people(value, text):
    """Numbers and time stamps in messages are short and grouped."""
    assert write_out(value) == text
