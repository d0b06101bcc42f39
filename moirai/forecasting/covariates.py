"""Covariates: named columns -> the numeric variates that a model sees beside the target.

In: columns of a long frame, and for the known ones the rows behind each series' end. Out: one array [variate, time] per
series. Fails with `DataError`, which names column, series and time stamp.

A numeric column is one variate, a categorical one is an indicator per name (`holiday=Christmas Day`); which ones a
model was trained with stands beside its weights (`covariates.json`). A known covariate is moved: what stands at a step
is its value `lead` steps later. A forecast of Moirai 2.0 is read at the last token of the past and its network is
causal, so values laid behind that token, where the published layout has them, are never seen. Moved, every step holds
what is known there, and cutting all variates at an origin shows exactly what a forecast from there may see.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from moirai.errors import CheckpointError, ConfigError, DataError
from moirai.evaluation.seasonality import to_offset

ENCODING_FILE = "covariates.json"
MOST_VARIATES = 128  # of one series, the target among them; the published models' limit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CovariateEncoding:
    """Which columns are covariates, and what variates they become."""

    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    lead: int  # steps that known covariates are seen ahead
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of each categorical column

    def __post_init__(self) -> None:
        if len(set(self.variates)) < len(self.variates):
            twice = next(one for one in self.variates if self.variates.count(one) > 1)
            raise ConfigError(f"two covariates would be called {twice!r}; rename a column")
        if len(self.variates) >= MOST_VARIATES:
            widest = max(self.columns, key=lambda one: len(self.names.get(one, ())))
            raise ConfigError(
                f"the covariates are {len(self.variates)} variates, at most {MOST_VARIATES - 1} are possible; "
                f"column {widest!r} alone has {len(self.names.get(widest, '1'))}: leave it out, or merge its names"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, known ones first."""
        return self.known + self.past

    @property
    def variates(self) -> list[str]:
        """Names of all variates, in the order in which the model sees them."""
        return [one for column in self.columns for one in self.variates_of(column)]

    @property
    def fingerprint(self) -> str:
        """First 12 digits of the SHA-256 of the encoding."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def summary(self) -> str:
        """The columns in words, in alphabetical order."""
        words = {one: f"{one} (names)" if one in self.names else one for one in self.columns}
        known, past = (", ".join(words[one] for one in sorted(role)) or "none" for role in (self.known, self.past))
        return f"known: {known}; past: {past}"

    def variates_of(self, column: str) -> list[str]:
        """Names of the variates of one column."""
        return [f"{column}={name}" for name in self.names[column]] if column in self.names else [column]

    def encode(self, column: str, values: pd.Series) -> Float[np.ndarray, "variate row"]:
        """The variates of one column; missing values are missing in all of them.

        A name that the encoding does not have sets no indicator, and is logged.

        Raises:
            DataError: a numeric column holds something else.
        """
        if column not in self.names:
            if not pd.api.types.is_numeric_dtype(values):
                raise DataError(f"column {column!r} holds {values.dtype} values; a numeric covariate is expected")
            return values.to_numpy(np.float32, na_value=np.nan)[None]
        found = pd.Categorical(values)
        place = {name: index for index, name in enumerate(self.names[column])}
        lookup = np.array([place.get(str(name), len(place)) for name in found.categories], np.intp)
        codes = found.codes.astype(np.intp)
        missing = codes < 0
        self._warn(column, found, lookup)
        chosen = np.where(missing, len(place), lookup[codes] if len(lookup) else len(place))
        encoded = np.zeros((len(place) + 1, len(values)), np.float32)  # the last row takes what is unknown
        encoded[chosen, np.arange(len(values))] = 1.0
        encoded[:, missing] = np.nan
        return encoded[:-1]

    def _warn(self, column: str, found: pd.Categorical, lookup: np.ndarray) -> None:
        counts = np.bincount(found.codes[found.codes >= 0], minlength=len(found.categories))
        for index in np.flatnonzero((lookup == len(self.names[column])) & (counts > 0)):
            logger.warning(
                "column %r: the model was not trained with %r (%d rows); it sees none of the names there",
                column,
                str(found.categories[index]),
                counts[index],
            )

    def write(self, folder: Path) -> None:
        """Keep the encoding beside the weights of the model that was trained with it."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / ENCODING_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> "CovariateEncoding | None":
        """The encoding beside a checkpoint; None: it was trained without covariates.

        Raises:
            CheckpointError: the file is damaged.
        """
        file = Path(folder) / ENCODING_FILE
        if not file.is_file():
            return None
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            names = {column: tuple(found) for column, found in kept["names"].items()}
            return cls(known=tuple(kept["known"]), past=tuple(kept["past"]), lead=int(kept["lead"]), names=names)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{file} is damaged ({error}); train or fetch the model anew") from error


def arrange(
    encoding: CovariateEncoding, rows: pd.DataFrame, starts: np.ndarray, future: dict[str, pd.Series]
) -> list[Float[np.ndarray, "variate _time"]]:
    """The variates of every series, known ones moved by `lead`; the arrays are views of one.

    Args:
        encoding: what the columns become.
        rows: the covariates' columns, series by series.
        starts: first row of each series.
        future: of each known column the `lead` values behind every series, series by series; without a column nothing
            is known behind the ends.
    """
    lead, count = encoding.lead, len(rows)
    bounds = np.append(starts, count)
    series = np.repeat(np.arange(len(starts)), np.diff(bounds))
    later = np.arange(count) + lead
    ends = bounds[1:][series]
    is_inside = later < ends
    beyond = np.where(is_inside, 0, series * lead + later - ends)
    within = np.where(is_inside, later, 0)
    arranged = np.empty((len(encoding.variates), count), np.float32)
    filled = 0
    for column in encoding.columns:
        made = encoding.encode(column, rows[column])
        if column in encoding.known:
            ahead = np.full((len(made), len(starts) * lead), np.nan, np.float32)
            if column in future:
                ahead = encoding.encode(column, future[column])
            made = np.where(is_inside, made[:, within], ahead[:, beyond])
        arranged[filled : filled + len(made)] = made
        filled += len(made)
    return [arranged[:, start:end] for start, end in pairwise(bounds)]


def future_values(
    future: pd.DataFrame,
    encoding: CovariateEncoding,
    *,
    item_ids: Sequence[str],
    last_timestamps: pd.DatetimeIndex,
    freq: str,
) -> dict[str, pd.Series]:
    """Of each known column the `lead` values behind every series; missing where the frame has none.

    Args:
        future: item_id, timestamp and the known columns, rows in any order; rows elsewhere are ignored.
        encoding: the columns and the lead.
        item_ids: the series.
        last_timestamps: their ends.
        freq: distance of two time stamps.

    Raises:
        DataError: a column is absent, or a row is there twice.
    """
    for name in ("item_id", "timestamp", *encoding.known):
        if name not in future.columns:
            there = ", ".join(map(repr, future.columns))
            raise DataError(f"the frame of future covariates has no column {name!r}; it has {there}")
    given = pd.MultiIndex.from_arrays([future["item_id"].astype(str), future["timestamp"].astype("datetime64[ns]")])
    if given.has_duplicates:
        item, stamp = given[given.duplicated()][0]
        raise DataError(f"series {item!r}: the future covariates at {stamp} are there twice; keep one row")
    stamps = future_stamps(last_timestamps, freq, encoding.lead)
    needed = pd.MultiIndex.from_arrays([np.repeat(np.asarray(item_ids, dtype=object), encoding.lead), stamps.ravel()])
    place = given.get_indexer(needed)
    return {column: future[column].reset_index(drop=True).reindex(place) for column in encoding.known}


def check_future(
    values: dict[str, pd.Series],
    *,
    item_ids: Sequence[str],
    last_timestamps: pd.DatetimeIndex,
    freq: str,
    lead: int,
) -> None:
    """Refuse known covariates that lack a value for the horizon.

    Args:
        values: of each known column `lead` values per series.
        item_ids: the series.
        last_timestamps: their ends.
        freq: distance of two time stamps.
        lead: steps that must be there.

    Raises:
        DataError: names column, series, and the first time stamp without a value.
    """
    for column, found in values.items():
        missing = found.isna().to_numpy().reshape(-1, lead)
        lacking = np.flatnonzero(missing.any(axis=1))
        if len(lacking):
            first = lacking[0]
            stamp = future_stamps(last_timestamps[[first]], freq, lead)[0, np.argmax(missing[first])]
            more = f" (and {len(lacking) - 1:,} more series lack values)" if len(lacking) > 1 else ""
            raise DataError(
                f"known covariate {column!r} of series {item_ids[first]!r} has no value at {pd.Timestamp(stamp)}; "
                f"all {lead} steps behind the last target are needed{more}: add them to the data, or make it a past "
                "covariate"
            )


def future_stamps(last_timestamps: pd.DatetimeIndex, freq: str, steps: int) -> np.ndarray:
    """The time stamps behind each of some last ones: datetime64[ns], [series, step]."""
    offset = to_offset(freq)
    unique, place = np.unique(last_timestamps.to_numpy(), return_inverse=True)
    following = [pd.date_range(last, periods=steps + 1, freq=offset)[1:].to_numpy() for last in unique]
    return np.stack(following).astype("datetime64[ns]")[place]
