"""What every flow begins with: what earlier runs stored is compared with what the source has now."""

import pytest

from flows.prepare import prepare
from flows.run import Run
from tasks.job import load_job

from .conftest import small_data, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")


def prepared(path):
    """What a run on a job file finds, as rule -> check."""
    data = prepare(Run(load_job(path), str(path), "ingest", None))
    return {check.rule: check for check in data.validation.checks}


def test_series_that_are_gone_or_new_are_told(tmp_path):
    """The first run has nothing to compare with; the second misses a series of the first and has one more."""
    path, frame = write_job(tmp_path), small_data()
    first = prepared(path)
    assert not {"no_series_lost", "no_series_new"} & first.keys()
    gone, kept = sorted(frame["shop"].unique())
    frame.replace({"shop": {gone: "brand new"}}).to_csv(tmp_path / "sales.csv", index=False)
    second = prepared(path)
    assert f"1 of 2 ({gone})" in second["no_series_lost"].message
    assert second["no_series_lost"].severity == "warning"
    assert "1 of 2 (brand new)" in second["no_series_new"].message
    assert kept not in second["no_series_lost"].message
