r"""Series ids: the columns that tell series apart -> one text per series, as a categorical over the rows.

In: codes and texts per column. Out: one code per row; -1 where a part of the id is missing. Nothing here fails. Ids of
several columns are joined with "/"; a "/" or "\" inside a part is escaped with "\", so that no two ids become one.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.sources.cells import Texts

SEPARATOR, ESCAPE = "/", "\\"


def join_ids(parts: Sequence[Texts]) -> pd.Categorical:
    """One id per row from one part, as it stands, or from several, joined."""
    if len(parts) == 1:
        codes, distinct = parts[0].codes, parts[0].distinct
        return _categorical(codes, distinct)
    whole = np.zeros(len(parts[0].codes), dtype=np.int64)
    is_missing = np.zeros(len(whole), dtype=bool)
    for part in parts:
        is_missing |= part.codes < 0
        whole = whole * len(part.distinct) + np.maximum(part.codes, 0)
        _, whole = np.unique(whole, return_inverse=True)  # stays small, however many parts there are
    used, first, codes = np.unique(whole, return_index=True, return_inverse=True)
    pieces = [[_escaped(text) for text in part.spread(first).array()] for part in parts]
    ids = np.array([SEPARATOR.join(each) for each in zip(*pieces, strict=True)], dtype=object)
    return _categorical(np.where(is_missing, -1, codes.reshape(-1)), ids[: len(used)])


def _escaped(text: str | None) -> str:
    return (text or "").replace(ESCAPE, 2 * ESCAPE).replace(SEPARATOR, ESCAPE + SEPARATOR)


def _categorical(codes: np.ndarray, ids: np.ndarray) -> pd.Categorical:
    """Codes over ids that are in use, once each: 1 and 1.0 of a mixed column are one series."""
    merged, names = pd.factorize(ids)
    return pd.Categorical.from_codes(np.append(merged, -1)[codes], categories=pd.Index(names, dtype=object))
