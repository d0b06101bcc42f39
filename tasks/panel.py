"""The panel: the one table that tasks hand each other, by reference.

A panel is a Parquet file sorted by (item_id, timestamp): `item_id` text, `timestamp` without time zone, and the value
columns as float64 under the names of the source. A missing value is NaN. A *raw* panel is what the source said: it may
repeat time stamps (in source order) and carries `source_row`, the line of the file (header = 1) that a row stood on. A
*clean* panel has exactly one row per grid point from each series' first to its last observation. `PanelRef` is what
passes between tasks: a path, the digest of the content and a few counts, never a frame.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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


def write_panel(frame: pd.DataFrame, folder: Path, *, stage: str) -> PanelRef:
    """Write a panel as `<stage>-<digest>.parquet`; the same content gives the same file, written whole or not at all.

    Args:
        frame: columns item_id, timestamp and at least one value column; sorted by item_id and timestamp.
        folder: created when missing.
        stage: `raw` or `clean`, for the file's name.
    """
    digest = panel_digest(frame)
    path = folder / f"{stage}-{digest}.parquet"
    write_parquet(frame, path)
    return PanelRef(
        path=str(path),
        digest=digest,
        rows=len(frame),
        items=frame["item_id"].nunique(),
        start=frame["timestamp"].min(),
        end=frame["timestamp"].max(),
        values=value_columns(frame),
    )


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame whole or not at all; its folder is made when missing."""
    with whole_file(path) as made:
        frame.to_parquet(made, index=False)


def read_panel(panel: PanelRef) -> pd.DataFrame:
    """The frame behind a reference."""
    return pd.read_parquet(panel.path)


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
