"""Cells of a value column as numbers: what is missing, what is a finite number, and what is neither.

In: a column as it stands in the source (text, numbers, decimals, truth values). Out: float64, NaN where missing. Fails
with `SourceError`, which names column, line or row, cell and mend. A whole column is read at once; only a column that
holds something unusual is looked at cell by cell.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import SourceError
from tasks.sources.chunk import LongRows, Place, shown

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none"})  # lower case
MEND = "write numbers with a decimal point, and nothing for a missing one"
OF_NUMBERS = {"decimal", "integer", "floating", "mixed-integer-float", "boolean", "empty"}  # in pandas' words
MISSING_TEXTS = pa.array(sorted(MISSING))


class NumberReader:
    """Reads the value columns of one chunk; what is no finite number is infinite until `check` refuses it.

    A row that is not seen (later than as_of) may hold anything: whoever reads a chunk drops such rows and checks then.
    """

    def __init__(self) -> None:
        self._bad: list[pd.Series] = []

    def __call__(self, column: pd.Series, place: Place) -> np.ndarray:  # noqa: ARG002 - as layouts call it
        """Numbers of a column, float64; NaN where missing, infinity for what is no finite number."""
        values = parse_numbers(column)
        is_bad = np.isinf(values)
        if is_bad.any():
            self._bad.append(column[is_bad])
        return values

    def check(self, rows: LongRows, place: Place) -> None:
        """Refuse what is no finite number in the rows that are left.

        Raises:
            SourceError: names column, line and text of the first such cell.
        """
        found = {name: rows.rows[np.isinf(values)] for name, values in rows.numbers.items()}
        firsts = {name: int(lines.min()) for name, lines in found.items() if len(lines)}
        if not firsts:
            return
        name = min(firsts, key=lambda one: firsts[one])
        line = firsts[name]
        here = [cells for cells in self._bad if line in cells.index]
        cells = next((one for one in here if one.name == name), here[0])  # of a wide layout, columns have other names
        cell = cells.loc[[line]].iloc[0]
        raise SourceError(f"{place.at(cells.name, line)}: {shown(cell)} is no finite number; {MEND}")


def parse_numbers(column: pd.Series) -> np.ndarray:
    """Numbers of a column, float64: NaN for a missing cell, infinity for one that cannot be used."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        known = np.append(parse_numbers(pd.Series(column.cat.categories)), np.nan)
        return known[column.cat.codes.to_numpy()]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):  # truth values count
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    cells = column.to_numpy(dtype=object)
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return np.where(column.isna().to_numpy(), np.nan, np.inf)
    kind = pd.api.types.infer_dtype(cells, skipna=True)
    quick = _numbers_of_texts(cells) if kind == "string" else _plain_numbers(cells) if kind in OF_NUMBERS else None
    return np.array([_number(cell) for cell in cells], dtype=np.float64) if quick is None else quick


def _plain_numbers(cells: np.ndarray) -> np.ndarray | None:
    """Numbers of any types all at once; None where some cell is unusual, and `_number` must judge."""
    values, is_there = np.full(len(cells), np.nan), ~pd.isna(cells)
    try:
        values[is_there] = cells[is_there].astype(np.float64)
    except (ArithmeticError, ValueError):
        return None
    return values


def _numbers_of_texts(cells: np.ndarray) -> np.ndarray | None:
    """Numbers of a column of text all at once; None where some cell is unusual, and `_number` must judge."""
    try:
        texts = pc.utf8_trim_whitespace(pa.array(cells, pa.string(), from_pandas=True))
        is_missing = pc.is_in(pc.utf8_lower(texts), MISSING_TEXTS)
        numbers = pc.cast(pc.if_else(is_missing, None, texts), pa.float64())
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeError):
        return None
    values = numbers.to_numpy(zero_copy_only=False)
    is_odd = np.count_nonzero(np.isnan(values)) != numbers.null_count  # nan(1) is a number to Arrow alone
    return None if is_odd else values


def _number(cell: Any) -> float:
    """The number a cell stands for: NaN for a missing one, infinity for what cannot be used."""
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return np.nan
    if isinstance(cell, str):
        try:
            return float(cell) if "_" not in cell else np.inf  # Python, alone, reads 1_000
        except ValueError:
            return np.nan if cell.strip().lower() in MISSING else np.inf
    try:
        return float(cell)
    except (TypeError, ValueError, ArithmeticError):
        return np.inf
