"""What was found and done says the same in sentence, tables and figures, with places of the source."""

from pathlib import Path

import pytest

from tasks.findings import Findings, capped, findings_of
from tasks.panel import SourcePart, write_panel
from tasks.quality import Change, Check, Quarantine
from tasks.validate import validate_panel

from .shop import make_panel


def check(rule, severity, *, passed=False):
    """A check of ten rows."""
    return Check(
        rule=rule, severity=severity, column=None, passed=passed, count=0 if passed else 3, total=10, message=f"{rule}."
    )


@pytest.fixture
def findings():
    """Two failed checks and a passed one, a series left out for two reasons, and two mends."""
    return Findings(
        checks=[check("finite", "critical", passed=True), check("complete", "info"), check("in_range", "warning")],
        quarantined=[
            Quarantine(item_id="a", rule="fresh", why="Old.", first_rows=[2, 14]),
            Quarantine(item_id="a", rule="missing_share", why="Empty.", first_rows=[]),
        ],
        changes=[
            Change(rule="grid", column=None, count=1200, message="Added."),
            Change(rule="duplicates", column=None, count=7, message="Kept.", difference={"sales": -1234.5}),
        ],
    )


@pytest.fixture
def panel(tmp_path):
    """A panel whose rows came from two files."""
    parts = [SourcePart(name="a.csv", unit="line", before=0), SourcePart(name="b.csv", unit="line", before=10)]
    return make_panel(tmp_path).model_copy(update={"parts": parts})


def test_the_sentence_counts(findings):
    """A series that breaks two rules is one series left out."""
    told = "Data checks: 2 of 3 failed (1 warning, 1 info); 1,207 rows or values mended; 1 series left out."
    assert findings.sentence() == told
    assert Findings().sentence() == "No data checks ran; 0 rows or values mended; no series left out."


def test_tables_put_what_failed_first_and_name_places(findings, panel):
    """Rows of the source are named by file and line."""
    tables = findings.tables(panel)
    assert [row["rule"] for row in tables["checks"]] == ["in_range", "complete", "finite"]
    assert tables["quarantine"][0]["first rows"] == "line 2 of a.csv, line 4 of b.csv"
    assert tables["quarantine"][1]["first rows"] == ""
    assert tables["changes"][0] == {
        "rule": "grid",
        "column": "",
        "count": 1200,
        "what was done": "Added.",
        "sums changed by": "",
    }
    assert tables["changes"][1]["sums changed by"] == "sales -1,234.5"


def test_figures_are_the_counts(findings, panel):
    """What two runs are compared by."""
    assert findings.figures(panel, 0.25) == {
        "data/rows": 30,
        "data/series": 1,
        "data/missing_share": 0.25,
        "data/quarantined_series": 1,
        "data/checks_failed": 2,
        "data/mended": 1207,
    }


def test_a_long_table_ends_with_how_many_more():
    """The rows that are left keep the table's columns."""
    rows = [{"series": f"s{number}", "why": "Old."} for number in range(5)]
    assert capped(rows, 5) == rows
    assert capped(rows, 3) == [*rows[:3], {"series": "… and 2 more", "why": ""}]


def test_what_validation_wrote_is_read_back(small_job, clean_frame, tmp_path):
    """Checks, quarantine and panel of its report are those it returned."""
    raw = write_panel(clean_frame.assign(source_row=range(2, len(clean_frame) + 2)), tmp_path, stage="raw")
    result = validate_panel(small_job(validation={"max_missing": 0.01, "max_quarantined": 1.0}), raw)
    found, panel = findings_of(Path(result.report_path))
    assert found == Findings(checks=result.checks, quarantined=result.quarantined)
    assert panel == raw
    assert found.items == 1
