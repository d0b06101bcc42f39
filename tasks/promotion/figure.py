"""The gains of a challenger as a figure: a dot and its interval per model, a dot per segment.

In: the evidence. Out: a matplotlib `Figure`. Fails with `ValueError` where there is no gain to draw; ask `has_gains`.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tasks.plot_style import THEME, label_axes, new_figure, short
from tasks.promotion.evidence import Evidence

MOST_SEGMENTS = 20  # the worst ones are drawn
ROW = 0.34  # inches
FURTHEST = -1.0  # twice the loss; what is worse is an arrow there


def has_gains(evidence: Evidence | None) -> bool:
    """Whether there is something to draw."""
    found = evidence.standings if evidence else []
    return any(one.gain is not None and np.isfinite(one.gain) for one in found)


def plot_gains(evidence: Evidence, *, min_gain: float, max_loss: float) -> Figure:
    """Draw what the challenger gains over each of the others, and in each segment.

    Args:
        evidence: with at least one gain.
        min_gain: where the rule for the one that it has to beat stands.
        max_loss: where all other rules stand.
    """
    rows: list[tuple[str, float, tuple[float, float] | None, bool]] = []
    for one in evidence.standings:
        ends = None if one.low is None or one.high is None else (one.low, one.high)
        if one.gain is not None and np.isfinite(one.gain):
            rows.append((f"{one.part}, all windows", one.gain, ends, one.part == evidence.against))
    segments = [
        (f"{evidence.against}, {one.kind} {one.value}", one.gain, None, False)
        for one in evidence.segments
        if one.gain is not None and np.isfinite(one.gain)
    ]
    worst = sorted(gain for _, gain, *_ in segments)[:MOST_SEGMENTS]
    rows += [row for row in segments if row[1] <= worst[-1]][:MOST_SEGMENTS]
    if not rows:
        msg = "there is no gain to draw"
        raise ValueError(msg)
    figure, (axes,) = new_figure(1, 1, height=1.05 + ROW * len(rows))
    beyond = [gain < FURTHEST for _, gain, *_ in rows]
    for place, (_, gain, ends, is_main) in enumerate(rows):
        asked = min_gain if is_main else -max_loss
        colour = THEME["green" if gain >= asked else "red"]
        if asked >= FURTHEST:
            axes.plot([asked, asked], [place - 0.35, place + 0.35], color=THEME["muted"], lw=1.4, zorder=2)
        if ends is not None:
            shown = [max(end, FURTHEST) for end in ends]
            axes.plot(shown, (place, place), color=colour, lw=2.6, alpha=0.55, zorder=3, solid_capstyle="butt")
        axes.plot([max(gain, FURTHEST)], [place], "<" if beyond[place] else "o", color=colour, ms=7, zorder=4)
    axes.axvline(0, color=THEME["ink"], lw=0.9, zorder=1)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(np.arange(len(rows)), [short(name, 60) for name, *_ in rows])
    for text in axes.get_yticklabels():
        text.set(parse_math=False, color=THEME["ink"])
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.margins(x=0.08)
    said = "; an arrow: further out" if any(beyond) else ""
    label_axes(axes, title=f"Gain of the challenger over …  (right of the short bar is enough{said})", y="")
    return figure
