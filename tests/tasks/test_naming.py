"""Names, tags and keys of runs are readable, and keep to what the UIs take."""

import pandas as pd
import pytest

from tasks.naming import artifact_key, moment_name, run_name, run_tags


@pytest.mark.parametrize(
    ("moment", "frequency", "expected"),
    [
        ("2018-09-30 23:00", "h", "2018-09-30 23:00"),
        ("2018-09-30 00:00", "h", "2018-09-30 00:00"),
        ("2018-09-30 12:30:15", "15s", "2018-09-30 12:30:15"),
        ("2018-09-30", "D", "2018-09-30"),
        ("2018-09-30", "MS", "2018-09-30"),
        ("2018-09-28", "B", "2018-09-28"),
        ("2018-09-30 06:00", "D", "2018-09-30 06:00"),
    ],
)
def test_a_moment_is_no_more_exact_than_its_series(moment, frequency, expected):
    """Midnight is told of hours and kept from days; seconds are told where there are some."""
    assert moment_name(pd.Timestamp(moment), frequency) == expected


def test_a_run_is_called_by_job_what_it_does_and_origin(small_job):
    """Before the data is read the moment it stands at takes the place of the origin, if there is one."""
    job, origin, as_of = small_job(), pd.Timestamp("2024-01-10 05:00"), pd.Timestamp("2024-01-11")
    assert run_name(job, "forecast") == "shops forecast"
    assert run_name(job, "forecast", as_of=as_of) == "shops forecast as of 2024-01-11 00:00"
    assert run_name(job, "forecast", origin, as_of=as_of) == "shops forecast 2024-01-10 05:00"


def test_the_model_is_a_tag_once_it_is_known(small_job):
    """Job and flow are tags from the start."""
    assert run_tags(small_job(), "forecast") == ["job:shops", "flow:forecast"]
    assert run_tags(small_job(), "forecast", "starter")[-1] == "model:starter"


def test_a_key_holds_what_prefect_takes(small_job):
    """Lower case letters, digits and dashes, the same in every run."""
    assert artifact_key(small_job(name="my_shop_-2"), "forecast", "checks") == "my-shop-2-forecast-checks"
