"""Data sets in the layout that LOTSA is published in, read by memory map: nothing is loaded but what is used.

In: a folder that Hugging Face's `save_to_disk` wrote: `state.json`, which names the `*.arrow` files (Arrow IPC
streams), those files, and `dataset_info.json`. The columns are `item_id`, `start`, `freq`, `target` (a list of numbers,
or a list of a fixed number of such lists: variates) and maybe `past_feat_dynamic_real`. Out: records of which any
stretch of any variate can be read. Fails with a `DataError` that names the file or column.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from moirai.errors import DataError

NEEDED = ("item_id", "start", "freq", "target")
PAST = "past_feat_dynamic_real"
STATE, INFO = "state.json", "dataset_info.json"
POINTER = b"version https://git-lfs"
FETCH = "fetch the data set again"


@dataclass(frozen=True)
class _Lists:
    """One column of one record batch: variates of every record, one after the other."""

    values: pa.Array
    offsets: Int[np.ndarray, "_"]  # where every variate begins in the values, and the end
    variates: int  # of every record


@dataclass(frozen=True, kw_only=True)
class ArrowRecords:
    """The records of a data set.

    Attributes:
        length: steps of every record.
        target_dim: target variates of a record.
        past_dim: past features of a record.
        item_ids: of every record.
        freqs: of every record.
        starts: of every record, as the integer that is stored.
    """

    length: Int[np.ndarray, "record"]
    target_dim: int
    past_dim: int
    item_ids: pa.ChunkedArray
    freqs: pa.ChunkedArray
    starts: Int[np.ndarray, "record"]
    first: Int[np.ndarray, "batch"]  # record of every record batch
    columns: tuple[tuple[_Lists, ...], ...]  # targets, and past features where there are any, of every record batch

    def stretch(self, record: int, row: int, start: int, stop: int) -> Float[np.ndarray, "_time"]:
        """Steps of a variate; targets come first, then past features."""
        batch = int(np.searchsorted(self.first, record, side="right")) - 1
        is_past = row >= self.target_dim
        lists = self.columns[batch][is_past]
        place = (record - int(self.first[batch])) * lists.variates + row - is_past * self.target_dim
        begin = int(lists.offsets[place])
        return lists.values.slice(begin + start, stop - start).to_numpy(zero_copy_only=False)


def read_records(folder: Path, source: str) -> ArrowRecords:
    """Open a data set.

    Args:
        folder: of the data set.
        source: its name, for messages.

    Raises:
        DataError: the folder holds no such data set, or a file of it is missing, cut off or something else.
    """
    state = _json(folder / STATE, source)
    files = [folder / str(one.get("filename")) for one in state.get("_data_files", [])]
    if not files:
        raise DataError(f"source {source}: {folder / STATE} names no data files; {FETCH}")
    batches = [batch for path in files for batch in _batches(path, source)]
    table = pa.Table.from_batches(batches, schema=batches[0].schema)
    _check_rows(folder, source, table.num_rows)
    has_past = PAST in table.schema.names and table.column(PAST).null_count < table.num_rows
    names = ("target", PAST) if has_past else ("target",)
    batches = [batch for batch in batches if batch.num_rows]
    columns = tuple(tuple(_lists(batch.column(name), name, source) for name in names) for batch in batches)
    lengths = [
        _lengths(one, names, [source, batch.column("item_id")]) for one, batch in zip(columns, batches, strict=True)
    ]
    rows = np.array([batch.num_rows for batch in batches], np.int64)
    return ArrowRecords(
        length=np.concatenate(lengths),
        target_dim=columns[0][0].variates,
        past_dim=columns[0][1].variates if has_past else 0,
        item_ids=table.column("item_id"),
        freqs=table.column("freq"),
        starts=table.column("start").cast(pa.int64()).to_numpy(),
        first=np.cumsum(rows) - rows,
        columns=columns,
    )


def _json(path: Path, source: str) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"source {source}: {path} does not exist; give the folder of one data set, as `save_to_disk` wrote it"
        ) from error
    except ValueError as error:
        raise DataError(f"source {source}: {path} is no JSON ({error}); {FETCH}") from error
    if not isinstance(found, dict):
        raise DataError(f"source {source}: {path} holds no mapping; {FETCH}")
    return found


def _batches(path: Path, source: str) -> list[pa.RecordBatch]:
    """Record batches of one file; their values stay on disk."""
    try:
        mapped = pa.memory_map(str(path))
        if mapped.size() and bytes(mapped.read(len(POINTER))) == POINTER:
            raise DataError(
                f"source {source}: {path} is a pointer of Git LFS, not the data; fetch it with `git lfs pull`"
            )
        mapped.seek(0)
        with pa.ipc.open_stream(mapped) as stream:
            batches = list(stream)
            schema = stream.schema
    except FileNotFoundError as error:
        raise DataError(f"source {source}: {path}, which {STATE} names, does not exist; {FETCH}") from error
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"source {source}: {path} is cut off or no Arrow stream ({reason}); {FETCH}") from error
    missing = [name for name in NEEDED if name not in schema.names]
    if missing:
        raise DataError(f"source {source}: {path} has no column {missing[0]!r}; it has {schema.names}")
    return batches or [pa.RecordBatch.from_pylist([], schema=schema)]


def _check_rows(folder: Path, source: str, rows: int) -> None:
    """A stream that was cut between two record batches reads well: only the recorded number tells."""
    splits = _json(folder / INFO, source).get("splits") or {}
    counts = [int(one["num_examples"]) for one in splits.values() if one.get("num_examples")]
    if not rows:
        raise DataError(f"source {source}: {folder} holds no record; {FETCH}")
    if len(counts) == 1 and counts[0] != rows:
        raise DataError(f"source {source}: {folder} holds {rows} records, but {INFO} says {counts[0]}; {FETCH}")


def _lists(column: pa.Array, name: str, source: str) -> _Lists:
    """Where the variates of a column stand."""
    if column.null_count:
        raise DataError(f"source {source}: column {name!r} has records without values; leave them out")
    variates = 1
    if pa.types.is_fixed_size_list(column.type):
        variates = column.type.list_size
        column = column.flatten()
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    kind = column.type.value_type if is_list else None
    if kind is None or not (pa.types.is_floating(kind) or pa.types.is_integer(kind)) or column.null_count:
        raise DataError(
            f"source {source}: column {name!r} must hold lists of numbers, or a fixed number of them per record, "
            f"not {column.type}"
        )
    return _Lists(column.values, column.offsets.to_numpy(), variates)


def _lengths(columns: tuple[_Lists, ...], names: tuple[str, ...], place: list) -> Int[np.ndarray, "_record"]:
    """Steps of every record; all variates of a record have them."""
    steps = [np.diff(one.offsets).reshape(-1, one.variates) for one in columns]
    for name, one in zip(names, steps, strict=True):
        uneven = (one != steps[0][:, :1]).any(axis=1)
        if uneven.any():
            record = int(uneven.argmax())
            source, item_ids = place
            raise DataError(
                f"source {source}: column {name!r} of item {item_ids[record].as_py()!r} has variates of "
                f"{sorted(set(one[record].tolist()))} steps, its first target {int(steps[0][record, 0])}"
            )
    return steps[0][:, 0].astype(np.int64)
