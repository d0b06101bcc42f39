"""The figures: frames in, matplotlib figures out, nothing else.

In: forecast frames, panels, a backtest's steps, a loss table. Out: a `Figure` drawn without the
state of pyplot, for the report and for MLflow. A missing value is a gap, never bridged.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tasks.plot_style import (
    THEME,
    add_legend,
    date_axis,
    draw_forecast,
    draw_line,
    forecast_legend,
    label_axes,
    mark_origin,
    median_column,
    model_styles,
    new_figure,
    short,
)
from tasks.verdict import NOMINAL_COVERAGE, Window, is_baseline

SCALE = [  # of missing values, the same on light and dark pages: a single missing value is seen
    (0.0, "#55b3e838"),
    (0.2, "#55b3e838"),
    (0.2, "#f3d98b"),
    (0.6, "#e59e00"),
    (1.0, "#d45d00"),
]
STRIPS = 12  # rows of the missing-data figure that carry a name; of more, rows are groups
WIDE = 3  # windows that still stand side by side
RIVALRY = 3  # lines from which on one may leave the axis: the candidate keeps a rival
OUTLIER = 2.5  # peak over the next peak from which a line may leave the axis
COLUMNS = 360  # columns of the missing-data figure at most


def plot_windows(
    windows: Sequence[Window],
    forecasts: pd.DataFrame,
    history: pd.DataFrame,
    *,
    baseline: pd.DataFrame | None = None,
    baseline_label: str = "baseline",
) -> Figure:
    """Backtest windows as small multiples: recent past, actual values, median, bands, baseline.

    Args:
        windows: what is shown, in this order.
        forecasts: one model's rows of a backtest's `forecasts`.
        history: a clean panel that holds the windows' series.
        baseline: another model's rows, drawn as a thin line.
        baseline_label: name of that line.
    """
    columns = len(windows) if len(windows) <= WIDE else 2
    rows = -(-len(windows) // columns)
    figure, grid = new_figure(rows, columns, height=0.45 + 2.15 * rows)
    several = len({(window.item_id, window.target_name) for window in windows}) > 1
    for axes, window in zip(grid, windows, strict=False):
        mine = _of_window(forecasts, window)
        past = _past(history, window, steps=max(2 * len(mine), 16))
        after = mine.set_index("timestamp")["target"]
        draw_line(axes, pd.concat([past, after]), colour="ink", width=1.1, order=4)
        draw_forecast(axes, mine)
        if baseline is not None:
            other = _of_window(baseline, window).set_index("timestamp")
            draw_line(axes, other[median_column(other)], colour="red", width=0.9, order=3)
        mark_origin(axes, window.origin)
        name = f"{short(window.item_id)} · " if several else ""
        label_axes(axes, title=name + window.caption, y=window.target_name)
        date_axis(axes, ticks=7 if columns < WIDE else 5)
    for axes in grid[len(windows) :]:
        axes.remove()
    add_legend(figure, forecast_legend(forecasts, None if baseline is None else baseline_label))
    return figure


def plot_future(
    forecasts: pd.DataFrame,
    history: pd.DataFrame,
    series: Sequence[tuple[str, str]],
    *,
    past: int = 168,
) -> Figure:
    """Forecasts from the end of the data, after the recent past.

    Args:
        forecasts: one forecast frame.
        history: the clean panel that was forecast.
        series: (item_id, target_name) of the panels, from top to bottom.
        past: steps of history shown.
    """
    figure, grid = new_figure(len(series), 1, height=0.45 + 2.4 * len(series))
    for axes, (item, target) in zip(grid, series, strict=True):
        chosen = (forecasts["item_id"] == item) & (forecasts["target_name"] == target)
        mine = forecasts[chosen].sort_values("timestamp")
        origin = pd.Timestamp(mine["origin"].max())
        mine = mine[mine["origin"] == origin]
        before = _past(history, Window(item, target, origin, ""), steps=past)
        draw_line(axes, before, colour="ink", width=1.1, order=4)
        draw_forecast(axes, mine)
        mark_origin(axes, origin)
        label_axes(axes, title=f"{short(item, 60)} · from {origin:%Y-%m-%d %H:%M}", y=target)
        date_axis(axes)
    add_legend(figure, forecast_legend(forecasts, None))
    return figure


def plot_steps(steps: pd.DataFrame, labels: Mapping[str, str], *, candidate: str, frequency: str) -> Figure:
    """Error and coverage by horizon step, one line per model.

    Args:
        steps: a backtest's `steps`.
        labels: model name -> what the legend says, in the legend's order.
        candidate: the model drawn with a thick line.
        frequency: of the series, for the axis label.
    """
    figure, (left, right) = new_figure(1, 2, height=3.1)
    entries: list[tuple[Artist, str]] = []
    baselines = [name for name in labels if is_baseline(name) and name != candidate]
    styles = model_styles(list(labels), baselines, candidate)
    every = np.arange(1, steps["step"].max() + 1)  # a step without a score is a gap
    top, beyond = _ceiling(steps[steps["metric"] == "wql"], candidate)
    for name, label in labels.items():
        mine = steps[steps["model_name"] == name]
        for axes, metric in ((left, "wql"), (right, "coverage_80")):
            line = mine[mine["metric"] == metric].set_index("step")["value"]
            axes.plot(every, line.reindex(every).to_numpy(), **styles[name])
        said = f"{label} (leaves the WQL axis)" if name in beyond else label
        entries.append((Line2D([], [], **styles[name]), said))
    right.axhline(NOMINAL_COVERAGE, color=THEME["ink"], lw=0.9, ls=(0, (6, 3)), zorder=1)
    entries.append((Line2D([], [], color=THEME["ink"], lw=0.9, ls=(0, (6, 3))), "nominal 80%"))
    left.set_ylim(0, top)
    right.set_ylim(0, 1.02)
    right.yaxis.set_major_formatter(PercentFormatter(1))
    label_axes(left, title="Weighted quantile loss (lower is better)", y="WQL")
    label_axes(right, title="Actual values inside the 80% interval", y="share inside")
    unit = frequency if frequency[:1].isdigit() else f"1 {frequency}"
    for axes in (left, right):
        axes.set_xlabel(f"horizon step (of {unit})", parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.margins(x=0.01)
    add_legend(figure, entries)
    return figure


def plot_missing(panel: pd.DataFrame, columns: Sequence[str]) -> Figure:
    """Where values are missing over time: a strip per series, or per group of series when many.

    Args:
        panel: a clean panel.
        columns: the value columns to look at.
    """
    share, names, grid, width = _missing_share(panel, columns)
    named = len(names) <= STRIPS
    if not named:
        order = np.argsort(-np.nan_to_num(np.nanmean(share, axis=1)), kind="stable")
        groups = np.array_split(share[order], min(len(names), 100))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice")
            share = np.array([np.nanmean(group, axis=0) for group in groups])
    figure, (axes,) = new_figure(1, 1, height=0.95 + (0.26 * len(names) if named else 2.6))
    scale = LinearSegmentedColormap.from_list("missing", SCALE)
    colours = scale.with_extremes(bad=(0, 0, 0, 0))
    shown = np.where(share > 0, 0.25 + 0.75 * share, share)
    start, end = grid.astype("datetime64[s]").astype(float)[[0, -1]] / 86400  # days, as matplotlib counts
    extent = (start, end, len(share), 0)
    axes.imshow(shown, cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation="none", extent=extent)
    axes.xaxis_date()
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    if named:
        labels = [short(name, 26) for name in names]
        axes.set_yticks(np.arange(len(names)) + 0.5, labels=labels, parse_math=False)
        for line in range(1, len(names)):
            axes.axhline(line, color=THEME["grid"], lw=2)
    else:
        axes.set_yticks([0, len(share)], labels=["1", f"{len(names):,}"])
        axes.set_ylabel("series, most missing first", color=THEME["muted"], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"one column = {width}", color=THEME["muted"], fontsize=9)
    date_axis(axes)
    levels = {"complete": 0.0, "a few missing": 0.25, "half missing": 0.625, "all missing": 1.0}
    add_legend(figure, [(Patch(color=colours(level)), label) for label, level in levels.items()])
    return figure


def plot_loss(loss: pd.DataFrame) -> Figure:
    """Training and validation loss by step, the best validation marked.

    Args:
        loss: columns step, train_loss, validation_loss (NaN where not evaluated).
    """
    figure, (axes,) = new_figure(1, 1, height=2.8)
    train = loss.dropna(subset=["train_loss"]).sort_values("step")
    checked = loss.dropna(subset=["validation_loss"]).sort_values("step")
    smooth = train["train_loss"].rolling(max(1, len(train) // 20), min_periods=1).mean()
    axes.plot(train["step"], train["train_loss"], color=THEME["grey"], lw=0.6, alpha=0.6)
    axes.plot(train["step"], smooth, color=THEME["grey"], lw=1.5)
    axes.plot(checked["step"], checked["validation_loss"], color=THEME["blue"], lw=1.8, marker="o", ms=3.5)
    entries: list[tuple[Artist, str]] = [
        (Line2D([], [], color=THEME["grey"], lw=1.5), "training (smoothed over the thin line)"),
        (Line2D([], [], color=THEME["blue"], lw=1.8, marker="o", ms=3.5), "validation"),
    ]
    if len(checked):
        best = checked.loc[checked["validation_loss"].idxmin()]
        style: dict[str, Any] = {"color": THEME["red"], "marker": "D", "ms": 6, "ls": "none"}
        axes.plot([best["step"]], [best["validation_loss"]], zorder=6, **style)
        axes.axvline(float(best["step"]), color=THEME["red"], lw=0.8, ls=(0, (3, 3)), zorder=1)
        said = f"best: {best['validation_loss']:.4f} at step {best['step']:.0f}"
        entries.append((Line2D([], [], **style), said))
    label_axes(axes, title="", y="loss (lower is better)")
    axes.set_xlabel("optimiser step")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    add_legend(figure, entries)
    return figure


def _ceiling(wql: pd.DataFrame, candidate: str) -> tuple[float | None, set[str]]:
    """Top of the WQL axis, and the models so far above all others that they would flatten them."""
    peaks = wql.groupby("model_name")["value"].max().dropna().sort_values(ascending=False)
    beyond: set[str] = set()
    while len(peaks) >= RIVALRY and peaks.iloc[0] > OUTLIER * peaks.iloc[1]:
        if peaks.index[0] == candidate:
            break
        beyond.add(str(peaks.index[0]))
        peaks = peaks.iloc[1:]
    top = float(peaks.iloc[0]) * 1.08 if len(peaks) else 0.0
    return top or None, beyond


def _of_window(forecasts: pd.DataFrame, window: Window) -> pd.DataFrame:
    chosen = (
        (forecasts["item_id"] == window.item_id)
        & (forecasts["target_name"] == window.target_name)
        & (forecasts["window_origin"] == window.origin)
    )
    return forecasts[chosen].sort_values("timestamp")


def _past(history: pd.DataFrame, window: Window, *, steps: int) -> pd.Series:
    """The last `steps` values up to a window's origin, by time stamp."""
    chosen = (history["item_id"] == window.item_id) & (history["timestamp"] <= window.origin)
    return history[chosen].set_index("timestamp")[window.target_name].iloc[-steps:]


def _missing_share(panel: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, list[str], np.ndarray, str]:
    """Share missing per series and span of time (NaN: no rows), names, edges, width of a span."""
    items, names = pd.factorize(panel["item_id"])
    times, place = np.unique(panel["timestamp"].to_numpy(), return_inverse=True)
    step = pd.Timedelta(np.median(np.diff(times))) if len(times) > 1 else pd.Timedelta(days=1)
    day = max(1, round(pd.Timedelta(days=1) / step))
    wanted = -(-len(times) // COLUMNS)
    width = wanted if wanted < day and len(times) < 2 * day else -(-wanted // day) * day
    spans = -(-len(times) // width)
    cells = items * spans + place // width
    rows = np.bincount(cells, minlength=len(names) * spans).astype(float)
    shares, labels = [], []
    for column in columns:
        gaps = panel[column].isna().to_numpy(dtype=float)
        lost = np.bincount(cells, weights=gaps, minlength=len(rows))
        shares.append(np.divide(lost, rows, out=np.full_like(rows, np.nan), where=rows > 0))
        labels += [_strip_name(str(name), column, len(names), len(columns)) for name in names]
    share = np.concatenate([flat.reshape(len(names), spans) for flat in shares])
    edges = np.append(times[::width], times[-1] + step.to_timedelta64())
    return share, labels, edges, _span_name(step * width, width)


def _strip_name(item: str, column: str, items: int, columns: int) -> str:
    if items == 1:
        return column
    return item if columns == 1 else f"{item} · {column}"


def _span_name(width: pd.Timedelta, steps: int) -> str:
    days = width / pd.Timedelta(days=1)
    if steps == 1:
        return "one step"
    return f"{days:g} day{'s' if days != 1 else ''}" if days >= 1 else f"{steps} steps"
