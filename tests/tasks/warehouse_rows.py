"""Rows for the tests of the warehouse, and how they are written."""

from datetime import datetime

import numpy as np
import pandas as pd

NOW = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - the warehouse's own form of UTC


def observations(values, item="a", column="y"):
    """One observation per hour."""
    hours = pd.date_range("2026-01-01", periods=len(values), freq="h")
    return pd.DataFrame({"item_id": item, "column_name": column, "timestamp": hours, "value": values})


def append(warehouse, frame, known_at=NOW, job="job"):
    """Append with a digest."""
    return warehouse.append_observations(job, frame, known_at=known_at, panel_digest="digest")


def forecasts(mean=1.0, steps=3, version="1", **quantiles):
    """A forecast of some hours for each of two series."""
    origin = pd.Timestamp("2026-02-01")
    hours = pd.date_range(origin, periods=steps + 1, freq="h")[1:]
    frame = pd.DataFrame({"item_id": np.repeat(["a", "b"], steps), "timestamp": [*hours, *hours]})
    return frame.assign(
        target_name="y",
        origin=origin,
        model_name="starter",
        model_version=version,
        mean=mean,
        **quantiles,
    )


def upsert(warehouse, frame, run_id="run", job="job"):
    """Upsert issued now."""
    return warehouse.upsert_forecasts(job, frame, issued_at=NOW, run_id=run_id)
