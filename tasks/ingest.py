"""Ingest: source -> raw panel. The only place that touches the source.

In: a job and, optionally, the moment the run stands at (`as_of`); rows after it are not seen, but for covariates known
in advance. Out: a raw panel under the job's workspace. Ingest renames nothing and fills nothing: a missing value stays
missing, repeated time stamps stay. Fails with `SourceError`, which names file, column, line or row, value and mend; an
`OSError` of the outside world and a database out of reach are tried again.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.errors import SourceError
from tasks.job import Job
from tasks.panel import PanelRef, SourcePart, write_panel
from tasks.sources.assemble import Assembly, RawPanel
from tasks.sources.chunk import OpenPart
from tasks.sources.database import DatabaseUnreachableError, open_query
from tasks.sources.layout import Layout
from tasks.sources.listing import list_files, short_names
from tasks.sources.numbers import NumberReader
from tasks.sources.parquet_files import is_parquet, open_parquet_file
from tasks.sources.text_files import open_text_file

RETRY_DELAYS = [2.0, 10.0]  # seconds: long enough for a network share to come back

logger = logging.getLogger(__name__)

Opener = Callable[[], AbstractContextManager[OpenPart]]


def ingest_source(job: Job, as_of: pd.Timestamp | None = None) -> PanelRef:
    """Read the source of a job and keep it as a raw panel in the workspace.

    Args:
        job: what to read.
        as_of: moment the run stands at, without time zone; see `read_raw`. None: all rows.

    Returns:
        Reference to `<workspace>/panels/raw-<digest>.parquet`.

    Raises:
        SourceError: the source cannot be read, or its content is not what the job says.
    """
    raw = read_raw(job, as_of)
    panel = write_panel(
        raw.frame,
        job.workspace_path / "panels",
        stage="raw",
        levels=raw.levels,
        parts=raw.parts,
        static=raw.static,
    )
    size = f"{panel.rows:,} rows of {panel.items:,} series"
    logger.info("read %s, %s to %s, from %s", size, panel.start, panel.end, _in_words(raw.parts))
    return panel


def read_source(job: Job, as_of: pd.Timestamp | None = None) -> pd.DataFrame:
    """The frame of the raw panel alone: see `read_raw`."""
    return read_raw(job, as_of).frame


def read_raw(job: Job, as_of: pd.Timestamp | None = None) -> RawPanel:
    """Read the columns a job names, from every file of its source or from its database.

    Args:
        job: what to read.
        as_of: moment the run stands at, without time zone. Later rows are dropped; where the job has known covariates,
            those of the horizon stay, without their other values. None: all rows.

    Returns:
        The raw panel: item_id, timestamp, source_row and the value columns; sorted by item_id and timestamp, the rows
        of one time stamp in source order.

    Raises:
        SourceError: a file is missing, damaged, empty or of another encoding, a query fails; a column, item id or time
            stamp is missing; a time stamp or value cannot be used.
    """
    if as_of is not None and as_of.tzinfo is not None:
        raise SourceError(f"as_of {as_of} has a time zone; give it without one, in the source's time")
    assembly, parts, before = Assembly(job, as_of), list[SourcePart](), 0
    openers = open_parts(job)
    for name, opener in openers.items():
        last = 0
        with opener() as part:
            layout = Layout.of(part.header, job, part.place)
            for chunk in part.read(layout.needed):
                numbers = NumberReader()
                assembly.add(layout.to_long(chunk, numbers), numbers, part.place, before)
                last = int(chunk.frame.index[-1])
        if last:
            parts.append(SourcePart(name=name, unit=part.place.unit, before=before))
            before += last
        elif len(openers) > 1:
            logger.warning("%s has a header but no rows", part.place.name)
    origin = part.place.name if len(openers) == 1 else f"source.path ({len(openers)} files)"
    if not parts:
        nothing = "returned no rows" if job.source.url else "has a header but no rows"
        raise SourceError(f"{origin} {nothing}; there is nothing to forecast from")
    return assembly.panel(parts, origin)


def open_parts(job: Job) -> dict[str, Opener]:
    """Name of each file or query of a source, and what opens it, in the order they are read.

    Raises:
        SourceError: source.path leads to no file.
    """
    if job.source.url is not None:
        return {"source.query": partial(open_query, job)}
    paths = list_files(job)
    openers: list[Opener] = [
        partial(open_parquet_file, path, job) if is_parquet(path) else partial(open_text_file, path, job.source)
        for path in paths
    ]
    return dict(zip(short_names(paths, job.folder), openers, strict=True))


def _in_words(parts: list[SourcePart]) -> str:
    return parts[0].name if len(parts) == 1 else f"{len(parts)} files, {parts[0].name} to {parts[-1].name}"


def _is_worth_a_retry(task: Any, run: Any, state: Any) -> bool:  # noqa: ARG001 - Prefect's signature
    """Trouble of the outside world may pass; a source with wrong content stays wrong."""
    return isinstance(state.result(raise_on_failure=False), OSError | DatabaseUnreachableError)


@task(
    task_run_name="ingest",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=_is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def ingest(job: Job, as_of: pd.Timestamp | None = None) -> PanelRef:
    """Read the source of a job: see `ingest_source`."""
    return ingest_source(job, as_of)
