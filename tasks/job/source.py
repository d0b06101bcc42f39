"""Where the rows of a job come from: the block `source`."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.job.setting import Setting, TimeZone
from tasks.secrets import checked


class Source(Setting):
    """Where the rows come from: files, or a query of a database."""

    path: str | list[str] | None = Field(
        None,
        description="CSV, TSV or Parquet file, plain or compressed (.gz, .bz2, .xz, .zip); a folder of such files, a "
        "glob (sales/*.csv), or a list of these, read one after the other in the order of their names",
    )
    url: str | None = Field(
        None,
        description="SQLAlchemy URL of a database; passwords as ${NAME} (environment variable) or ${block:NAME} "
        "(Prefect Secret block)",
    )
    query: str | None = Field(None, description="SELECT that the database answers, one row per row of the source")
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="character between the columns of a text file; null: a tab in .tsv and .tab files, else a comma",
    )
    encoding: str = Field("utf-8", description="text encoding of the file")
    layout: Literal["long", "column_per_series", "row_per_series"] = Field(
        "long",
        description="long: one row per series and time stamp; column_per_series: see series_columns; row_per_series: "
        "the values of a series stand side by side, and become the columns `timestamp` and `value`",
    )
    series_columns: dict[str, str | list[str]] = Field(
        {},
        description="for column_per_series: name that the values get in a long table -> pattern of the columns that "
        "hold them (QTY_{brand}_{item}; the names in braces become columns, to be named in columns.item_id), or list "
        "of such columns (then their names become the column `series`)",
    )
    start: str | None = Field(
        None,
        description="for row_per_series without time stamps in the header: time stamp of the first value of each row",
    )
    timestamp_format: str | None = Field(
        None,
        description="strftime format of the time stamps, such as %d.%m.%Y %H:%M; null: ISO 8601, or periods such as "
        "1998 Q1, 1991 W06 and 2001 M03, which stand for their first day",
    )
    timezone: TimeZone | None = Field(
        None, description="zone (Europe/Berlin) of time stamps that do not name one; null: they are taken as they stand"
    )
    to_timezone: TimeZone | None = Field(
        None,
        description="zone that time is kept in after reading, UTC being free of daylight saving; needed where time "
        "stamps name a zone or `timezone` does",
    )
    ambiguous: Literal["error", "first", "second", "order"] = Field(
        "error",
        description="hour that `timezone` has twice when clocks go back: refuse, take the first or the second, or tell "
        "them apart by the order of the rows",
    )
    nonexistent: Literal["error", "shift"] = Field(
        "error", description="hour that `timezone` leaves out when clocks go forward: refuse, or move behind the gap"
    )

    @field_validator("url")
    @classmethod
    def _names_its_secrets(cls, value: str | None) -> str | None:
        return None if value is None else checked(value)

    @model_validator(mode="after")
    def _is_files_or_query(self) -> Self:
        if (self.path is None) == (self.url is None):
            msg = "set either path (files) or url and query (a database)"
            raise ValueError(msg)
        if (self.url is None) != (self.query is None):
            msg = "url and query go together: where the database is, and what it is asked"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _layout_is_told(self) -> Self:
        if (self.layout == "column_per_series") != bool(self.series_columns):
            msg = "layout column_per_series and series_columns go together"
            raise ValueError(msg)
        if self.start is not None and self.layout != "row_per_series":
            msg = "start is for layout row_per_series only; other layouts have time stamps"
            raise ValueError(msg)
        if self.timezone is not None and self.to_timezone is None:
            msg = (
                "timezone says what the time stamps are in; name in to_timezone what time is to be kept in, such as UTC"
            )
            raise ValueError(msg)
        return self
