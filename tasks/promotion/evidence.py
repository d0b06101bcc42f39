"""What a backtest shows of the judged models: losses, gains with intervals, coverage, and all of that by segment.

In: a job, its panel, a finished backtest, and which of its models play which part. Out: `Evidence`, plain numbers.
Fails with `FileNotFoundError` when the backtest's tables are gone. Everything is read from the sums that the backtest
keeps per window (docs/architecture.md, "A backtest on disk"); horizon ranges, which these do not tell apart, are scored
from its forecasts. Windows that any of the judged models may have seen are left out first.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from moirai.evaluation.seasonality import to_offset
from tasks.backtest import BacktestResult
from tasks.job import Job
from tasks.panel import Moment, PanelRef, read_beside
from tasks.pooling import UNKNOWN, segment_name
from tasks.promotion.contenders import Contender, Part
from tasks.promotion.horizon_losses import horizon_losses
from tasks.promotion.interval import ENOUGH_SERIES, Gain, Unit, paired_gain, relative_gain
from tasks.verdict import SERIES, WINDOW, read_backtest

SUMS = {  # metric -> sum of the loss, and what it is divided by
    "wql": ("quantile_loss_sum", "abs_target_sum"),
    "mase": ("scaled_error_sum", "scaled"),
}


class Standing(BaseModel):
    """What one of them scored on the clean windows, and what the challenger gains over it."""

    model_config = ConfigDict(frozen=True)

    part: Part
    name: str
    version: str
    wql: float | None  # None: no score
    mase: float | None
    coverage: float | None  # share of actual values inside the central 80 % band
    gain: float | None = None  # of the challenger over it; None: it is the challenger, or there is nothing to compare
    low: float | None = None
    high: float | None = None


class SegmentGain(BaseModel):
    """One segment: what the challenger loses there, and what the other one does."""

    model_config = ConfigDict(frozen=True)

    kind: str  # name of the static column, or `horizon`
    value: str
    windows: int
    challenger: float | None  # loss; None: no score
    other: float | None
    gain: float | None


class Evidence(BaseModel):
    """Everything that the decision is made from."""

    model_config = ConfigDict(frozen=True)

    metric: Literal["wql", "mase"]
    confidence: float
    unit: Unit  # what the interval is drawn from
    series: int
    windows: int  # clean ones, over all series
    left_out: int  # windows that one of the models may have seen
    clean_from: Moment | None  # the moment up to which one of them may have seen
    first: Moment | None  # first and last time stamp that is forecast; None: no clean window
    last: Moment | None
    standings: list[Standing] = []  # the challenger first; none without a clean window
    against: Part = "zero-shot base"  # whom segments compare with
    segments: list[SegmentGain] = []


def gather(
    job: Job,
    panel: PanelRef,
    tested: BacktestResult,
    contenders: Sequence[Contender],
    *,
    clean_from: pd.Timestamp | None,
) -> Evidence:
    """Read the evidence from a backtest.

    Args:
        job: the block `promotion`, horizon and frequency.
        panel: its static columns make segments.
        tested: it scored all of the contenders.
        contenders: the challenger first; whoever comes second is the one that segments compare with.
        clean_from: windows that begin up to this moment are left out; None: all are clean.
    """
    asked = job.promotion
    scores = read_backtest(tested.folder, "scores")
    tables = {one.part: _sums(scores, one.label) for one in contenders}
    every = next(iter(tables.values())).index
    begins = _steps_after(job, every, 1)
    is_clean = np.ones(len(every), bool) if clean_from is None else begins > clean_from.to_datetime64()
    clean = every[is_clean]
    tables = {part: table.reindex(clean) for part, table in tables.items()}
    against = contenders[1]
    series = clean.to_frame()[SERIES].drop_duplicates()
    unit: Unit = "series" if len(series) >= ENOUGH_SERIES else "windows"
    evidence = Evidence(
        metric=asked.metric,
        confidence=asked.confidence,
        unit=unit,
        series=len(series),
        windows=len(clean),
        left_out=len(every) - len(clean),
        clean_from=clean_from,
        first=pd.Timestamp(begins[is_clean].min()) if len(clean) else None,
        last=pd.Timestamp(_steps_after(job, clean, job.horizon).max()) if len(clean) else None,
        against=against.part,
    )
    if not len(clean):
        return evidence
    standings = [_standing(one, tables, asked.metric, unit, asked.confidence) for one in contenders]
    pair = (tables["challenger"], tables[against.part])
    segments = [*_by_static(job, panel, *pair), *_by_range(job, tested, contenders[0], against, clean)]
    return evidence.model_copy(update={"standings": standings, "segments": segments})


def _steps_after(job: Job, windows: pd.MultiIndex, steps: int) -> np.ndarray:
    """The time stamp so many steps after the origin of each window."""
    origins = windows.get_level_values("window_origin")
    offset = to_offset(job.frequency)
    later = {origin: (origin + steps * offset).to_datetime64() for origin in origins.unique()}
    return np.array([later[origin] for origin in origins], "datetime64[ns]")


def _sums(scores: pd.DataFrame, label: str) -> pd.DataFrame:
    """The sums of one model, a row per window in the order of series and time."""
    mine = scores[scores["model_name"] == label]
    names = ["quantile_loss_sum", "abs_target_sum", "scaled_error_sum", "observed", "coverage_80"]
    wide = mine.pivot_table(index=WINDOW, columns="metric", values="value", aggfunc="first").reindex(columns=names)
    wide["scaled"] = wide["observed"].where(wide["scaled_error_sum"].notna())  # windows without a scale have no MASE
    wide["covered"] = wide["coverage_80"] * wide["observed"]
    return wide.sort_index()


def _loss(table: pd.DataFrame, metric: str) -> float:
    """WQL or MASE of all windows of a table; NaN where there is nothing to divide by."""
    above, below = (float(table[name].sum()) for name in SUMS[metric])
    return above / below if below > 0 else float("nan")


def _standing(one: Contender, tables: dict[Part, pd.DataFrame], metric: str, unit: Unit, confidence: float) -> Standing:
    table = tables[one.part]
    observed = float(table["observed"].sum())
    gain = Gain(float("nan"), None, None)
    if one.part != "challenger" and np.isfinite(_loss(table, metric)):  # a score of nothing shows no gain
        units = [_by_unit(tables[part][SUMS[metric][0]], unit) for part in ("challenger", one.part)]
        gain = paired_gain(*units, unit=unit, confidence=confidence)
    return Standing(
        part=one.part,
        name=one.name,
        version=one.version,
        wql=_known(_loss(table, "wql")),
        mase=_known(_loss(table, "mase")),
        coverage=float(table["covered"].sum()) / observed if observed else None,
        gain=None if np.isnan(gain.value) else gain.value,
        low=gain.low,
        high=gain.high,
    )


def _by_unit(losses: pd.Series, unit: Unit) -> np.ndarray:
    """Sums per series, or per number of the window counted from the end, the oldest first."""
    if unit == "series":
        return losses.groupby(level=SERIES).sum().to_numpy()
    number = losses.index.to_frame().groupby(level=SERIES)["window_origin"].rank("dense", ascending=False)
    return losses.groupby(number).sum().to_numpy()[::-1]


def _by_static(job: Job, panel: PanelRef, mine: pd.DataFrame, theirs: pd.DataFrame) -> Iterator[SegmentGain]:
    """The segments of static columns, in the order of their names."""
    static = read_beside(panel.static_path)
    for column in job.promotion.segments:
        assert static is not None, "a job with static columns has a panel with them"
        owner = pd.Series([segment_name(value) for value in static[column]], index=static["item_id"])
        names = mine.index.get_level_values("item_id").map(owner).fillna(UNKNOWN)
        for name in sorted(set(names)):
            part = names == name
            losses = [_loss(table[part], job.promotion.metric) for table in (mine, theirs)]
            yield _segment(column, name, int(part.sum()), *losses)


def _by_range(
    job: Job, tested: BacktestResult, mine: Contender, theirs: Contender, clean: pd.MultiIndex
) -> Iterator[SegmentGain]:
    """The segments of horizon ranges, as declared."""
    if not job.promotion.horizon_ranges:
        return
    losses = [horizon_losses(job, tested, one, clean) for one in (mine, theirs)]
    for (first, last), *both in zip(job.promotion.horizon_ranges, *losses, strict=True):
        yield _segment("horizon", f"steps {first} to {last}", len(clean), *both)


def _segment(kind: str, value: str, windows: int, mine: float, theirs: float) -> SegmentGain:
    gain = relative_gain(mine, theirs)
    return SegmentGain(
        kind=kind,
        value=value,
        windows=windows,
        challenger=_known(mine),
        other=_known(theirs),
        gain=None if np.isnan(gain) else gain,
    )


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
