"""Cells of a column as the layouts read them: texts, each distinct one kept once, and the type of what reads numbers.

In: a column of a chunk. Out: codes and texts. Nothing here fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from tasks.sources.chunk import Place

Numbers = Callable[[pd.Series, Place], np.ndarray]
"""Reads a column of value cells as float64; its error names column and line or row."""


@dataclass(frozen=True)
class Texts:
    """One text per row, each distinct one kept once."""

    codes: np.ndarray
    """int64 per row; -1 where there is none."""
    distinct: np.ndarray
    """Objects: the texts that codes stand for."""

    @classmethod
    def of(cls, column: pd.Series) -> Self:
        """Texts of a column as it stands; blank, NaN and None are none; 3.0, where some cells are missing, is 3."""
        codes, distinct = pd.factorize(column)
        texts = np.array([as_text(value) for value in distinct], dtype=object)
        is_blank = np.array([not text.strip() for text in texts], dtype=bool)
        blank = np.flatnonzero(is_blank)
        return cls(np.where(np.isin(codes, blank), -1, codes), texts)

    def spread(self, rows: np.ndarray) -> "Texts":
        """The texts of some rows, in their order; rows may be repeated."""
        return Texts(self.codes[rows], self.distinct)

    def array(self) -> np.ndarray:
        """One object per row; None where there is no text."""
        return np.append(self.distinct, [None])[self.codes]  # -1 is the last one


def as_text(value: Any) -> str:
    """A cell as text: whole numbers without decimal point, texts as they stand."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)
