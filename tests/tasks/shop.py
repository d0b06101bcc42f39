"""The job and the panel of the tests that need MLflow."""

import pandas as pd

from tasks.findings import Findings
from tasks.job import job_from_settings
from tasks.panel import write_panel
from tasks.tracking import Attempt


def make_job(folder, **settings):
    """A job with what it needs, and the named settings."""
    needed = {
        "name": "shop",
        "source": {"path": "shop.csv"},
        "columns": {"timestamp": "day", "target": ["sales"]},
        "frequency": "D",
        "horizon": 7,
    }
    return job_from_settings({**needed, **settings}, folder=folder)


def make_panel(folder):
    """A month of one series."""
    days = pd.date_range("2024-01-01", periods=30)
    frame = pd.DataFrame({"item_id": "a", "timestamp": days, "sales": 1.0})
    return write_panel(frame, folder / "panels", stage="clean")


def make_attempt(panel, findings=None):
    """A pipeline that was told to stand a day after the panel's end."""
    return Attempt(
        flow="pipeline",
        run_id="run-1",
        as_of=panel.end + pd.Timedelta(days=1),
        origin=panel.end,
        findings=findings or Findings(),
    )
