"""The beginning of Parquet files or of a query's answer as one table.

In: files, or a job that says where to ask. Out: a frame of numbers, time stamps and text. Fails with `SourceError`: see
the readers in `tasks/sources/`; also where files differ in their columns.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from tasks.errors import SourceError
from tasks.inference.findings import list_names
from tasks.job import Job
from tasks.sources.cells import Texts
from tasks.sources.chunk import OpenPart
from tasks.sources.database import open_query
from tasks.sources.numbers import parse_numbers
from tasks.sources.parquet_files import open_parquet_file

NUMBERS = frozenset({"decimal", "integer", "floating", "mixed-integer-float"})  # as pandas calls columns of objects


def read_parquet_table(files: Sequence[Path], job: Job, cells: int) -> tuple[pd.DataFrame, bool]:
    """Read the beginnings of Parquet files.

    Args:
        files: at least one; all have the same columns.
        job: says how files are opened.
        cells: how much is read of each.

    Returns:
        The rows, and whether the files go on behind them.
    """
    frames, is_sample, header = [], False, list[str]()
    for path in files:
        found, goes_on, there = _read(open_parquet_file(path, job), cells)
        if header and set(there) != set(header):
            mend = "give a folder or glob of files with the same columns"
            raise SourceError(f"{path} has other columns ({list_names(there)}) than {files[0]}; {mend}")
        header = header or there
        frames.append(found)
        is_sample |= goes_on
    return _typed(pd.concat(frames, ignore_index=True), str(files[0])), is_sample


def read_query_table(job: Job, cells: int) -> tuple[pd.DataFrame, bool]:
    """Read the beginning of a query's answer, and whether it goes on."""
    frame, is_sample, _ = _read(open_query(job), cells)
    return _typed(frame, "source.query"), is_sample


def _read(opened: AbstractContextManager[OpenPart], cells: int) -> tuple[pd.DataFrame, bool, list[str]]:
    """Rows of about so many cells, whether there are more, and the names of the columns."""
    with opened as part:
        twice = [name for name in part.header if part.header.count(name) > 1]
        if twice:
            raise SourceError(f"{part.place.name} has more than one column {twice[0]!r}; rename one of them")
        wanted = max(1, cells // max(1, len(part.header)))
        chunks = (chunk.frame for chunk in part.read(part.header))
        frames = list(_until(chunks, wanted))
        goes_on = next(iter(islice(chunks, 1)), None) is not None
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=part.header)
    return rows.iloc[:wanted], goes_on or len(rows) > wanted, part.header


def _until(chunks: Iterator[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    for chunk in chunks:
        yield chunk
        rows -= len(chunk)
        if rows <= 0:
            return


def _typed(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    if frame.empty:
        raise SourceError(f"{name} has columns but no rows")
    return pd.DataFrame({column: _typed_column(frame[column]) for column in frame})


def _typed_column(column: pd.Series) -> pd.Series:
    """Numbers, time stamps or text; a column of text that holds numbers only is numeric, as in a text file."""
    if is_datetime64_any_dtype(column):
        return column
    if is_numeric_dtype(column) and not is_bool_dtype(column):
        whole = pd.api.types.is_integer_dtype(column) and not column.isna().any()
        return column.astype(np.int64 if whole else np.float64)
    kind = infer_dtype(column, skipna=True)
    if kind in NUMBERS:
        return pd.Series(parse_numbers(column), index=column.index)
    texts = pd.Series(Texts.of(column).array(), index=column.index, dtype=object).fillna("")
    numbers = parse_numbers(texts) if kind == "string" else np.array([np.inf])
    if np.isfinite(numbers).any() and not np.isinf(numbers).any():
        is_whole = bool(texts.str.fullmatch(r"-?\d+").all())
        return pd.Series(numbers.astype(np.int64) if is_whole else numbers, index=column.index)
    return texts
