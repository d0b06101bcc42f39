"""The accuracy view against the same figures computed row by row in pandas."""

from datetime import datetime, timedelta
from math import nan

import numpy as np
import pandas as pd

NOW = datetime(2026, 3, 1)  # noqa: DTZ001 - the warehouse's own form of UTC
KEY = ["job", "item_id", "target_name", "origin", "timestamp", "model_name", "model_version"]
HOURS = pd.date_range("2026-01-01", periods=12, freq="h")


def forecast_frame(generator, version, levels):
    """Forecasts of four steps from three origins for two series and two targets."""
    rows = [
        {"item_id": item, "target_name": target, "origin": HOURS[place], "timestamp": HOURS[place + step]}
        for item in "ab"
        for target in ("y", "z")
        for place in (0, 3, 7)
        for step in (1, 2, 3, 4)
    ]
    frame = pd.DataFrame(rows).assign(model_name="starter", model_version=version)
    drawn = np.sort(generator.normal(size=(len(frame), len(levels))), axis=1)
    frame[levels] = drawn
    return frame.assign(mean=generator.normal(size=len(frame))).sample(frac=1, random_state=0)


def observation_frame(generator, share):
    """Values of some hours of two series and two columns."""
    index = pd.MultiIndex.from_product(
        [["a", "b"], ["y", "z", "checked"], HOURS], names=["item_id", "column_name", "timestamp"]
    )
    frame = index.to_frame(index=False).assign(value=generator.normal(size=len(index)))
    return frame.sample(frac=share, random_state=1)


def expected(forecasts, actuals):
    """The view, row by row."""
    rows = []
    for _, row in forecasts.iterrows():
        actual = actuals.get((row["item_id"], row["target_name"], row["timestamp"]))
        if actual is None:
            continue
        levels = {float(n[1:]) / 100: row[n] for n in row.index if n[0] == "q" and pd.notna(row[n])}
        losses = [2 * abs((actual - q) * ((actual <= q) - level)) for level, q in levels.items()]
        q10, q50, q90 = (row.get(name, nan) for name in ("q10", "q50", "q90"))
        rows.append(
            {
                **row[KEY].to_dict(),
                "step": int((row["timestamp"] - row["origin"]) / pd.Timedelta("1h")),
                "actual": actual,
                "mean": row["mean"],
                "median_error": q50 - actual,
                "abs_error": abs(q50 - actual),
                "quantile_loss": np.mean(losses) if losses else nan,
                "inside_80": pd.NA if pd.isna(q10 + q90) else bool(q10 <= actual <= q90),
            }
        )
    return pd.DataFrame(rows).sort_values(KEY, ignore_index=True)


def test_accuracy_is_what_pandas_computes(warehouse):
    """Every figure agrees: several versions and levels, missing actuals, and the latest of revised ones."""
    generator = np.random.default_rng(0)
    for version, levels in (("1", ["q10", "q50", "q90"]), ("2", ["q2.5", "q50"]), ("3", [])):
        frame = forecast_frame(generator, version, levels)
        warehouse.upsert_forecasts("job", frame, issued_at=NOW, run_id="run")
    actuals = {}
    for day, share in ((0, 0.8), (1, 0.3)):
        frame = observation_frame(generator, share)
        known_at = NOW + timedelta(days=day)
        warehouse.append_observations("job", frame, known_at=known_at, panel_digest="p")
        keys = zip(frame["item_id"], frame["column_name"], frame["timestamp"], strict=True)
        actuals |= dict(zip(keys, frame["value"], strict=True))
    wanted = expected(warehouse.read_forecasts("job"), actuals)
    stored = warehouse.read_accuracy("job")
    assert 0 < len(wanted) < len(warehouse.read_forecasts("job"))
    pd.testing.assert_frame_equal(stored, wanted.astype({"inside_80": "boolean"}), rtol=1e-12)
    second = warehouse.read_accuracy("job", model_version="2")
    pd.testing.assert_frame_equal(second, stored[stored["model_version"] == "2"].reset_index(drop=True))


def test_accuracy_keeps_jobs_apart(warehouse):
    """An actual of one job says nothing about the forecast of another."""
    generator = np.random.default_rng(1)
    frame = forecast_frame(generator, "1", ["q50"])
    warehouse.upsert_forecasts("one", frame, issued_at=NOW, run_id="run")
    warehouse.append_observations("two", observation_frame(generator, 1.0), known_at=NOW, panel_digest="p")
    assert warehouse.read_accuracy("one").empty
    assert warehouse.read_accuracy("two").empty


def test_accuracy_without_levels(warehouse):
    """A warehouse without any quantile column has a view whose loss and coverage are empty."""
    generator = np.random.default_rng(2)
    warehouse.upsert_forecasts("job", forecast_frame(generator, "1", []), issued_at=NOW, run_id="r")
    warehouse.append_observations("job", observation_frame(generator, 1.0), known_at=NOW, panel_digest="p")
    stored = warehouse.read_accuracy("job")
    assert len(stored) == 48
    assert stored[["quantile_loss", "inside_80", "abs_error"]].isna().all(axis=None)
