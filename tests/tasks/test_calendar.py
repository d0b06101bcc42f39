"""The moments of a schedule, on ordinary days and when clocks change, and which of them a run serves."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pandas as pd
import pytest

from tasks.calendar import MOST_CAUGHT_UP, due_moments, is_past, moment_of, moments, next_moment, stand, told
from tasks.errors import JobError
from tasks.job import Schedule

from .shop import make_job

BERLIN = "Europe/Berlin"
HOUR = timedelta(hours=1)
FORWARD, BACK = datetime(2024, 3, 31, tzinfo=UTC), datetime(2024, 10, 27, tzinfo=UTC)  # both change at 01:00 UTC


def at(text):
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(start, end, **settings):
    """The moments of a schedule in Berlin, as its clocks show them with their offset."""
    found = list(moments(Schedule(**{"timezone": BERLIN} | settings), at(start), at(end)))
    assert found == sorted(set(found))
    return [pd.Timestamp(one).tz_convert(BERLIN).strftime("%d %H:%M %z")[:-2] for one in found]


def test_moments_lie_behind_the_start_and_up_to_the_end():
    """The start itself is not among them, the end is; midnight of Berlin is 23:00 UTC in winter."""
    assert between("2024-01-09 23:00", "2024-01-11 23:00", every="D") == ["11 00:00 +01", "12 00:00 +01"]
    assert between("2024-01-01", "2024-01-15", every="W-MON") == ["08 00:00 +01", "15 00:00 +01"]
    assert between("2024-01-01", "2024-01-15", every="W") == ["07 00:00 +01", "14 00:00 +01"]
    assert between("2024-01-10 05:00", "2024-01-10 05:30", cron="*/15 * * * *") == ["10 06:15 +01", "10 06:30 +01"]


def test_a_distance_of_seconds_has_many_moments():
    """Each once, evenly apart."""
    found = list(moments(Schedule(every="20s"), at("2024-01-01"), at("2024-01-01 10:00")))
    assert len(found) == 1800
    assert {after - before for before, after in pairwise(found)} == {timedelta(seconds=20)}


def test_a_daily_cron_keeps_its_hour_when_clocks_change():
    """Six in the morning stays six in the morning: 23 hours apart in spring, 25 in autumn."""
    assert between("2024-03-29 12:00", "2024-04-01 12:00", cron="0 6 * * *") == [
        *("30 06:00 +01", "31 06:00 +02", "01 06:00 +02"),
    ]
    assert between("2024-10-25 12:00", "2024-10-28 12:00", cron="0 6 * * *") == [
        *("26 06:00 +02", "27 06:00 +01", "28 06:00 +01"),
    ]
    assert between("2024-10-26 12:00", "2024-10-28 12:00", every="D") == ["27 00:00 +02", "28 00:00 +01"]


def test_an_hourly_distance_counts_elapsed_time_when_clocks_change():
    """Every hour has its moment: the hour that is there twice has two, the one left out has none."""
    spring = between("2024-03-30 23:30", "2024-03-31 02:30", every="h")
    assert spring == ["31 01:00 +01", "31 03:00 +02", "31 04:00 +02"]
    autumn = between("2024-10-26 23:30", "2024-10-27 02:30", every="h")
    assert autumn == ["27 02:00 +02", "27 02:00 +01", "27 03:00 +01"]


def test_a_cron_in_the_hour_of_the_change_comes_once():
    """Half past two is left out in spring and there twice in autumn: either day has one moment."""
    for day in (FORWARD, BACK):
        found = list(moments(Schedule(cron="30 2 * * *", timezone=BERLIN), day - 2 * HOUR, day + 21 * HOUR))
        assert len(found) == 1


@pytest.mark.parametrize("rule", [{"cron": "*/20 * * * *"}, {"cron": "30 2 * * *"}, {"every": "15min"}, {"every": "D"}])
@pytest.mark.parametrize("day", [FORWARD, BACK])
def test_moments_do_not_depend_on_where_one_starts_to_look(rule, day):
    """Hour by hour over a change of clocks gives what one look at the day gives."""
    schedule = Schedule(timezone=BERLIN, **rule)
    whole = list(moments(schedule, day - 6 * HOUR, day + 6 * HOUR))
    parts = [moments(schedule, day + hour * HOUR, day + (hour + 1) * HOUR) for hour in range(-6, 6)]
    assert [moment for part in parts for moment in part] == whole


def test_the_next_moment_is_far_or_nowhere():
    """29 February is found years ahead."""
    assert next_moment(Schedule(cron="0 0 29 2 *"), at("2024-03-01")) == at("2028-02-29")


def test_data_tell_a_moment_in_their_zone_and_mean_the_first_of_two():
    """An hour that is there twice is told twice alike, and read as the first."""
    first, second = BACK + HOUR / 2, BACK + HOUR * 1.5
    assert told(first, BERLIN) == told(second, BERLIN) == pd.Timestamp("2024-10-27 02:30")
    assert moment_of(pd.Timestamp("2024-10-27 02:30"), BERLIN) == first
    assert moment_of(pd.Timestamp("2024-07-01 06:00"), BERLIN) == at("2024-07-01 04:00")


def test_a_moment_to_stand_at_with_a_zone_is_taken_to_that_of_the_data():
    """Without a zone it is the data's time already; one outside of what data can have is refused."""
    assert stand(at("2024-07-01 04:00"), BERLIN) == pd.Timestamp("2024-07-01 06:00")
    assert stand(pd.Timestamp("2024-07-01 06:00"), BERLIN) == pd.Timestamp("2024-07-01 06:00")
    with pytest.raises(JobError, match="as_of 2999-01-01 00:00:00 is no moment that data can have"):
        stand(datetime(2999, 1, 1, tzinfo=UTC).replace(tzinfo=None), "UTC")


def job_with(tmp_path, catch_up="latest", **settings):
    """An hourly job that is due every hour."""
    schedule = {"schedule": {"cron": "0 * * * *", "catch_up": catch_up}} if catch_up else {}
    return make_job(tmp_path, frequency="h", **schedule, **settings)


def test_a_run_looks_back_once_the_next_moment_has_begun(tmp_path):
    """By the schedule, otherwise by a step of the data."""
    daily = make_job(tmp_path, frequency="h", schedule={"cron": "0 6 * * *", "timezone": BERLIN})
    stamp = pd.Timestamp("2024-07-01 06:00")
    assert not is_past(daily, stamp, at("2024-07-02 03:59"))
    assert is_past(daily, stamp, at("2024-07-02 04:00"))
    assert not is_past(daily, pd.Timestamp("2024-07-09"), at("2024-07-02"))
    without = job_with(tmp_path, catch_up=None)
    assert not is_past(without, stamp, at("2024-07-01 06:59"))
    assert is_past(without, stamp, at("2024-07-01 07:00"))


OWN, NOW = at("2024-01-10 05:00"), at("2024-01-10 08:20")
SERVED = [datetime(2024, 1, 10, hour) for hour in (1, 3)]  # noqa: DTZ001 - data tell time without a zone


@pytest.mark.parametrize(
    ("policy", "now", "served", "hours"),
    [
        ("skip", OWN, SERVED, [5]),
        ("skip", at("2024-01-10 05:59"), SERVED, [5]),
        ("skip", at("2024-01-10 06:00"), SERVED, []),
        ("skip", OWN, [*SERVED, OWN.replace(tzinfo=None)], []),
        ("latest", OWN, SERVED, [5]),
        ("latest", NOW, SERVED, [8]),
        ("latest", NOW, [], [8]),
        ("latest", NOW, [*SERVED, NOW.replace(minute=0, tzinfo=None)], []),
        ("all", OWN, SERVED, [4, 5]),
        ("all", NOW, SERVED, [4, 5, 6, 7, 8]),
        ("all", NOW, [], [5, 6, 7, 8]),
        ("all", NOW, [*SERVED, NOW.replace(hour=7, minute=0, tzinfo=None)], [5, 8]),
        ("all", NOW, [NOW.replace(hour=hour, minute=0, tzinfo=None) for hour in (5, 8)], []),
        (None, NOW, SERVED, [5]),
        (None, NOW, [OWN.replace(tzinfo=None)], []),
    ],
)
def test_what_a_scheduled_run_serves(tmp_path, policy, now, served, hours):
    """Of a run for five o'clock, when one and three were served last."""
    due = due_moments(job_with(tmp_path, policy), OWN, served, now)
    assert [moment.hour for moment in due.moments] == hours
    assert all(moment.date() == OWN.date() for moment in due.moments)
    assert "2024-01-10 0" in due.why


def test_served_moments_are_told_in_the_time_of_the_data(tmp_path):
    """A schedule in Berlin on data in UTC: six in the morning is four or five o'clock to the data."""
    schedule = {"cron": "0 6 * * *", "timezone": BERLIN, "catch_up": "all"}
    source = {"path": "shop.csv", "timezone": BERLIN, "to_timezone": "UTC"}
    job = make_job(tmp_path, schedule=schedule, source=source)
    served = [datetime(2024, 3, 29, 5), datetime(2024, 3, 31, 4)]  # noqa: DTZ001 - see above
    own, now = at("2024-04-01 04:00"), at("2024-04-02 12:00")
    assert due_moments(job, own, served, now).moments == [own, own + timedelta(days=1)]
    plain = make_job(tmp_path, schedule=schedule)
    served = [datetime(2024, 3, 31, 6)]  # noqa: DTZ001 - see above
    assert due_moments(plain, own, served, now).moments == [own, own + timedelta(days=1)]


def test_an_hour_that_the_data_tell_twice_is_served_once(tmp_path):
    """Both passes of the hour have one name in the data, and so one forecast."""
    job = make_job(tmp_path, frequency="h", schedule={"every": "h", "timezone": BERLIN, "catch_up": "all"})
    due = due_moments(job, BACK, [], BACK + 3 * HOUR)
    assert due.moments == [BACK, BACK + 2 * HOUR, BACK + 3 * HOUR]
    served = [told(BACK, BERLIN)]
    assert due_moments(job, BACK + HOUR, served, BACK + HOUR).moments == []


def test_no_run_makes_up_for_more_than_it_can(tmp_path):
    """After years without a forecast the newest moments are made; the rest is left, and it says so."""
    due = due_moments(job_with(tmp_path, "all"), OWN, [datetime(2018, 1, 1)], NOW)  # noqa: DTZ001 - see above
    assert len(due.moments) == MOST_CAUGHT_UP
    assert due.moments[-1] == NOW.replace(minute=0)
    assert "older ones are left to `moirai backfill`" in due.why
