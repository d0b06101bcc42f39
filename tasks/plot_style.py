"""The look that all figures share: colours, axes, dates, legends, and the way to SVG.

In: text and data of a figure. Out: matplotlib artists, or by `figure_svg` an inline SVG whose
colours are CSS variables (`--fig-ink`, ...), so that a page can darken. Names from the data are
never read as mathtext.
"""

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import dates as mdates
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

# Roles of colours; those of series follow Okabe and Ito, whom colour-blind readers tell apart.
THEME = {
    "ink": "#1f2933",
    "muted": "#667382",
    "grid": "#e3e7ec",
    "blue": "#0072b2",
    "green": "#009e73",
    "purple": "#b0578d",
    "sky": "#56b4e9",
    "orange": "#e69f00",
    "red": "#d55e00",
    "grey": "#8a94a0",
    "sand": "#b08a3c",
}
MODELS = ["green", "purple", "sky", "orange"]
BASELINES: list[tuple[str, Any]] = [
    ("red", (0, (4, 2))),
    ("sand", (0, (1, 1.4))),
    ("grey", (0, (5, 1.5, 1, 1.5))),
]
OUTER, INNER = 10.0, 25.0  # lower percent of the 80% and the 50% interval
BAND_OPACITY = (0.2, 0.3)
WIDTH = 10.0  # inches; 960 CSS pixels, the width of the report's page
UNITS = [(1e12, "tn"), (1e9, "bn"), (1e6, "m")]
ROLES = {colour: role for role, colour in THEME.items()}


def new_figure(rows: int, columns: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of the house width and its axes in reading order."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.patch.set_alpha(0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(THEME["grid"])
        axes.tick_params(colors=THEME["muted"], labelsize=8.5, length=3, width=0.6)
        axes.grid(color=THEME["grid"], lw=0.6)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    return figure, list(grid.flat)


def compact(value: float) -> str:
    """A tick's number: thousands separated, from a million on in words."""
    for size, unit in UNITS:
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:,.6g}"


def short(text: str, length: int = 28) -> str:
    """A name cut in the middle to a length, on one line."""
    line = " ".join(text.split())
    keep = (length - 1) // 2
    return line if len(line) <= length else f"{line[:keep]}…{line[-keep:]}"


def label_axes(axes: Axes, *, title: str, y: str) -> None:
    """Title (left, above) and y label; both plain text."""
    style: dict[str, Any] = {"loc": "left", "fontsize": 9.5, "color": THEME["ink"], "parse_math": False}
    axes.set_title(title, **style)
    axes.set_ylabel(short(y), fontsize=9, color=THEME["muted"], parse_math=False)
    axes.xaxis.label.set(color=THEME["muted"], fontsize=9)


def date_axis(axes: Axes, *, ticks: int = 7) -> None:
    """Dates on the x axis, as short as they stay unambiguous."""
    # below ticks // 2 units the next finer unit is used, which then always has a fitting interval
    locator = mdates.AutoDateLocator(minticks=ticks // 2, maxticks=ticks)
    formatter = mdates.ConciseDateFormatter(locator)
    formatter.formats = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]
    formatter.zero_formats = ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"]
    formatter.offset_formats = ["", "%Y", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y"]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set(color=THEME["muted"], fontsize=8.5)


def draw_line(axes: Axes, values: pd.Series, *, colour: str, width: float, order: int) -> None:
    """A line over time with gaps where values are missing; a value between two gaps is a dot."""
    x, y = values.index.to_numpy(), values.to_numpy(dtype=np.float64)
    axes.plot(x, y, color=THEME[colour], lw=width, zorder=order, solid_capstyle="round")
    missing = np.isnan(np.concatenate([[np.nan], y, [np.nan]]))
    alone = ~missing[1:-1] & missing[:-2] & missing[2:]
    axes.plot(x[alone], y[alone], ".", color=THEME[colour], ms=2.5 * width + 1, zorder=order)


def model_styles(names: Sequence[str], baselines: Sequence[str], candidate: str) -> dict[str, Any]:
    """Line style of each model: the candidate thick and blue, baselines dashed."""
    styles: dict[str, Any] = {}
    models = [name for name in names if name != candidate and name not in baselines]
    for place, name in enumerate(models):
        styles[name] = {"color": THEME[MODELS[place % len(MODELS)]], "lw": 1.4, "zorder": 4}
    for place, name in enumerate(baselines):
        colour, dashes = BASELINES[place % len(BASELINES)]
        styles[name] = {"color": THEME[colour], "lw": 1.2, "ls": dashes, "zorder": 3}
    styles[candidate] = {"color": THEME["blue"], "lw": 2.2, "zorder": 5}
    return styles


def add_legend(figure: Figure, entries: Sequence[tuple[Artist, str]]) -> None:
    """One legend over the whole figure; names with `_` in front or `$` are shown as they are."""
    legend = figure.legend(
        [artist for artist, _ in entries],
        [str(place) for place in range(len(entries))],
        loc="outside upper left",
        ncols=min(len(entries), 6),
        frameon=False,
        fontsize=9,
        handlelength=1.8,
        columnspacing=1.6,
    )
    for text, (_, label) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=short(label, 40), parse_math=False, color=THEME["ink"])


def draw_forecast(axes: Axes, mine: pd.DataFrame) -> None:
    """Bands and median of one forecast."""
    x = mine["timestamp"].to_numpy()
    for (low, high), opacity in zip(_bands(mine), BAND_OPACITY, strict=False):
        axes.fill_between(x, mine[low], mine[high], color=THEME["blue"], alpha=opacity, lw=0)
    median = mine.set_index("timestamp")[median_column(mine)]
    draw_line(axes, median, colour="blue", width=1.6, order=5)


def _bands(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """The 80% band (or the widest there is) and the 50% band, as pairs of quantile columns."""
    levels = {float(name[1:]): name for name in frame.columns if _is_quantile(name)}
    pairs = {low: (levels[low], levels[100 - low]) for low in levels if 100 - low in levels}
    below = sorted(low for low in pairs if low < 50)  # noqa: PLR2004 - percent, the median
    outer = OUTER if OUTER in below else next(iter(below), None)
    chosen = [low for low in (outer, INNER) if low in pairs]
    return [pairs[low] for low in dict.fromkeys(chosen)]


def _is_quantile(name: str) -> bool:
    return name[:1] == "q" and name[1:].replace(".", "", 1).isdecimal()


def median_column(frame: pd.DataFrame) -> str:
    """The column of a forecast frame drawn as its line: the median where there is one."""
    return "q50" if "q50" in frame.columns else "mean"


def forecast_legend(frame: pd.DataFrame, baseline: str | None) -> list[tuple[Artist, str]]:
    """Legend entries of a forecast beside actual values, and of a baseline where one is drawn."""
    entries: list[tuple[Artist, str]] = [
        (Line2D([], [], color=THEME["ink"], lw=1.1), "actual"),
        (
            Line2D([], [], color=THEME["blue"], lw=1.6),
            "median forecast" if median_column(frame) == "q50" else "mean forecast",
        ),
    ]
    for (low, high), opacity in zip(_bands(frame), BAND_OPACITY, strict=False):
        percent = float(high[1:]) - float(low[1:])
        entries.append((Patch(color=THEME["blue"], alpha=opacity, lw=0), f"{percent:g}% interval"))
    if baseline is not None:
        entries.append((Line2D([], [], color=THEME["red"], lw=0.9), baseline))
    return entries


def mark_origin(axes: Axes, origin: pd.Timestamp) -> None:
    """The line between what the model saw and what it did not."""
    x: Any = origin  # matplotlib converts dates, its annotations do not say so
    axes.axvline(x, color=THEME["muted"], lw=0.8, ls=(0, (2, 2)), zorder=1)


def figure_svg(figure: Figure, name: str) -> str:
    """A figure as inline SVG: text stays text, ids start with `name`, colours are CSS variables."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the browser has the font
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub(r"<[^>]+>", lambda tag: _localise(tag[0], name), svg)  # never in text


def _localise(tag: str, name: str) -> str:
    """One tag of an SVG with its ids prefixed and its colours made variables."""
    tag = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\1{name}-", tag)
    return re.sub(
        r"#[0-9a-f]{6}\b",
        lambda found: f"var(--fig-{ROLES[found[0]]})" if found[0] in ROLES else found[0],
        tag,
    )
