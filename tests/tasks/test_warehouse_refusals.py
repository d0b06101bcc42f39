"""Which frames the warehouse refuses: every problem is named and nothing is stored."""

from math import inf, nan

import numpy as np
import pandas as pd
import pytest

from tasks.errors import WarehouseError

from .warehouse_rows import NOW, append, forecasts, observations, upsert

WRONG_OBSERVATIONS = {
    "lacks": (lambda f: f.drop(columns="value"), "column 'value' is missing"),
    "further": (lambda f: f.assign(more=1), "column 'more' is unknown"),
    "twice": (lambda f: pd.concat([f, f[["value"]]], axis=1), "column 'value' is there twice"),
    "same_key": (lambda f: pd.concat([f, f]), "same key: item_id a, column_name y, timestamp 2026-"),
    "text": (lambda f: f.assign(value="1"), "'value' is object; it takes numbers"),
    "bool": (lambda f: f.assign(value=True), "'value' is bool"),
    "infinite": (lambda f: f.assign(value=[1.0, inf]), "'value' is infinite in row 1"),
    "no_item": (lambda f: f.assign(item_id=["a", None]), "'item_id' lacks a text in row 1"),
    "number": (lambda f: f.assign(item_id=[1, 2]), "'item_id': 1 is no text"),
    "list": (lambda f: f.assign(item_id=[["a"], ["b"]]), "'item_id' holds no texts"),
    "empty": (lambda f: f.assign(item_id=["", "b"]), "'item_id': '' is no text, or an empty one"),
    "nul": (lambda f: f.assign(item_id=["a\0", "b"]), "characters that cannot be stored"),
    "half": (lambda f: f.assign(item_id=["a\ud800", "b"]), "characters that cannot be stored"),
    "dates": (lambda f: f.assign(timestamp="2026-01-01"), "'timestamp' is object; it takes time"),
    "zone": (lambda f: f.assign(timestamp=f["timestamp"].dt.tz_localize("UTC")), "time zone"),
    "no_time": (lambda f: f.assign(timestamp=[NOW, pd.NaT]), "lacks a time stamp in row 1"),
    "fine": (lambda f: f.assign(timestamp=f["timestamp"] + pd.Timedelta(1)), "finer than a micro"),
    "far": (lambda f: f.assign(timestamp=np.array(["2026", "3026"], "M8[s]")), "1678 and 2262"),
}


@pytest.mark.parametrize("case", WRONG_OBSERVATIONS)
def test_wrong_observations_are_refused(shared, case):
    """A frame that is not as described is named with column and rule, and nothing is stored."""
    damage, message = WRONG_OBSERVATIONS[case]
    with pytest.raises(WarehouseError, match=r"^observations: ") as caught:
        append(shared, damage(observations([1.0, 2.0])), job="refused")
    assert message in str(caught.value)
    assert shared.counts("refused")["observations"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "p10",
        "q",
        "q0",
        "q100",
        "q010",
        "q50.0",
        "Q50",
        "q1e1",
        "q\u0665",
        7,
        "q-5",
        'q5" DOUBLE, "x',
        "q50\n",
        "horizon",
    ],
)
def test_quantile_columns_are_named_by_percent(shared, name):
    """A column that is no level in its one spelling is refused and the table keeps its columns."""
    before = list(shared.read_forecasts("levels").columns)
    with pytest.raises(WarehouseError, match=r"is no column of a forecast"):
        upsert(shared, forecasts().assign(q50=1.0).rename(columns={"q50": name}), job="levels")
    assert list(shared.read_forecasts("levels").columns) == before


def test_wrong_forecasts_are_refused(shared):
    """A missing number, a step that is not after its origin and an empty run id store nothing."""
    wrong = [
        (forecasts(q50=[1.0, nan, 3, 4, 5, 6]), "run", "'q50' lacks a number in row 1"),
        (forecasts().assign(origin=pd.Timestamp("2026-02-01 01:00")), "run", "a at .* is not after"),
        (forecasts(q50=1.0), "", "run_id: '' is no text"),
    ]
    for frame, run_id, message in wrong:
        with pytest.raises(WarehouseError, match=message):
            upsert(shared, frame, run_id=run_id)
    assert shared.read_forecasts("job").columns[-1] == "mean"
    assert shared.counts("job")["forecasts"] == 0
