"""Clocks change inside the horizon: schedule and data in Europe/Berlin."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from flows.forecast import catch_up
from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import HORIZON, STEPS, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")
BERLIN = "Europe/Berlin"
MOMENTS = [  # midnight of Berlin; both change at one o'clock UTC
    pytest.param(datetime(2024, 3, 30, 23, tzinfo=UTC), id="forward"),
    pytest.param(datetime(2024, 10, 26, 22, tzinfo=UTC), id="back"),
]


def data_until(moment, *, hours_after=0):
    """An hourly series up to a moment, told by the clocks of Berlin."""
    hours = pd.date_range(end=pd.Timestamp(moment) + hours_after * pd.Timedelta(hours=1), periods=STEPS, freq="h")
    told = hours.tz_convert(BERLIN).tz_localize(None)
    sales = 20 + 5 * np.sin(2 * np.pi * hours.hour / 24) + np.random.default_rng(0).normal(0, 0.5, STEPS)
    return pd.DataFrame({"shop": "north", "hour": told, "sales": sales.round(3), "temp": 290.0})


def forecast_at(file, moment):
    """What the run of a schedule stores; it comes a minute late."""
    assert catch_up(str(file), moment, moment + timedelta(minutes=1)).startswith("made ")
    job = load_job(file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        return warehouse.read_forecasts(job.name), warehouse.read_runs(job.name)["as_of"].tolist()


@pytest.mark.parametrize("moment", MOMENTS)
def test_every_hour_of_the_horizon_is_there_once_where_data_are_kept_in_utc(moment, tmp_path):
    """The run stands at midnight of Berlin, told in UTC; six hours follow, whatever the clocks of Berlin show."""
    source = {"path": "sales.csv", "timezone": BERLIN, "to_timezone": "UTC"}
    schedule = {"cron": "0 0 * * *", "timezone": BERLIN}
    file = write_job(tmp_path, data_until(moment), source=source, schedule=schedule)
    made, stood = forecast_at(file, moment)
    origin = pd.Timestamp(moment).tz_localize(None)
    assert stood == [origin]
    assert set(made["origin"]) == {origin}
    assert made["timestamp"].tolist() == list(pd.date_range(origin, periods=HORIZON + 1, freq="h")[1:])


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_horizon_goes_on_by_the_datas_clock_where_it_names_no_zone(moment, tmp_path):
    """Data that tell the time of Berlin without saying so are forecast in it: the run stands at 0:00."""
    schedule = {"cron": "0 0 * * *", "timezone": BERLIN}
    file = write_job(tmp_path, data_until(moment), schedule=schedule)
    made, stood = forecast_at(file, moment)
    origin = pd.Timestamp(moment).tz_convert(BERLIN).tz_localize(None)
    assert origin.hour == 0
    assert stood == [origin]
    assert made["timestamp"].tolist() == list(pd.date_range(origin, periods=HORIZON + 1, freq="h")[1:])


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_before_the_change_sees_nothing_of_the_hours_behind_it(moment, tmp_path):
    """The source has both passes of the doubled hour, or the gap, by now; the run for midnight ends at midnight."""
    source = {"path": "sales.csv", "timezone": BERLIN, "to_timezone": "UTC", "ambiguous": "order"}
    schedule = {"cron": "0 0 * * *", "timezone": BERLIN}
    file = write_job(tmp_path, data_until(moment, hours_after=9), source=source, schedule=schedule)
    made, _ = forecast_at(file, moment)
    assert set(made["origin"]) == {pd.Timestamp(moment).tz_localize(None)}
