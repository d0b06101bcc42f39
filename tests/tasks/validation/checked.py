"""Small panels, validated: the job, the rows and what was found."""

from pathlib import Path

import numpy as np
import pandas as pd

from tasks.job import Job, job_from_settings
from tasks.panel import SOURCE_ROW, PanelRef, write_panel
from tasks.validate import ValidationResult, validate_panel

NAN = np.nan
HOURS = pd.date_range("2024-01-01", periods=10, freq="h")


def make_job(folder: Path, **settings) -> Job:
    """A job with targets y, checked x, series of at least 4 steps, and y plausible up to 100."""
    validation = {"min_length": 4, "ranges": {"y": {"max": 100}}, **settings.pop("validation", {})}
    return job_from_settings(
        {
            "name": "test",
            "source": {"path": "none.csv"},
            "columns": {"timestamp": "t", "target": ["y"], "checked": ["x"], "item_id": "i"},
            "frequency": "h",
            "horizon": 3,
            "validation": validation,
            **settings,
        },
        folder=folder,
    )


def make_rows(stamps, y, x=None, item="good") -> pd.DataFrame:
    """Rows of one series."""
    x = np.arange(len(stamps)) if x is None else x
    columns = {"item_id": item, "timestamp": pd.to_datetime(list(stamps)), "y": y, "x": x}
    return pd.DataFrame(columns).astype({"y": float, "x": float})


def make_raw(folder: Path, *parts: pd.DataFrame, **beside) -> PanelRef:
    """A raw panel of the given series; rows stand in the source in that order."""
    rows = pd.concat(parts, ignore_index=True)
    rows.insert(2, SOURCE_ROW, np.arange(2, len(rows) + 2))
    rows = rows.sort_values(["item_id", "timestamp"], kind="stable", ignore_index=True)
    return write_panel(rows, folder / "panels", stage="raw", **beside)


def check(
    folder: Path, *parts: pd.DataFrame, as_of=HOURS[-1], forecasting=False, known_items=(), **settings
) -> ValidationResult:
    """Validate a panel of the given series."""
    job, raw = make_job(folder, **settings), make_raw(folder, *parts)
    return validate_panel(job, raw, as_of, forecasting=forecasting, known_items=known_items)


def found(result: ValidationResult) -> dict:
    """The failed checks as rule (and column) -> count."""
    failed = [check for check in result.checks if not check.passed]
    return {(c.rule, c.column) if c.column else c.rule: c.count for c in failed}


def message(result: ValidationResult, rule: str) -> str:
    """The message of the only check of a rule that failed."""
    (text,) = [c.message for c in result.checks if c.rule == rule and not c.passed]
    return text
