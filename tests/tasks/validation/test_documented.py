"""docs/data.md says what there is: every check, every column of the profile, a suite that runs, and true figures."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tasks.ingest import ingest_source
from tasks.job import RULES, Job, load_job
from tasks.profile import PROFILE
from tasks.transform import transform_panel
from tasks.validate import validate_panel

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "deployments" / "examples" / "metro_traffic" / "job.yaml"


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the first table behind a text of the page."""
    table = re.search(r"(?:^\|.*\n)+", PAGE[PAGE.index(heading) :], re.MULTILINE)
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table[0].splitlines()[2:]]


def block(language: str, heading: str) -> str:
    """The first block of a language behind a heading."""
    return re.search(rf"```{language}\n(.*?)```", PAGE[PAGE.index(heading) :], re.DOTALL)[1]


def metro(folder, **validation) -> Job:
    """The demo's job with a workspace of its own and further settings of validation."""
    job = load_job(EXAMPLE)
    return job.model_copy(update={"workspace": str(folder), "validation": job.validation.model_copy(update=validation)})


def test_every_check_has_its_row():
    """The table lists the checks in the order of the job file, and settings that exist."""
    table = rows_of("## Validate: what is looked at")
    assert [row[0] for row in table] == [f"`{rule}`" for rule in RULES]
    for name in re.findall(r"`validation\.(\w+)`", PAGE):
        assert name in type(load_job(EXAMPLE).validation).model_fields


def test_every_column_of_the_profile_has_its_row():
    """The page describes the profile as the code does."""
    assert rows_of("The profile has one row") == [[f"`{name}`", text] for name, text in PROFILE.items()]


def test_the_profile_has_the_columns_that_are_described(tmp_path):
    """What validation writes of each series is what is described."""
    job = metro(tmp_path)
    raw = ingest_source(job)
    report = json.loads(Path(validate_panel(job, raw, raw.end).report_path).read_text())
    assert list(report["series"][0]) == list(PROFILE)


def test_the_example_of_severities_is_valid():
    """The block of the page can be copied into a job file."""
    settings = yaml.safe_load(block("yaml", "`validation.severity` gives"))
    content = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    job = Job.model_validate({**content, **settings})
    assert job.validation.severity["not_constant"] == "off"


def test_the_example_of_a_suite_runs(tmp_path):
    """The suite of the page passes on the demo, and counts what it says."""
    path = tmp_path / "suite.json"
    path.write_text(block("json", "## Checks of your own"))
    job = metro(tmp_path / "work", suite=str(path))
    raw = ingest_source(job)
    own = {check.rule: check for check in validate_panel(job, raw, raw.end).checks if check.rule not in RULES}
    assert list(own) == ["suite:expect_column_values_to_be_between", "a_year_at_least"]
    assert [(check.passed, check.total) for check in own.values()] == [(True, 48_204), (True, 1)]


def test_the_figures_of_the_demo_are_true(tmp_path):
    """What the page says of level, scale and sums is what the demo's data give."""
    job = metro(tmp_path)
    raw = ingest_source(job)
    report = json.loads(Path(validate_panel(job, raw, raw.end).report_path).read_text())
    (series,) = report["series"]
    flat = " ".join(PAGE.split())
    assert f"the level changed by {series['level_change']:.1f} times" in flat
    assert f"the scale by a factor of {series['scale_change']:.1f}" in flat
    changes = {change.rule: change for change in transform_panel(job, raw, []).changes}
    assert f"{changes['duplicates'].difference['traffic_volume']:,.0f} of `traffic_volume`" in flat
    assert f"{changes['grid'].count:,} of {series['steps']:,} ({series['missing_share']:.1%}".replace("%", " %") in flat
    assert series["missing_share"] == pytest.approx(0.228, abs=5e-4)
