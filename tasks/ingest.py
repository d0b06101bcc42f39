"""Ingest: source -> raw panel. The only place that touches the source.

In: a job and, optionally, the moment the run stands at (`as_of`); rows after it are not seen. Out:
a raw panel under the job's workspace. Ingest renames nothing and fills nothing: a missing value
stays missing, repeated time stamps stay. Fails with `SourceError`, which names file, column, line,
value and mend; an `OSError` of the outside world is retried.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.csv_source import read_text
from tasks.errors import SourceError
from tasks.job import Job
from tasks.panel import KEYS, SOURCE_ROW, PanelRef, write_panel

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none"})  # lower case
RELATIVE = frozenset({"now", "today"})  # pandas reads these as the clock
DATE_LENGTH = len("2012-10-02")  # a sign behind the date is that of a time zone
RETRY_DELAYS = [2.0, 10.0]  # seconds: long enough for a network share to come back

logger = logging.getLogger(__name__)


def ingest_source(job: Job, as_of: pd.Timestamp | None = None) -> PanelRef:
    """Read the source of a job and keep it as a raw panel in the workspace.

    Args:
        job: what to read.
        as_of: moment the run stands at, without time zone; later rows are dropped. None: all rows.

    Returns:
        Reference to `<workspace>/panels/raw-<digest>.parquet`.

    Raises:
        SourceError: the source cannot be read, or its content is not what the job says.
    """
    panel = write_panel(read_source(job, as_of), job.workspace_path / "panels", stage="raw")
    size = f"{panel.rows:,} rows of {panel.items:,} series"
    logger.info("read %s, %s to %s, from %s", size, panel.start, panel.end, job.source.path)
    return panel


def read_source(job: Job, as_of: pd.Timestamp | None = None) -> pd.DataFrame:
    """Read the columns a job names.

    Args:
        job: what to read.
        as_of: moment the run stands at, without time zone; later rows are dropped. None: all rows.

    Returns:
        A raw panel: item_id, timestamp, source_row and the value columns; sorted by item_id and
        timestamp, the rows of one time stamp in source order.

    Raises:
        SourceError: the file is missing, damaged, empty or of another encoding; a column, item id
            or time stamp is missing; a time stamp does not parse or has a time zone; a value is no
            finite number.
    """
    path, columns = job.resolve(str(job.source.path)), job.columns
    if as_of is not None and as_of.tzinfo is not None:
        raise SourceError(f"as_of {as_of} has a time zone; give it without one, in the source's time")
    wanted = [*columns.timestamp_columns, *columns.item_columns, *columns.values]
    chunks, first = [], pd.Timestamp.max
    for texts in read_text(job.source, path, wanted):
        keys = parse_keys(texts, job, path)
        first = min(first, keys["timestamp"].min())
        is_seen = keys["timestamp"] <= (as_of or pd.Timestamp.max)
        values = parse_values(texts.loc[is_seen, columns.values], path)
        chunks.append(pd.concat([keys[is_seen], values], axis=1))
    if not chunks:
        raise SourceError(f"{path} has a header but no rows")
    frame = pd.concat(chunks, ignore_index=True)
    if frame.empty:
        raise SourceError(f"{path} has no row at or before as_of {as_of}; its first is at {first}")
    return frame.sort_values(KEYS, kind="stable", ignore_index=True)


def parse_keys(texts: pd.DataFrame, job: Job, path: Path) -> pd.DataFrame:
    """Series, time stamp and line of each row; without an item_id column the job names the series.

    Raises:
        SourceError: an item id or time stamp is missing or cannot be used; the text names the first
            one's line.
    """
    name = job.columns.item_id
    items = [job.name] * len(texts) if name is None else texts[str(name)].tolist()
    for line, item in zip(texts.index, items, strict=True):
        if not item.strip():
            place = f"column {name!r}, line {line}"
            raise SourceError(f"{path}, {place}: no item id; every row must name its series")
    stamps = parse_stamps(texts[str(job.columns.timestamp)], job.source.timestamp_format, path)
    lines = texts.index.to_numpy(dtype=np.int64)
    keys = {"item_id": items, "timestamp": stamps, SOURCE_ROW: lines}
    return pd.DataFrame(keys, index=texts.index)


def parse_stamps(texts: pd.Series, stamp_format: str | None, path: Path) -> np.ndarray:
    """Parse one column of time stamps, strictly.

    Args:
        texts: time stamps as text under the column's name; the index is the line of each.
        stamp_format: strftime format of the source; None: ISO 8601.
        path: the file, for errors.

    Returns:
        Time stamps as datetime64[ns].

    Raises:
        SourceError: names column, line and text of the first stamp that cannot be used, and the
            mend.
    """
    plain = [text.strip() for text in texts]
    if not any(_stamp_trap(text, stamp_format) for text in plain):
        try:
            return _to_datetime(plain, stamp_format)
        except ValueError as error:
            raise _first_bad_stamp(texts, stamp_format, path) from error
    raise _first_bad_stamp(texts, stamp_format, path)


def parse_values(texts: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Parse value columns; empty, NA, NaN, null and None are missing.

    Raises:
        SourceError: names column, line and text of the first value that is no finite number.
    """
    columns = {}
    for name, column in texts.items():
        values = np.array([_number(text) for text in column], dtype=np.float64)
        bad = np.flatnonzero(np.isinf(values))
        if len(bad):
            line, text = column.index[bad[0]], column.iloc[bad[0]]
            mend = "write numbers with a decimal point, and nothing for a missing one"
            raise SourceError(f"{path}, column {name!r}, line {line}: {text!r} is no finite number; {mend}")
        columns[name] = values
    return pd.DataFrame(columns, index=texts.index)


def _number(text: str) -> float:
    """The number a text stands for: NaN for a missing one, infinity for what cannot be used."""
    try:
        return float(text) if "_" not in text else np.inf  # Python, alone, reads 1_000
    except ValueError:
        return np.nan if text.strip().lower() in MISSING else np.inf


def _to_datetime(texts: list[str], stamp_format: str | None) -> np.ndarray:
    parsed = pd.to_datetime(texts, format=stamp_format or "ISO8601", utc=True)
    return parsed.tz_localize(None).to_numpy().astype("datetime64[ns]")


def _stamp_trap(text: str, stamp_format: str | None) -> str | None:
    """What is wrong with a time stamp that pandas would accept; None: nothing."""
    if text.lower() in MISSING:
        return "is no time stamp; every row needs one"
    if text.lower() in RELATIVE:
        return "is no time stamp"
    behind = text[DATE_LENGTH:]
    is_zoned = "+" in behind or "-" in behind or text[-1] in "Zz"
    if "%z" in stamp_format.lower() if stamp_format else is_zoned:
        return "has a time zone; write all time stamps in one zone (UTC, say), without naming it"
    return None


def _first_bad_stamp(texts: pd.Series, stamp_format: str | None, path: Path) -> SourceError:
    """The error that names the first time stamp that cannot be used."""
    wanted = "write ISO 8601, such as 2012-10-02 09:00, or set source.timestamp_format"
    if stamp_format:
        wanted = f"source.timestamp_format is {stamp_format!r}"
    for line, text in texts.items():
        problem = _stamp_trap(text.strip(), stamp_format)
        if problem is None:
            try:
                _to_datetime([text.strip()], stamp_format)
            except ValueError:
                problem = f"is no time stamp that can be read; {wanted}"
        if problem is not None:
            return SourceError(f"{path}, column {texts.name!r}, line {line}: {text!r} {problem}")
    return SourceError(f"{path}, column {texts.name!r}: time stamps of several formats; {wanted}")


def _is_worth_a_retry(task: Any, run: Any, state: Any) -> bool:  # noqa: ARG001 - Prefect's signature
    """Trouble of the outside world may pass; a source with wrong content stays wrong."""
    return isinstance(state.result(raise_on_failure=False), OSError)


@task(
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def ingest(job: Job, as_of: pd.Timestamp | None = None) -> PanelRef:
    """Read the source of a job: see `ingest_source`."""
    return ingest_source(job, as_of)
