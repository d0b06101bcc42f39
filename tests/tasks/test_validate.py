"""Validation: exact counts, what stops, what is quarantined, and the report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import JobError, ValidationError
from tasks.ingest import ingest_source
from tasks.job import load_job
from tasks.panel import SourcePart
from tasks.validate import ValidationResult, validate, validate_panel

from .validation.checked import HOURS, NAN, check, found, make_job, make_raw, make_rows, message

EXAMPLE = Path(__file__).parents[2] / "deployments" / "examples" / "metro_traffic" / "job.yaml"


def test_sound_panel_passes(tmp_path):
    """Nothing is found in a sound panel, and every rule says what it looked at."""
    result = check(tmp_path, make_rows(HOURS, range(10)))
    assert found(result) == {}
    assert result.passed
    assert result.quarantined == []
    assert "none of 10" in next(c.message for c in result.checks if c.rule == "unique_timestamps")
    assert {c.rule for c in result.checks} >= {"columns_present", "finite", "missing_share"}


def test_repeats_are_counted_once_each(tmp_path):
    """Only rows that repeat an earlier one count, and contradictions are told per column."""
    stamps = [*HOURS, HOURS[0], HOURS[0], HOURS[1]]
    result = check(tmp_path, make_rows(stamps, [*range(10), 0, 7, 1], [0] * 12 + [5]))
    assert found(result) == {
        "unique_timestamps": 3,
        ("repeats_agree", "y"): 1,
        ("repeats_agree", "x"): 1,
    }
    text = message(result, "unique_timestamps")
    assert "3 of 13 (line 12, line 13, line 14); transform.duplicates is keep_first" in text
    assert result.passed


def test_repeats_may_be_refused(tmp_path):
    """Under policy error repeated rows stop the run; the text names lines, setting and report."""
    rows = make_rows([*HOURS, HOURS[0]], range(11))
    with pytest.raises(ValidationError, match=r"repeat an earlier.*line 12.*duplicates is error"):
        check(tmp_path, rows, transform={"duplicates": "error"})


def test_report_is_there_when_the_run_stops(tmp_path):
    """The report is written before anything is raised, and holds checks, series and settings."""
    rows = make_rows([*HOURS, HOURS[0]], range(11))
    with pytest.raises(ValidationError, match=r"job 'test' stopped.* Report: ") as caught:
        check(tmp_path, rows, transform={"duplicates": "error"})
    path = Path(str(caught.value).rpartition("Report: ")[2])
    assert path.parent == tmp_path / "moirai-work" / "validation"
    report = json.loads(path.read_text())
    assert report["passed"] is False
    assert [c["count"] for c in report["checks"] if c["rule"] == "unique_timestamps"] == [1]
    assert report["series"][0]["observed"] == 10
    assert report["settings"]["transform"]["duplicates"] == "error"
    assert path.stem == report["panel"]["digest"]
    assert list(path.parent.iterdir()) == [path]


def test_off_grid_stops_unless_floored(tmp_path):
    """Time stamps between two grid points stop by default; floored ones may repeat others."""
    rows = make_rows([*HOURS, HOURS[3] + pd.Timedelta("7min")], range(11))
    expected = r"two points of the h grid: 1 of 11 \(line 12\); transform.off_grid is error"
    with pytest.raises(ValidationError, match=expected):
        check(tmp_path, rows)
    result = check(tmp_path, rows, transform={"off_grid": "floor"})
    assert found(result) == {
        "on_grid": 1,
        "unique_timestamps": 1,
        ("repeats_agree", "y"): 1,
        ("repeats_agree", "x"): 1,
    }


def test_infinite_values_stop(tmp_path):
    """An infinite value stops: nothing downstream can use it."""
    with pytest.raises(ValidationError, match=r"rows with an infinite value: 1 of 10 \(line 2\)"):
        check(tmp_path, make_rows(HOURS, range(10), [np.inf] + [0] * 9))


def test_missing_columns_and_keys_stop(tmp_path):
    """A panel without a column of the job, or with missing keys, stops with the report written."""
    rows = make_rows(HOURS, range(10))
    with pytest.raises(ValidationError, match="job names and the panel lacks: 1 of 4; ingest again"):
        check(tmp_path, rows.drop(columns="x"))
    with pytest.raises(ValidationError, match=r"rows without time stamp: 1 of 10 \(line 6\)"):
        check(tmp_path, rows.assign(timestamp=rows["timestamp"].where(rows.index != 4)))


@pytest.mark.parametrize(
    ("bounds", "words", "count"),
    [
        ({"min": 2}, "at least 2", 2),
        ({"max": 7.5}, "at most 7.5", 2),
        ({"min": 1, "max": 8}, "between 1 and 8", 2),
        ({}, "", 0),
    ],
)
def test_ranges(tmp_path, bounds, words, count):
    """Values outside a range are counted with line and value; bounds are plausible."""
    result = check(tmp_path, make_rows(HOURS, range(10)), validation={"ranges": {"y": bounds}})
    assert {r: n for r, n in found(result).items() if r[0] == "in_range"} == (
        {("in_range", "y"): count} if count else {}
    )
    if count:
        assert f"values of y that are not {words}: 2 of 10 (" in message(result, "in_range")


def test_range_policies(tmp_path):
    """Under error implausible values stop; set missing they no longer count as observed."""
    rows = make_rows(HOURS, [*range(9), 999])
    with pytest.raises(ValidationError, match=r"not at most 100: 1 of 10 \(999 in line 11\)"):
        check(tmp_path, rows, transform={"out_of_range": "error"})
    for policy, observed in (("set_missing", 9), ("keep", 10)):
        result = check(tmp_path, rows, transform={"out_of_range": policy})
        assert json.loads(Path(result.report_path).read_text())["series"][0]["observed"] == observed


SICK = {
    "observed_length": (make_rows(HOURS[:3], [1, 2, 3], item="sick"), "3 observed steps of the 4"),
    "missing_share": (
        make_rows(HOURS[[0, 1, 2, 9]], [1, 2, 3, 4], item="sick"),
        "y misses 6 of 10 steps",
    ),
    "any_observed": (make_rows(HOURS, [NAN] * 10, item="sick"), "y has no value at all"),
    "fresh": (
        make_rows(HOURS[:4], [1, 2, 3, 4], item="sick"),
        "y was last observed at 2024-01-01 03:00",
    ),
}


@pytest.mark.parametrize("rule", SICK)
def test_unfit_series_are_quarantined(tmp_path, rule):
    """A series that breaks a warning is left out, with reason and first lines; the others go on."""
    rows, why = SICK[rule]
    fit = make_rows(HOURS, range(10)), make_rows(HOURS, range(10), item="other")
    result = check(tmp_path, *fit, rows, validation={"stale_after": "5h"})
    (quarantined,) = [q for q in result.quarantined if q.rule == rule]
    assert quarantined.item_id == "sick"
    assert why in quarantined.why
    assert quarantined.first_rows == list(range(22, 22 + min(5, len(rows))))
    assert found(result)[rule] == 1
    assert "sick: y " in message(result, rule)
    assert {q.item_id for q in result.quarantined} == {"sick"}
    assert result.passed


def test_empty_series_is_not_called_short_as_well(tmp_path):
    """A series without any value has one reason, not two."""
    fit = make_rows(HOURS, range(10)), make_rows(HOURS, range(10), item="other")
    result = check(tmp_path, *fit, SICK["any_observed"][0])
    assert [q.rule for q in result.quarantined] == ["any_observed"]


def test_one_unfit_target_takes_its_item_along(tmp_path):
    """An item is left out when one of its targets is unfit; the reason names each unfit target."""
    columns = {"timestamp": "t", "target": ["y", "x"], "item_id": "i"}
    parts = [
        make_rows(HOURS, range(10), item="fit"),
        make_rows(HOURS, range(10), [1] + [NAN] * 9, item="half"),
        make_rows(HOURS, [1] + [NAN] * 9, [1] + [NAN] * 9, item="none"),
        make_rows(HOURS, range(10), item="well"),
    ]
    result = check(tmp_path, *parts, columns=columns)
    assert {q.item_id: q.why.count("observed steps") for q in result.quarantined} == {
        "half": 1,
        "none": 2,
    }
    assert found(result)["observed_length"] == 3
    assert next(c.count for c in result.checks if c.rule == "quarantined_share") == 2


def test_too_many_in_quarantine_stop(tmp_path):
    """More series in quarantine than allowed stop the run, and so do all of them."""
    sick = SICK["observed_length"][0]
    fit = make_rows(HOURS, range(10))
    assert check(tmp_path, fit, sick).passed
    strict = {"max_quarantined": 0.4}
    with pytest.raises(ValidationError, match="in quarantine: 1 of 2; allowed: 40%, not all"):
        check(tmp_path, fit, sick, validation=strict)
    with pytest.raises(ValidationError, match=r"1 of 1; .*the first: sick: y has 3 observed"):
        check(tmp_path, sick, validation={"max_quarantined": 1})


def test_freshness_is_told_from_as_of(tmp_path):
    """The age counts from as_of, or from the clock; without stale_after nothing is stale."""
    rows = make_rows(HOURS, range(10))
    limit = {"stale_after": "2h"}
    assert found(check(tmp_path, rows, as_of=HOURS[-1] + pd.Timedelta("2h"), validation=limit)) == {}
    for late in (HOURS[-1] + pd.Timedelta("3h"), None):
        with pytest.raises(ValidationError, match="at 2024-01-01 09:00, more than 2h before 20"):
            check(tmp_path, rows, as_of=late, validation=limit)
    assert check(tmp_path, rows, as_of=None).passed


def test_gaps_and_constants_are_only_told(tmp_path):
    """Gaps longer than the horizon and constant series are information, not a reason to stop."""
    rows = make_rows(HOURS[[0, 1, 2, 3, 8, 9]], [5] * 6)
    result = check(tmp_path, rows)
    assert found(result) == {"complete": 1, "short_gaps": 1, "not_constant": 1}
    expected = "y misses 4 steps in a row between 2024-01-01 03:00 and 2024-01-01 08:00"
    assert expected in message(result, "short_gaps")
    assert {c.severity for c in result.checks if not c.passed} == {"info"}
    assert result.quarantined == []


def test_messages_name_a_few_places_only(tmp_path):
    """A message names three places and says that there are more."""
    rows = make_rows([*HOURS, *HOURS[:7]], [*range(10), *range(7)])
    result = check(tmp_path, rows)
    expected = "7 of 17 (line 12, line 13, line 14, ...)"
    assert expected in message(result, "unique_timestamps")


def test_metro_counts_are_those_of_its_readme(tmp_path):
    """On the example data every known defect is found, with its exact count, line and extent."""
    job = load_job(EXAMPLE).model_copy(update={"workspace": str(tmp_path)})
    raw = ingest_source(job)
    result = validate.fn(job, raw, raw.end)
    assert result == validate_panel(job, raw, raw.end)
    assert found(result) == {
        ("in_range", "temp"): 10,
        ("in_range", "rain_1h"): 1,
        "unique_timestamps": 7_629,
        ("repeats_agree", "temp"): 90,
        ("repeats_agree", "rain_1h"): 13,
        "complete": 1,
        "short_gaps": 1,
    }
    assert "(9831.3 in line 24874)" in message_of(result, "in_range", "rain_1h")
    assert result.quarantined == []
    (series,) = json.loads(Path(result.report_path).read_text())["series"]
    counted = [series[name] for name in ("observed", "missing", "steps")]
    assert counted == [40_575, 11_976, 52_551]
    gap = [pd.Timestamp(series[name]) for name in ("gap_after", "gap_before")]
    assert gap == [pd.Timestamp("2014-08-08 01:00"), pd.Timestamp("2015-06-11 20:00")]
    assert (gap[1] - gap[0]).days == 307


def message_of(result: ValidationResult, rule: str, column: str) -> str:
    """The message of the check of a rule on a column."""
    return next(c.message for c in result.checks if (c.rule, c.column) == (rule, column))


def test_severities_of_the_job_replace_those_of_the_checks(tmp_path):
    """What is only told elsewhere can stop or leave a series out, and a check that is off is not run."""
    gap, whole = make_rows(HOURS[[0, 1, 2, 3, 8, 9]], range(6), item="gap"), make_rows(HOURS, range(10))
    parts = (gap, whole, make_rows(HOURS, range(10), item="other"))
    result = check(tmp_path, *parts, validation={"severity": {"short_gaps": "warning", "complete": "off"}})
    assert [(one.item_id, one.rule) for one in result.quarantined] == [("gap", "short_gaps")]
    assert "complete" not in {one.rule for one in result.checks}
    with pytest.raises(ValidationError, match=r"gap longer than the horizon \(3 steps\): 1 of 3 \(gap: y misses 4"):
        check(tmp_path, *parts, validation={"severity": {"short_gaps": "critical"}})


def test_contradicting_rows_can_stop_where_identical_ones_do_not(tmp_path):
    """With repeats_agree critical, rows that say the same are dropped, and rows that contradict each other stop."""
    severity = {"severity": {"repeats_agree": "critical"}}
    same = make_rows([*HOURS, HOURS[0]], [*range(10), 0], [0] * 11)
    assert check(tmp_path, same, validation=severity).passed
    other = make_rows([*HOURS, HOURS[0]], [*range(10), 5], [0] * 11)
    with pytest.raises(ValidationError, match=r"values of y that contradict .*: 1 of 11 \(5 in line 12\)"):
        check(tmp_path, other, validation=severity)


def test_too_many_in_quarantine_can_be_allowed(tmp_path):
    """The share of series left out is a check like any other: its severity can be lowered."""
    parts = (make_rows(HOURS, range(10)), SICK["observed_length"][0])
    limits = {"max_quarantined": 0.1, "severity": {"quarantined_share": "warning"}}
    result = check(tmp_path, *parts, validation=limits)
    assert result.passed
    assert found(result)["quarantined_share"] == 1


def test_keys_are_always_critical(tmp_path):
    """A job that wants to go on without time stamps is refused, with the setting's name."""
    with pytest.raises(JobError, match=r"severity.timestamp_present is off, but .* take it out of the job file"):
        check(tmp_path, make_rows(HOURS, range(10)), validation={"severity": {"timestamp_present": "off"}})


def test_a_series_of_every_row_asks_for_the_right_column(tmp_path):
    """Where series are far too short on average, the message asks whether the right column tells them apart."""
    rows = make_rows(HOURS, range(10)).assign(item_id=[f"item {number}" for number in range(10)])
    expected = (
        r"series with fewer than 4 observed steps: 10 of 10; .*10 rows make 10 series: is columns.item_id \('i'\)"
    )
    with pytest.raises(ValidationError, match=expected):
        check(tmp_path, rows)


def test_far_too_many_series_are_refused_without_describing_each(tmp_path):
    """More series than can be long enough stop before a record is made of every one of them."""
    count = 100_001
    rows = pd.DataFrame({"item_id": [f"{number:06}" for number in range(count)], "timestamp": HOURS[0]})
    with pytest.raises(ValidationError, match=r"at least 75,001 of 100,001; .* is columns.item_id \('i'\)"):
        check(tmp_path, rows.assign(y=1.0, x=2.0), validation={"ranges": {}})


def test_messages_name_files_and_rows(tmp_path):
    """With several files a message says which of them a row is from, and counts within it."""
    parts = [
        SourcePart(name="a.csv", unit="line", before=0),
        SourcePart(name="b.parquet", unit="row", before=11),
    ]
    rows = make_rows([*HOURS, HOURS[0]], range(11))
    result = validate_panel(make_job(tmp_path), make_raw(tmp_path, rows, parts=parts), HOURS[-1])
    assert "1 of 11 (row 1 of b.parquet)" in message(result, "unique_timestamps")


def test_messages_name_the_series_where_lines_hold_several(tmp_path):
    """In a wide file the line alone is not enough: series and time stamp follow."""
    source = {"path": "none.csv", "layout": "column_per_series", "series_columns": {"y": "{i}"}}
    result = check(tmp_path, make_rows(HOURS, [*range(9), 999], item="east"), source=source)
    assert "(999 in line 11: east at 2024-01-01 09:00)" in message(result, "in_range")


def test_categorical_values_are_told_by_name(tmp_path):
    """Where rows contradict each other in a categorical column, the message says names, not codes."""
    columns = {"timestamp": "t", "target": ["y"], "item_id": "i", "past": ["x"], "categorical": ["x"]}
    rows = make_rows([*HOURS, HOURS[0]], [*range(10), 0], [0] * 10 + [1])
    job = make_job(tmp_path, columns=columns)
    result = validate_panel(job, make_raw(tmp_path, rows, levels={"x": ["calm", "north"]}), HOURS[-1])
    assert "(north in line 12)" in message(result, "repeats_agree")


def test_infinite_values_can_be_told_only(tmp_path):
    """An infinite value that does not stop counts as missing."""
    rows = make_rows(HOURS, [np.inf, *range(9)])
    validation = {"ranges": {}, "severity": {"finite": "info"}}
    result = check(tmp_path, rows, validation=validation)
    assert found(result) == {"finite": 1}
    assert json.loads(Path(result.report_path).read_text())["series"][0]["observed"] == 9
