"""The panel: the one table that tasks hand each other, by reference.

A panel is a Parquet file sorted by (item_id, timestamp): `item_id` text, `timestamp` without time zone, and the value
columns as float64 under the names of the source. A missing value is NaN. A *raw* panel is what the source said: it may
repeat time stamps (in source order) and carries `source_row`, the line or row of the source that a row stood on
(`PanelRef.place` says it in words); rows behind the last target may hold covariates known in advance. A *clean* panel
has exactly one row per grid point from each series' first to its last observed target; the known covariates behind it
lie in a second file. A categorical column holds codes, `PanelRef.levels` their names. `PanelRef` is what passes between
tasks: paths, the digest of the content and a few counts, never a frame.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from tasks.whole_files import whole_file

KEYS = ["item_id", "timestamp"]
SOURCE_ROW = "source_row"

# pydantic has no schema for pandas' time stamps; in JSON they are ISO 8601 text
Moment = Annotated[
    pd.Timestamp,
    PlainValidator(pd.Timestamp),
    PlainSerializer(pd.Timestamp.isoformat, return_type=str, when_used="json"),
]


class SourcePart(BaseModel):
    """One file (or query) that rows of a panel came from."""

    model_config = ConfigDict(frozen=True)

    name: str
    unit: Literal["line", "row"]  # what `source_row` counts: lines of a text (header = 1), or rows
    before: int  # added to the line or row within this part, so that `source_row` is unique


class PanelRef(BaseModel):
    """Reference to a panel on disk."""

    model_config = ConfigDict(frozen=True)

    path: str
    digest: str
    rows: int
    items: int
    start: Moment
    end: Moment
    values: list[str]
    levels: dict[str, list[str]] = {}  # categorical column -> the names that its codes 0, 1, ... stand for
    future_path: str | None = None  # of a clean panel: known covariates behind the last target of each series
    static_path: str | None = None  # item_id and the static columns, one row per series
    parts: list[SourcePart] = []

    def place(self, row: int) -> str:
        """Where a `source_row` stands, for messages: `line 17`, or `line 17 of b.csv` where there are several files."""
        if not self.parts:
            return f"line {row}"
        part = max((one for one in self.parts if one.before < row), key=lambda one: one.before)
        text = f"{part.unit} {row - part.before}"
        return text if len(self.parts) == 1 else f"{text} of {part.name}"


def value_columns(frame: pd.DataFrame) -> list[str]:
    """Names of the value columns of a panel."""
    return [name for name in frame.columns if name not in (*KEYS, SOURCE_ROW)]


def panel_digest(frame: pd.DataFrame) -> str:
    """First 16 digits of the SHA-256 of a panel's names and values; equal panels have equal digests."""
    digest = hashlib.sha256("\x1f".join(frame.columns).encode())
    digest.update("\x1f".join(frame["item_id"].unique()).encode())
    digest.update(frame["item_id"].value_counts(sort=False).to_numpy().tobytes())
    digest.update(frame["timestamp"].to_numpy().astype("datetime64[ns]").tobytes())
    for name in value_columns(frame):
        values = frame[name].to_numpy(dtype=np.float64)
        digest.update(np.where(np.isnan(values), np.nan, values).tobytes())  # one bit pattern for NaN
    return digest.hexdigest()[:16]


def write_panel(
    frame: pd.DataFrame,
    folder: Path,
    *,
    stage: str,
    levels: dict[str, list[str]] | None = None,
    parts: Sequence[SourcePart] = (),
    future: pd.DataFrame | None = None,
    static: pd.DataFrame | None = None,
) -> PanelRef:
    """Write a panel as `<stage>-<digest>.parquet`; the same content gives the same file, written whole or not at all.

    Args:
        frame: columns item_id, timestamp and at least one value column; sorted by item_id and timestamp.
        folder: created when missing.
        stage: `raw` or `clean`, for the file's name.
        levels: names behind the codes of each categorical column.
        parts: where the rows came from.
        future: item_id, timestamp and the known covariates behind the last target of each series; None: none.
        static: item_id and the static columns, one row per series; None: none.
    """
    beside = {name: one for name, one in {"future": future, "static": static}.items() if one is not None}
    digest = combined_digest(panel_digest(frame), levels or {}, beside)
    path = folder / f"{stage}-{digest}.parquet"
    places = {f"{name}_path": folder / f"{stage}-{digest}-{name}.parquet" for name in beside}
    for one, place in zip(beside.values(), places.values(), strict=True):
        write_parquet(one, place)
    write_parquet(frame, path)
    return PanelRef(
        path=str(path),
        digest=digest,
        rows=len(frame),
        items=frame["item_id"].nunique(),
        start=frame["timestamp"].min(),
        end=frame["timestamp"].max(),
        values=value_columns(frame),
        levels=levels or {},
        parts=list(parts),
        **{name: str(place) for name, place in places.items()},
    )


def combined_digest(digest: str, levels: dict[str, list[str]], beside: dict[str, pd.DataFrame]) -> str:
    """The digest of a frame together with what goes with it; the frame's own where nothing does."""
    if not levels and not beside:
        return digest
    whole = hashlib.sha256(f"{digest}{sorted(levels.items())}".encode())
    for name, one in beside.items():
        rows = pd.util.hash_pandas_object(one, index=False).to_numpy()
        whole.update(f"{name}{list(one.columns)}".encode() + rows.tobytes())
    return whole.hexdigest()[:16]


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame whole or not at all; its folder is made when missing."""
    with whole_file(path) as made:
        frame.to_parquet(made, index=False)


def read_panel(panel: PanelRef) -> pd.DataFrame:
    """The frame behind a reference."""
    return pd.read_parquet(panel.path)


def read_beside(path: str | None) -> pd.DataFrame | None:
    """The frame of a panel's future or static values; None where it has none."""
    return None if path is None else pd.read_parquet(path)


@dataclass(frozen=True)
class TargetSeries:
    """One target column of one item on its grid."""

    item_id: str
    target_name: str
    timestamps: np.ndarray  # datetime64, one per step
    values: np.ndarray  # float64, NaN where missing


def target_series(frame: pd.DataFrame, targets: Sequence[str]) -> list[TargetSeries]:
    """The series of a clean panel, by target and item; the arrays are views of the frame's columns."""
    items = frame["item_id"].to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], items[1:] != items[:-1])))
    bounds = list(zip(starts, np.append(starts[1:], len(items)), strict=True))
    times = frame["timestamp"].to_numpy()
    return [
        TargetSeries(str(items[start]), name, times[start:end], values[start:end])
        for name in targets
        for values in [frame[name].to_numpy(np.float64)]
        for start, end in bounds
    ]
