"""The moments of a schedule, and which of them a run has to serve.

In: a schedule of the job file, moments with a time zone, and the moments that were served, as the data tell time. Out:
moments in UTC. They are those for which Prefect's scheduler makes runs. A cron follows the clock of its zone: a moment
of the hour that is left out when clocks go forward comes an hour early, one of the hour that is there twice comes the
first time. A distance below a day counts elapsed time. Pure: nothing here looks at a clock, a server or a database.

The data of a job tell time without naming a zone: `told` and `moment_of` translate, by the job's `time_zone`. Where a
time can be two moments the earlier is meant, so that nobody sees what was known only at the later one.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
from cronsim import CronSim

from moirai.evaluation.seasonality import to_offset
from tasks.errors import JobError
from tasks.job import Job, Schedule

ANCHOR = datetime(2000, 1, 1)  # noqa: DTZ001 - of the schedule's zone; distances count from its midnight
LEAD = timedelta(hours=3)  # longer than clocks are ever put back by
FAR = timedelta(days=366 * 30)  # a schedule without a moment for that long has none
MOST_CAUGHT_UP = 500  # moments that one run makes up for; more are left to `moirai backfill`


@dataclass(frozen=True)
class Due:
    """What a scheduled run has to do."""

    moments: list[datetime]
    """To be served, oldest first; in UTC."""
    why: str
    """In words, why it is these; for a run that has nothing to do, all that it says."""


def anchor(schedule: Schedule) -> datetime:
    """The moment that a distance counts from, in UTC: a midnight of the time zone."""
    return moment_of(ANCHOR, schedule.timezone)


def moments(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """The moments of a schedule behind `after` up to and with `until`, rising, in UTC."""
    found = _by_distance(schedule, schedule.interval, after) if schedule.interval else _by_clock(schedule, after)
    for moment in found:
        if moment > until:
            return
        yield moment


def _by_distance(schedule: Schedule, interval: timedelta, after: datetime) -> Iterator[datetime]:
    start = anchor(schedule)
    number = (after - start) // interval
    while True:
        number += 1
        yield start + number * interval


def _by_clock(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    local = after.astimezone(ZoneInfo(schedule.timezone)).replace(tzinfo=None)
    last = after.astimezone(UTC)
    for stamp in CronSim(str(schedule.clock), local - LEAD):
        moment = moment_of(stamp, schedule.timezone)
        if moment > last:  # else it lies before the start, or two times of the clock are one moment
            yield moment
            last = moment


def next_moment(schedule: Schedule, after: datetime) -> datetime | None:
    """The first moment behind another; None where none comes within decades."""
    return next(moments(schedule, after, after + FAR), None)


def told(moment: datetime, zone: str) -> pd.Timestamp:
    """A moment as the data tell time: without time zone."""
    return pd.Timestamp(moment).tz_convert(zone).tz_localize(None)


def moment_of(stamp: datetime, zone: str) -> datetime:
    """The moment, in UTC, at which the clock of a zone shows a time; the earlier one where it can be two."""
    plain = pd.Timestamp(stamp).to_pydatetime().replace(tzinfo=ZoneInfo(zone))
    return min(plain.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def stand(as_of: datetime, zone: str) -> pd.Timestamp:
    """The moment that someone asks a run to stand at, as the data tell time.

    Args:
        as_of: without time zone it is the data's time already.
        zone: of the data.

    Raises:
        JobError: it is no moment that data can have.
    """
    stamp = pd.Timestamp(as_of)
    plain = stamp if stamp.tzinfo is None else told(stamp, zone)
    if not pd.Timestamp.min < plain < pd.Timestamp.max:
        raise JobError(f"as_of {plain} is no moment that data can have; give one between 1678 and 2261")
    return plain


def is_past(job: Job, as_of: datetime, now: datetime) -> bool:
    """Whether a run that stands at a moment looks back: the next one has begun.

    That is the next one of the schedule, or a step of the frequency later where the job has none.

    Args:
        job: whose schedule and frequency count.
        as_of: the moment as the data tell time.
        now: the moment at which the run is made.
    """
    moment = moment_of(as_of, job.time_zone)
    if moment >= now:
        return False
    if job.schedule is None:
        return moment_of(pd.Timestamp(as_of) + to_offset(job.frequency), job.time_zone) <= now
    coming = next_moment(job.schedule, moment)
    return coming is not None and coming <= now


def due_moments(job: Job, own: datetime, served: Collection[datetime], now: datetime) -> Due:
    """What a run that a scheduler made has to serve, by the catch-up policy of its job.

    A job without `schedule` has no calendar: only the run's own moment counts.

    Args:
        job: whose schedule counts.
        own: moment for which the run was made; with a time zone.
        served: moments at which a completed run stands, as the data tell time.
        now: with a time zone.
    """
    schedule, own = job.schedule, own.astimezone(UTC)
    done = {pd.Timestamp(one) for one in served}
    if schedule and schedule.catch_up == "all":
        return _every_missing(job, {own, *_since_the_last(job, schedule, own, done, now)}, done)
    moment = own
    if schedule and schedule.catch_up == "latest":
        moment = max(moments(schedule, own, now), default=own)
    elif schedule and (coming := next_moment(schedule, own)) and coming <= now:
        return Due([], f"{_name(own)} is over: the next moment has begun, and schedule.catch_up is skip")
    if told(moment, job.time_zone) in done:
        return Due([], f"{_name(moment)} is served already")
    return Due([moment], f"{_name(moment)} is not served yet")


def _since_the_last(
    job: Job, schedule: Schedule, own: datetime, done: Collection[pd.Timestamp], now: datetime
) -> Iterator[datetime]:
    """The moments behind the last served one; behind the run's own where none is served."""
    present = max(now, own)
    last = max((stamp for stamp in done if stamp <= told(present, job.time_zone)), default=None)
    return moments(schedule, own if last is None else moment_of(last, job.time_zone), present)


def _every_missing(job: Job, asked: Collection[datetime], done: Collection[pd.Timestamp]) -> Due:
    """Those of some moments that are not served, the newest ones where they are too many."""
    by_stamp: dict[pd.Timestamp, datetime] = {}
    for moment in sorted(asked):  # of an hour that the data tell twice, the first moment
        by_stamp.setdefault(told(moment, job.time_zone), moment)
    missing = [moment for stamp, moment in by_stamp.items() if stamp not in done]
    if not missing:
        return Due([], f"{_name(max(asked))} and all before it are served already")
    kept = missing[-MOST_CAUGHT_UP:]
    why = f"{len(kept)} not served yet, {_name(kept[0])} to {_name(kept[-1])}"
    left = len(missing) - len(kept)
    return Due(kept, why + (f"; {left} older ones are left to `moirai backfill`" if left else ""))


def _name(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
