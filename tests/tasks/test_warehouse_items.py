"""Which series the warehouse knows, as of a moment."""

from datetime import UTC, datetime

import pandas as pd

from tasks.warehouse import known_items

from .shop import make_job

FIRST, SECOND = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)


def observations(items):
    """One value of each of some series."""
    stamp = pd.Timestamp("2024-01-01")
    return pd.DataFrame({"item_id": items, "column_name": "sales", "timestamp": stamp, "value": 1.0})


def test_series_are_those_of_the_job_known_at_the_moment(shared):
    """Each series once, sorted; what became known later, or to another job, is not among them."""
    shared.append_observations("items", observations(["b", "a"]), known_at=FIRST, panel_digest="d1")
    shared.append_observations("items", observations(["a", "c"]), known_at=SECOND, panel_digest="d2")
    shared.append_observations("other", observations(["z"]), known_at=FIRST, panel_digest="d1")
    assert shared.read_items("items") == ["a", "b", "c"]
    assert shared.read_items("items", as_of=FIRST) == ["a", "b"]
    assert shared.read_items("nobody") == []


def test_a_first_run_knows_no_series(tmp_path):
    """The step opens a warehouse that is not there yet, and finds nothing in it."""
    assert known_items.fn(make_job(tmp_path)) == []
