"""The suite that a job brings along: what runs on what, and every way in which the file can be wrong."""

import json

import pandas as pd
import pytest

from tasks.errors import JobError, ValidationError
from tasks.validate import validate_panel

from .checked import HOURS, check, found, make_job, make_raw, make_rows, message

BETWEEN = "expect_column_values_to_be_between"
GOOD = make_rows(HOURS, range(10))


def entry(column, kind=BETWEEN, severity="warning", meta=None, **kwargs):
    """One expectation on a column."""
    return {"type": kind, "kwargs": {"column": column, **kwargs}, "severity": severity, "meta": meta or {}}


def run(folder, *entries, parts=(GOOD,), **settings):
    """Validate with a suite of some expectations, or with a file of some content."""
    content = entries[0] if isinstance(entries[0], str) else json.dumps({"name": "mine", "expectations": entries})
    (folder / "suite.json").write_text(content)
    return check(folder, *parts, validation={"suite": "suite.json", **settings.pop("validation", {})}, **settings)


def test_expectations_on_rows_are_reported(tmp_path):
    """A broken expectation on rows names the first lines; rows are left as they are."""
    result = run(tmp_path, entry("x", max_value=7, meta={"what": "strange values of x"}), entry("y", max_value=99))
    assert found(result) == {(f"suite:{BETWEEN}", "x"): 2}
    assert message(result, f"suite:{BETWEEN}") == "strange values of x: 2 of 10 (8 in line 10, 9 in line 11)"
    assert result.quarantined == []


def test_rows_are_those_of_the_source(tmp_path):
    """Places follow the order of the source, not that of the panel."""
    parts = (make_rows(HOURS, [50] * 10, item="z"), make_rows(HOURS, [60] * 10, item="a"))
    result = run(tmp_path, entry("y", max_value=10), parts=parts)
    assert "20 of 20 (50 in line 2, 50 in line 3, 50 in line 4, ...)" in message(result, f"suite:{BETWEEN}")


def test_a_critical_expectation_stops(tmp_path):
    """Critical is what it is in Great Expectations when nothing is said, and stops the run; a rule may have a name."""
    one = entry("y", min_value=1, meta={"rule": "no_zero"})
    del one["severity"]
    with pytest.raises(ValidationError, match=rf"rows that break {BETWEEN} \(column y, min_value 1\): 1 of 10"):
        run(tmp_path, one)


def test_a_warning_on_series_puts_them_in_quarantine(tmp_path):
    """An expectation on the profile leaves a series out, and says by which value."""
    flat = make_rows(HOURS, [5] * 10, item="flat")
    one = entry("spread", min_value=1, meta={"on": "series", "rule": "moves", "what": "series worth < 1 $"})
    result = run(tmp_path, one, parts=(GOOD, make_rows(HOURS, range(10), item="other"), flat))
    (quarantined,) = result.quarantined
    assert (quarantined.item_id, quarantined.rule) == ("flat", "moves")
    assert quarantined.why == "y is among the series worth < 1 $: spread is 0"
    assert found(result)["moves", "spread"] == 1


def test_expectations_on_all_rows_say_what_they_found(tmp_path):
    """A mean is no matter of single rows: the message tells it, and nothing is left out."""
    mean = "expect_column_mean_to_be_between"
    result = run(
        tmp_path,
        entry("y", mean, max_value=4, meta={"what": "mean of y at most 4"}),
        entry("observed", mean, min_value=99, meta={"on": "series"}),
        {"type": "expect_table_row_count_to_equal", "kwargs": {"value": 10}},
    )
    texts = [one.message for one in result.checks if one.rule.startswith("suite:") and not one.passed]
    assert texts[0] == "mean of y at most 4: not met, found 4.5"
    assert texts[1].endswith("not met, found 10.0")
    assert len(texts) == 2
    assert result.quarantined == []


def test_categorical_columns_hold_their_names(tmp_path):
    """An expectation on a categorical column is about the names of the source, not about codes."""
    columns = {"timestamp": "t", "target": ["y"], "item_id": "i", "past": ["x"], "categorical": ["x"]}
    one = entry("x", "expect_column_values_to_be_in_set", value_set=["calm"])
    (tmp_path / "suite.json").write_text(json.dumps({"expectations": [one]}))
    job = make_job(tmp_path, columns=columns, validation={"suite": "suite.json"})
    raw = make_raw(tmp_path, GOOD.assign(x=[0.0] * 8 + [1.0, float("nan")]), levels={"x": ["calm", "north"]})
    result = validate_panel(job, raw, HOURS[-1])
    assert "1 of 9 (north in line 10)" in message(result, "suite:expect_column_values_to_be_in_set")


def test_pairs_of_columns_and_conditions_work(tmp_path):
    """Whatever Great Expectations can say of a data frame can be said of the rows."""
    pair = {
        "type": "expect_column_pair_values_a_to_be_greater_than_b",
        "kwargs": {"column_A": "y", "column_B": "x", "or_equal": True},
        "severity": "info",
    }
    condition = {"type": "comparison", "column": {"name": "item_id"}, "operator": "==", "parameter": "good"}
    rows = pd.concat([GOOD.assign(x=range(9, -1, -1)), make_rows(HOURS, range(10), item="other")])
    result = run(tmp_path, pair, entry("x", max_value=8, row_condition=condition), parts=(rows,))
    assert found(result) == {
        "suite:expect_column_pair_values_a_to_be_greater_than_b": 5,
        (f"suite:{BETWEEN}", "x"): 1,
    }


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("{", ["suite.json is not valid JSON", "line 1 column 2", "docs/data.md"]),
        ("[]", ["expectations must be a list of at least one", "docs/data.md"]),
        ('{"expectations": []}', ["expectations must be a list of at least one"]),
        ('{"expectations": [{"kwargs": {}}]}', ["expectation 1: type: Field required", "docs/data.md"]),
        ('{"expectations": [3]}', ["expectation 1: ", "(it is 3)"]),
        (
            [entry("y", "expect_column_to_rise")],
            ["expectation 1 (expect_column_to_rise)", "no type", "nearest is"],
        ),
        (
            [entry("y", max_value=99), entry("z", max_value=1)],
            ["expectation 2", "'z' on rows", "timestamp, y, x"],
        ),
        ([entry("y", meta={"on": "series"}, max_value=1)], ["no column 'y' on series", "missing_share, gaps"]),
        ([entry("y", most=1)], ["expectation 1", "most: extra fields not permitted"]),
        ([entry("y")], ["min_value and max_value cannot both be None"]),
        ([entry("y", severity="loud", max_value=1)], ["severity", "'loud'"]),
        (
            [entry("item_id", max_value=1)],
            ["expectation 1", "cannot evaluate", "there are item_id, timestamp"],
        ),
    ],
)
def test_a_suite_that_cannot_be_used_is_one_line(tmp_path, content, parts):
    """The line names the file, the entry and the mend; nothing is written."""
    with pytest.raises(JobError, match=r"validation.suite .*suite\.json") as caught:
        run(tmp_path, *([content] if isinstance(content, str) else content))
    text = str(caught.value)
    assert "\n" not in text
    assert [part for part in parts if part not in text] == [], text
    assert not (tmp_path / "moirai-work").exists()


def test_a_suite_that_is_missing_is_one_line(tmp_path):
    """The line names the path that was tried and what it is relative to."""
    with pytest.raises(JobError, match=r"cannot read .*none\.json \(No such file.*relative to the job file's folder"):
        check(tmp_path, GOOD, validation={"suite": "none.json"})
