"""Series that vanish and series that appear between two runs: both are told, and the others are forecast."""

import pandas as pd
import pytest

from flows.origins import forecast_at
from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import HORIZON, small_data, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_what_is_there_is_forecast_and_what_is_not_is_told(tmp_path):
    """South vanishes and west appears: the second run forecasts north and west, the first one's rows stay."""
    frame = small_data()
    file = write_job(tmp_path, frame)
    first = forecast_at(str(file))
    assert first.rows["forecasts"] == 2 * HORIZON
    later = frame.replace({"shop": {"south": "west"}})
    later["hour"] += pd.Timedelta(hours=1)
    later.to_csv(tmp_path / "sales.csv", index=False)
    second = forecast_at(str(file))
    assert second.rows["forecasts"] == 2 * HORIZON
    assert any("(south)" in finding for finding in second.findings)
    assert any("(west)" in finding for finding in second.findings)
    with open_warehouse(warehouse_url(load_job(file)), read_only=True) as warehouse:
        made = warehouse.read_forecasts("shops")
    origins = {item: sorted(set(rows["origin"])) for item, rows in made.groupby("item_id")}
    one, two = frame["hour"].max(), later["hour"].max()
    assert origins == {"north": [one, two], "south": [one], "west": [two]}
