"""When the job's forecasts are due: the block `schedule`."""

import re
from datetime import datetime, timedelta
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.job.setting import Setting, TimeZone

DAY = timedelta(days=1)
FIELDS = 5  # of a cron expression: minute, hour, day of month, month, day of week


class Schedule(Setting):
    """When forecasts are due, and what becomes of those that were missed; see docs/scheduling.md."""

    cron: str | None = Field(
        None, description="moments as a cron expression: minute, hour, day of month, month, day of week (`0 6 * * *`)"
    )
    every: str | None = Field(
        None,
        description="moments as a distance, a pandas offset: below a day counted in elapsed time (15min, 6h); D or W "
        "(W-MON) at midnight of the time zone",
    )
    timezone: TimeZone = Field(
        "UTC", description="zone of the schedule, and of the data's time stamps where `source.to_timezone` names none"
    )
    catch_up: Literal["skip", "latest", "all"] = Field(
        "latest",
        description="what a scheduled run makes of missed moments: skip: nothing; latest: the newest one that is due; "
        "all: every one, oldest first",
    )

    @field_validator("cron")
    @classmethod
    def _is_a_cron(cls, value: str | None) -> str | None:
        from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only jobs with a schedule need it

        if value is None:
            return value
        parts, problem = value.split(), "five fields of numbers, names, * - , and /"
        try:
            CronSim(value, datetime(2000, 1, 1))  # noqa: DTZ001 - only asked whether it reads the expression
        except CronSimError as error:
            problem = str(error)
        else:
            if len(parts) == FIELDS and not re.search(r"[L#?]", value.upper().replace("JUL", "")):
                problem = ""
        if problem:
            mend = "write minute, hour, day of month, month and day of week, such as 0 6 * * * or */15 8-18 * * MON-FRI"
            msg = f"{value!r} is no cron expression ({problem}); {mend}"
            raise ValueError(msg)
        if "*" not in {parts[2], parts[4]}:
            msg = (
                f"{value!r} names a day of month and a day of week, which crons read differently; set one of them to *"
            )
            raise ValueError(msg)
        return value

    @field_validator("every")
    @classmethod
    def _is_a_distance(cls, value: str | None) -> str | None:
        if value is not None:
            _step(value)
        return value

    @model_validator(mode="after")
    def _is_cron_or_distance(self) -> Self:
        if (self.cron is None) == (self.every is None):
            msg = "set either cron (moments of the clock) or every (a distance)"
            raise ValueError(msg)
        return self

    @property
    def interval(self) -> timedelta | None:
        """Distance of two moments in elapsed time; None where they follow the clock of the time zone."""
        if self.every is None:
            return None
        step = _step(self.every)
        return step if isinstance(step, timedelta) else None

    @property
    def clock(self) -> str | None:
        """The moments as a cron expression; None where they are a distance in elapsed time."""
        if self.every is None:
            return self.cron
        step = _step(self.every)
        return None if isinstance(step, timedelta) else step


def _step(every: str) -> timedelta | str:
    """A distance below a day, or the cron expression of a day or week. Raises `ValueError` for another offset."""
    import pandas as pd  # noqa: PLC0415 - only when needed

    from moirai.evaluation.seasonality import to_offset  # noqa: PLC0415 - see above

    offset = to_offset(every)
    if offset.n == 1 and isinstance(offset, pd.offsets.Day):
        return "0 0 * * *"
    if offset.n == 1 and isinstance(offset, pd.offsets.Week):
        return f"0 0 * * {offset.name.partition('-')[2]}"  # a plain W is W-SUN
    distance = pd.Timedelta(offset).to_pytimedelta() if isinstance(offset, pd.offsets.Tick) else DAY
    if not timedelta(seconds=1) <= distance < DAY or distance.microseconds:
        mend = "write seconds to hours below a day (15min, 6h), D or W, or use cron"
        msg = f"{every!r} is no distance of a schedule; {mend}"
        raise ValueError(msg)
    return distance
