"""Where the items of a panel on disk begin, found by one pass over its keys, row group by row group."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from moirai.errors import DataError
from moirai.training.sources.item_choice import kept_steps

KEYS = ("item_id", "timestamp")
NOT_VALUES = (*KEYS, "source_row")
SORT = "sort it by item_id and timestamp, one row per step (`moirai` writes clean panels so)"


@dataclass(frozen=True, kw_only=True)
class PanelIndex:
    """What is known of a panel before its values are read.

    Attributes:
        columns: value columns, targets first.
        targets: how many are targets.
        item_ids: names of the items.
        start: first row of every item, counted over all files.
        length: rows of every item that may be read.
        group_start: first row of every row group.
        files: in order.
        file_groups: row groups of each.
    """

    columns: tuple[str, ...]
    targets: int
    item_ids: pa.StringArray
    start: Int[np.ndarray, "item"]
    length: Int[np.ndarray, "item"]
    group_start: Int[np.ndarray, "group"]
    files: tuple[pq.ParquetFile, ...]
    file_groups: tuple[int, ...]

    def place(self, group: int) -> tuple[pq.ParquetFile, int]:
        """The file of a row group, and its number there."""
        for file, groups in zip(self.files, self.file_groups, strict=True):
            if group < groups:
                return file, group
            group -= groups
        raise AssertionError("a row group is in some file")


def index_panel(
    path: Path,
    *,
    source: str,
    targets: Sequence[str] | None,
    past: Sequence[str],
    end_share: float,
    until: str | None,
) -> PanelIndex:
    """Read the keys of a panel.

    Args:
        path: file, or folder of files.
        source: its name, for messages.
        targets: value columns; None: all numeric ones that are not `past`.
        past: past features.
        end_share: share at the end of every item that may not be read.
        until: moment from which on nothing may be read.

    Raises:
        DataError: no Parquet, a column is missing or holds no numbers, the rows are not sorted, or nothing is left.
    """
    paths = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise DataError(f"source {source}: folder {path} holds no *.parquet file; give a panel's file or folder")
    files = tuple(_open(one, source) for one in paths)
    columns = _columns(files[0], paths[0], source, targets, past)
    moment = None if until is None else pd.Timestamp(until).to_datetime64()
    names: list[str] = []
    counts: list[int] = []
    before: list[int] = []
    group_rows: list[int] = []
    last_time = None
    for file, one in zip(files, paths, strict=True):
        _columns(file, one, source, columns, ())
        for item_ids, times in _keys(file, one, source):
            group_rows.append(len(times))
            if not len(times):
                continue
            first, group_names = _runs(item_ids)
            goes_on = bool(names) and group_names[0] == names[-1]
            _check_times(times, first, group_names, last_time if goes_on else None, f"source {source}: {one}")
            last_time = times[-1]
            sizes = np.diff(np.append(first, len(times)))
            readable = sizes if moment is None else np.add.reduceat(times < moment, first, dtype=np.int64)
            if goes_on:
                counts[-1] += int(sizes[0])
                before[-1] += int(readable[0])
            new = slice(int(goes_on), None)
            names += group_names[new]
            counts += sizes[new].tolist()
            before += readable[new].tolist()
    if len(set(names)) < len(names):
        repeated = pd.Index(names)[pd.Index(names).duplicated()][0]
        raise DataError(f"source {source}: rows of item {repeated!r} stand apart in {path}; {SORT}")
    length = np.array(counts, np.int64)
    kept = np.minimum(kept_steps(length, end_share), np.array(before, np.int64))
    if not kept.any():
        raise DataError(f"source {source}: no row of {path} may be read with end_share {end_share} and until {until}")
    return PanelIndex(
        columns=columns,
        targets=len(columns) - len(past),
        item_ids=pa.array(names, pa.string()),
        start=np.cumsum(length) - length,
        length=kept,
        group_start=np.cumsum(group_rows) - np.array(group_rows, np.int64),
        files=files,
        file_groups=tuple(file.num_row_groups for file in files),
    )


def _open(path: Path, source: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"source {source}: {path} cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def _columns(
    file: pq.ParquetFile, path: Path, source: str, targets: Sequence[str] | None, past: Sequence[str]
) -> tuple[str, ...]:
    """Value columns, targets first; all of them are there and hold numbers."""
    schema = file.schema_arrow
    numeric = {
        field.name
        for field in schema
        if pa.types.is_floating(field.type) or pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)
    }
    if targets is None:
        targets = [name for name in schema.names if name in numeric and name not in (*NOT_VALUES, *past)]
    if not targets:
        raise DataError(f"source {source}: {path} has no column of numbers beside its keys")
    for name in KEYS:
        if name not in schema.names:
            raise DataError(f"source {source}: {path} has no column {name!r}; it has {schema.names}")
    for name in (*targets, *past):
        if name not in numeric:
            state = "holds no numbers" if name in schema.names else "does not exist"
            raise DataError(
                f"source {source}: column {name!r} of {path} {state}; columns of numbers: {sorted(numeric)}"
            )
    return (*targets, *past)


def _keys(file: pq.ParquetFile, path: Path, source: str) -> Iterator[tuple[pa.DictionaryArray, np.ndarray]]:
    """Items and time stamps of one row group after the other."""
    for group in range(file.num_row_groups):
        keys = file.read_row_group(group, list(KEYS), use_threads=False)
        try:
            times = keys["timestamp"].cast(pa.timestamp("ns")).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"source {source}: column 'timestamp' of {path} holds no time stamps") from error
        if keys["item_id"].null_count or keys["timestamp"].null_count:
            raise DataError(f"source {source}: {path} has rows without item_id or timestamp; leave them out")
        yield keys["item_id"].cast(pa.string()).combine_chunks().dictionary_encode(), times


def _runs(item_ids: pa.DictionaryArray) -> tuple[Int[np.ndarray, "_run"], list[str]]:
    """Where each run of equal items begins, and the items."""
    codes = item_ids.indices.to_numpy()
    first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    return first, item_ids.dictionary.take(pa.array(codes[first])).to_pylist()


def _check_times(
    times: np.ndarray,
    first: Int[np.ndarray, "_run"],
    names: Sequence[str],
    last_time: np.datetime64 | None,
    place: str,
) -> None:
    """Time stamps rise inside every item, from the row group before on."""
    rises = np.concatenate(([last_time is None or times[0] > last_time], times[1:] > times[:-1]))
    rises[first[1:]] = True
    if not rises.all():
        row = int(np.argmin(rises))
        item = names[int(np.searchsorted(first, row, side="right")) - 1]
        moment = pd.Timestamp(times[row])
        raise DataError(f"{place}: time stamp {moment} of item {item!r} does not follow the one before it; {SORT}")
