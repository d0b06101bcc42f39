"""What a backtest says: the score table, the verdict in words and the windows worth looking at.

In: the folder of a backtest. Out: plain records and sentences, made of its numbers only. Fails with
`FileNotFoundError` when the folder lacks one of the backtest's tables. In every frame read here
`model_name` is unique: where one name stands for several versions, the version follows in brackets.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

METRICS = ["mase", "wql", "nd", "coverage_80"]
NOMINAL_COVERAGE = 0.8
CALIBRATED = 0.03  # distance from the nominal coverage that still counts as right
RIVALS = 4  # models that the first sentence compares with
SERIES = ["item_id", "target_name"]
WINDOW = [*SERIES, "window_origin"]
BASELINE = re.compile(r"naive|seasonal_naive(?::(\d+))?")
PERIODS = {
    "hourly": (1 / 24, 1 / 24),
    "daily": (1, 1),
    "weekly": (7, 7),
    "monthly": (28, 31),
    "quarterly": (89, 92),
    "yearly": (363, 366),
}


@dataclass(frozen=True)
class Window:
    """One backtest window of one series, and why it is shown."""

    item_id: str
    target_name: str
    origin: pd.Timestamp
    caption: str


@dataclass(frozen=True)
class Verdict:
    """The outcome in words: a tone for the eye, a headline and sentences with numbers."""

    tone: Literal["good", "mixed", "bad", "none"]
    headline: str
    sentences: list[str]


def period_name(frequency: str, steps: int) -> str | None:
    """English name of `steps` steps of a frequency (`daily`, ...), None where there is none."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    start = offset.rollforward(pd.Timestamp("2023-01-01"))
    days = (start + steps * offset - start) / pd.Timedelta(days=1)
    found = (name for name, (low, high) in PERIODS.items() if low - 1e-9 <= days <= high + 1e-9)
    return next(found, None)


def model_label(name: str, *, frequency: str, season: int) -> str:
    """A model's name for people: `seasonal_naive:168` of hours is the weekly seasonal naive."""
    match = BASELINE.fullmatch(name)
    if match is None or name == "naive":
        return name
    steps = int(match[1] or season)
    period = period_name(frequency, steps)
    return f"{period} seasonal naive" if period else f"seasonal naive of {steps} steps"


def is_baseline(name: str) -> bool:
    """Whether a model name is that of a statistical baseline."""
    return BASELINE.fullmatch(name) is not None


def read_backtest(folder: str | Path, table: str, *, filters: list[tuple[str, str, Any]] | None = None) -> pd.DataFrame:
    """One table of a backtest, with unique model names.

    Args:
        folder: the backtest's folder.
        table: `forecasts`, `scores`, `summary` or `steps`.
        filters: pyarrow row filters on columns other than the model.
    """
    names = ["model_name", "model_version"]
    models = pd.read_parquet(Path(folder) / "summary.parquet", columns=names).drop_duplicates()
    frame = pd.read_parquet(Path(folder) / f"{table}.parquet", filters=filters)
    repeated = set(models.loc[models["model_name"].duplicated(), "model_name"])
    named = frame["model_name"].astype(str)
    versioned = named + " (" + frame["model_version"].astype(str) + ")"
    return frame.assign(model_name=named.where(~named.isin(repeated), versioned))


def score_table(folder: str | Path) -> list[dict[str, Any]]:
    """Scores of every model on the same windows, best WQL first.

    Args:
        folder: the backtest's folder.

    Returns:
        One record per model: `model`, `version`, the four metrics (None where nothing was observed)
        and `windows`.
    """
    summary = read_backtest(folder, "summary")
    windows = read_backtest(folder, "scores")[["model_name", *WINDOW]].drop_duplicates()
    counts = windows.groupby("model_name").size()
    values = summary.pivot_table(
        index="model_name", columns="metric", values="value", aggfunc="first", sort=False
    ).reindex(columns=METRICS)
    versions = summary.groupby("model_name")["model_version"].first()
    rows = []
    for name in summary["model_name"].unique():
        scores = {metric: _finite(values[metric].get(name, np.nan)) for metric in METRICS}
        version = versions.get(name)
        rows.append(
            {"model": name, "version": "" if version is None else str(version)}
            | scores
            | {"windows": int(counts.get(name, 0))}
        )
    return sorted(rows, key=lambda row: (row["wql"] is None, row["wql"] or 0.0))


def best_models(rows: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Models that are best per metric; those equal to three digits share the mark."""
    best = {}
    for metric in METRICS:
        target = NOMINAL_COVERAGE if metric == "coverage_80" else 0.0
        losses = {row["model"]: round(abs(row[metric] - target), 3) for row in rows if row[metric] is not None}
        best[metric] = {name for name, loss in losses.items() if loss == min(losses.values())}
    return best


def pick_candidate(rows: list[dict[str, Any]], wanted: str | None) -> str:
    """The model a report is about: the one wanted (latest version), else the best non-baseline."""
    if wanted is not None:
        named = [r for r in rows if re.fullmatch(re.escape(wanted) + r"( \(.*\))?", r["model"])]
        if not named:
            known = ", ".join(row["model"] for row in rows)
            msg = f"the backtest has no model {wanted!r}; it has {known}"
            raise ValueError(msg)
        return max(named, key=lambda row: _version_order(row["version"]))["model"]
    models = [row for row in rows if not is_baseline(row["model"])] or rows
    return models[0]["model"]


def judge(folder: str | Path, *, candidate: str | None, noun: str, frequency: str, season: int) -> Verdict:
    """The verdict on a candidate against every other model of a backtest.

    Args:
        folder: the backtest's folder.
        candidate: a model name; None: the best model that is no baseline.
        noun: what the candidate is called, such as `fine-tuned model`.
        frequency: of the series, to name the baselines.
        season: steps of the job's season, to name the baselines.
    """
    rows = score_table(folder)
    name = pick_candidate(rows, candidate)
    mine = next(row for row in rows if row["model"] == name)
    others = [row for row in rows if row["model"] != name and row["wql"] is not None]
    if mine["wql"] is None:
        return Verdict("none", "The backtest holds no actual values to score against.", [])
    label = {row["model"]: model_label(row["model"], frequency=frequency, season=season) for row in rows}
    against = _listed(
        f"{_relation(mine['wql'], row['wql'])} {label[row['model']]} ({row['wql']:.3f})"
        for row in reversed(others[:RIVALS])
    )
    opening = f"The {noun} `{name}` has a WQL of {mine['wql']:.3f}"
    sentences = [f"{opening}: {against}." if against else f"{opening}."]
    sentences += [_rank(mine, others, label)] if others else []
    sentences += _wins(folder, name, others, label)
    sentences += [_calibration(mine["coverage_80"])] if mine["coverage_80"] is not None else []
    tone, headline = _headline(mine, others)
    return Verdict(tone, headline, sentences)


def choose_windows(scores: pd.DataFrame, candidate: str, *, series: int = 3) -> list[Window]:
    """The last, best, median and worst window of a few series, each shown once.

    Args:
        scores: the backtest's `scores`.
        candidate: the model whose windows count.
        series: at most so many series; of more, those evenly spread over the ranks of their WQL.
    """
    mine = scores[scores["model_name"] == candidate]
    wql = mine[(mine["metric"] == "wql") & np.isfinite(mine["value"])]
    chosen = []
    for key in _choose_series(mine, wql, series):
        item, target = key
        own = wql[(wql["item_id"] == item) & (wql["target_name"] == target)]
        ranked = own.sort_values(["value", "window_origin"], kind="stable").reset_index(drop=True)
        places = {
            "last": int(ranked["window_origin"].argmax()),
            "best": 0,
            "median": (len(ranked) - 1) // 2,
            "worst": len(ranked) - 1,
        }
        for place in dict.fromkeys(places.values()):
            row = ranked.loc[place]
            roles = [role for role, at in places.items() if at == place]
            role = "only window" if len(ranked) == 1 else ", ".join(roles)
            caption = f"{role} · WQL {row['value']:.3f}"
            chosen.append(Window(item, target, pd.Timestamp(row["window_origin"]), caption))
    return chosen


def _choose_series(mine: pd.DataFrame, wql: pd.DataFrame, count: int) -> list[tuple[str, str]]:
    """At most `count` series: all, or those spread evenly over the ranks of pooled WQL."""
    known = list(wql[SERIES].drop_duplicates().itertuples(index=False, name=None))
    if len(known) <= count:
        return known
    sums = mine.pivot_table(index=SERIES, columns="metric", values="value", aggfunc="sum")
    pooled = sums["quantile_loss_sum"] / sums["abs_target_sum"]
    ranked = pooled.replace([np.inf, -np.inf], np.nan).dropna().sort_values(kind="stable").index
    keys = [key for key in ranked if key in set(known)]
    places = np.linspace(0, len(keys) - 1, count).round().astype(int)
    return [keys[place] for place in dict.fromkeys(places.tolist())]


def _listed(parts: Iterable[str]) -> str:
    """The parts as English lists them: `a`, `a and b`, `a, b and c`."""
    *first, last = list(parts) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _relation(mine: float, other: float) -> str:
    if f"{mine:.3f}" == f"{other:.3f}":
        return "level with"
    side = "below" if mine < other else "above"
    if other == 0:
        return side
    percent = abs(mine / other - 1) * 100
    return f"{percent:.0f}% {side}" if percent >= 1 else f"less than 1% {side}"


def _headline(
    mine: dict[str, Any], others: list[dict[str, Any]]
) -> tuple[Literal["good", "mixed", "bad", "none"], str]:
    baselines = [row for row in others if is_baseline(row["model"])]
    beaten = sum(round(mine["wql"], 3) < round(row["wql"], 3) for row in baselines)
    if not baselines:
        return "none", "No baseline was scored beside it"
    if beaten == len(baselines):
        return "good", "Better than every baseline" if beaten > 1 else "Better than the baseline"
    if beaten == 0:
        return "bad", "Not better than any baseline"
    return "mixed", f"Better than {beaten} of {len(baselines)} baselines"


def _rank(mine: dict[str, Any], others: list[dict[str, Any]], label: dict[str, str]) -> str:
    first = others[0]
    if round(mine["wql"], 3) < round(first["wql"], 3):
        return f"No other of the {len(others) + 1} scored models has a lower WQL."
    if round(mine["wql"], 3) == round(first["wql"], 3):
        return f"It shares the lowest WQL with {label[first['model']]}."
    return f"The lowest WQL is that of {label[first['model']]}."


def _wins(folder: str | Path, name: str, others: list[dict[str, Any]], label: dict[str, str]) -> list[str]:
    rivals = [row["model"] for row in others if is_baseline(row["model"])]
    if not rivals:
        return []
    scores = read_backtest(folder, "scores", filters=[("metric", "==", "wql")])
    table = scores.pivot_table(index=WINDOW, columns="model_name", values="value")
    pair = table.reindex(columns=[name, rivals[0]]).dropna()
    won = int((pair[name] < pair[rivals[0]]).sum())
    strongest = f"{label[rivals[0]]}, the strongest baseline"
    return [f"Window by window it beats {strongest}, in {won:,} of {len(pair):,}."]


def _calibration(coverage: float) -> str:
    words = {
        True: "about right",
        False: "too wide" if coverage > NOMINAL_COVERAGE else "too narrow",
    }
    judgement = words[abs(coverage - NOMINAL_COVERAGE) <= CALIBRATED]
    return f"Its 80% interval holds {coverage:.1%} of the actual values: {judgement}."


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _version_order(version: str) -> tuple[int, str]:
    return (int(version) if version.isdecimal() else -1, version)
