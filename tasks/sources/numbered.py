"""Texts as numbers: a panel of ten million rows names its ten thousand series once each.

In: texts of one chunk after the other. Out: a number per row, -1 where the text is missing; in the end the texts in
order. Nothing here fails.
"""

import numpy as np
import pandas as pd


class Numbered:
    """Texts, numbered in the order they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, texts: pd.Categorical | np.ndarray) -> np.ndarray:
        """Number of each text, int32; -1 where it is missing (none, or blank)."""
        if isinstance(texts, pd.Categorical):
            codes, distinct = np.asarray(texts.codes), texts.categories.to_numpy(dtype=object)
        else:
            codes, distinct = pd.factorize(texts)
        is_there = np.bincount(codes + 1, minlength=len(distinct) + 1)[1:] > 0
        known = np.full(len(distinct) + 1, -1, dtype=np.int32)  # the last one stands for a missing text
        for place in np.flatnonzero(is_there):
            text = str(distinct[place])
            known[place] = self._numbers.setdefault(text, len(self._numbers)) if text.strip() else -1
        return known[codes]

    def texts(self) -> np.ndarray:
        """The text of each number, and None at the end, where -1 leads."""
        return np.array([*self._numbers, None], dtype=object)

    def sorted(self, is_used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The texts that are used, sorted, and the rank of each number among them; -1: it is not used."""
        texts = self.texts()[:-1]
        used = np.flatnonzero(is_used)
        used = np.array(sorted(used, key=texts.__getitem__), dtype=np.int64)
        ranks = np.full(len(texts), -1, dtype=np.int32)
        ranks[used] = np.arange(len(used))
        return texts[used], ranks

    def ranked(self, numbers: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Numbers as codes (float64, NaN where missing) of the sorted texts among them, and these texts."""
        texts, ranks = self.sorted(np.bincount(numbers + 1, minlength=len(self) + 1)[1:] > 0)
        codes = np.append(ranks.astype(np.float64), np.nan)  # the last one stands for a missing text
        return codes[numbers], texts.tolist()
