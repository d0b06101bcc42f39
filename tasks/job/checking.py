"""What is checked and how defects are mended: the blocks `validation` and `transform`."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.job.setting import Positive, Setting

Severity = Literal["critical", "warning", "info", "off"]

# Every built-in check, in the order of reports; a test compares with tasks/suites/*.json.
RULES = (
    "columns_present",
    "item_id_present",
    "timestamp_present",
    "finite",
    "in_range",
    "on_grid",
    "unique_timestamps",
    "repeats_agree",
    "values_present",
    "any_observed",
    "observed_length",
    "missing_share",
    "fresh",
    "known_for_horizon",
    "complete",
    "short_gaps",
    "same_start",
    "same_end",
    "not_constant",
    "steady_level",
    "steady_scale",
    "no_series_lost",
    "no_series_new",
    "quarantined_share",
)


class Range(Setting):
    """Plausible values of one column, bounds included."""

    min: float | None = Field(None, description="smallest plausible value; null: no bound")
    max: float | None = Field(None, description="largest plausible value; null: no bound")

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min >= self.max:
            msg = f"min {self.min} is not below max {self.max}"
            raise ValueError(msg)
        return self


class Validation(Setting):
    """What is checked before anything is computed: a critical failure stops, a warning quarantines or is reported."""

    ranges: dict[str, Range] = Field({}, description="plausible values per column")
    min_length: Positive | None = Field(
        None,
        description="observed steps a series needs; null: horizon + season; shorter: quarantine",
    )
    max_missing: float = Field(
        0.5, ge=0, le=1, description="largest share of missing steps of a series; above: quarantine"
    )
    stale_after: str | None = Field(
        None,
        description="age of a series' last observation (7d, 36h) at which it is quarantined; null: never",
    )
    max_quarantined: float = Field(
        0.5, ge=0, le=1, description="share of series in quarantine above which the run stops"
    )
    max_level_change: float | None = Field(
        10.0,
        gt=0,
        description="jump of a series' level in its last stretch (horizon or season, whichever is longer) that is "
        "reported, in multiples of its usual change from one stretch to the next; null: not looked at",
    )
    max_scale_change: float | None = Field(
        10.0,
        gt=1,
        description="factor by which a series' spread in its last stretch may differ from that of earlier ones before "
        "it is reported; null: not looked at",
    )
    max_lost: float = Field(
        0.0, ge=0, le=1, description="share of the series known from earlier runs that may be absent unreported"
    )
    severity: dict[str, Severity] = Field(
        {},
        description="other severity of a check than its own: critical stops the run, warning puts a series in "
        "quarantine, info is reported, off is not looked at; the checks are listed in docs/data.md",
    )
    suite: str | None = Field(
        None, description="JSON file with further expectations in Great Expectations' form; see docs/data.md"
    )

    @field_validator("severity")
    @classmethod
    def _names_checks(cls, value: dict[str, Severity]) -> dict[str, Severity]:
        unknown = sorted(set(value) - set(RULES))
        if unknown:
            msg = f"there is no check {unknown[0]!r}; checks are {', '.join(RULES)}"
            raise ValueError(msg)
        return value

    @field_validator("stale_after")
    @classmethod
    def _is_a_duration(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d+\s*(min|h|d|w)", value):
            msg = f"{value!r} is no duration; write a number and min, h, d or w, such as 7d"
            raise ValueError(msg)
        return value


class Transform(Setting):
    """How defects are mended on the way to the regular grid; everything changed is counted."""

    duplicates: Literal["keep_first", "keep_last", "mean", "sum", "error"] = Field(
        "keep_first", description="several rows of one series and time stamp: keep one, average, add up, or refuse"
    )
    out_of_range: Literal["set_missing", "keep", "error"] = Field(
        "set_missing", description="values outside validation.ranges"
    )
    off_grid: Literal["error", "floor"] = Field(
        "error",
        description="time stamps between two grid points: refuse, or move down to the grid, where rows that then share "
        "a time stamp are duplicates (mean or sum aggregates an irregular series)",
    )
