"""Figures draw what the frames hold, show gaps as gaps and names as they are."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from tasks import plots
from tasks.plot_style import THEME, compact, date_axis, figure_svg, short
from tasks.verdict import Window, period_name

ORIGIN = pd.Timestamp("2024-01-03 23:00")
NASTY = 'a"<b>&$x_1$ 値 id="q" #0072b2'


@pytest.fixture
def history():
    """Three days of hours of two series; a gap in the last day, one value alone in it."""
    times = pd.date_range("2024-01-01", ORIGIN, freq="h")
    frame = pd.DataFrame({"item_id": "a", "timestamp": times, "load": np.arange(72.0)})
    frame.loc[[60, 61, 63, 64], "load"] = np.nan
    return pd.concat([frame, frame.assign(item_id="b")], ignore_index=True)


@pytest.fixture
def forecasts():
    """One window of twelve hours after it, the third actual value missing."""
    times = pd.date_range(ORIGIN, periods=13, freq="h")[1:]
    levels = {"q10": 1.0, "q25": 2.0, "q50": 3.0, "q75": 4.0, "q90": 5.0}
    keys = {"item_id": "a", "target_name": "load", "window_origin": ORIGIN, "timestamp": times}
    frame = pd.DataFrame(keys | {"target": np.arange(12.0), "mean": 3.5} | levels)
    frame.loc[2, "target"] = np.nan
    return frame


def window(caption="last"):
    """The window of `forecasts`."""
    return Window("a", "load", ORIGIN, caption)


def bands(axes):
    """The filled bands of a panel."""
    return [band for band in axes.collections if isinstance(band, PolyCollection)]


def legend(figure):
    """What the legend of a figure says."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_window_shows_past_and_actual_values_with_their_gaps(history, forecasts):
    """One dark line holds the tail of the past and the window's actual values, NaN where missing."""
    axes = plots.plot_windows([window()], forecasts, history).axes[0]
    shown = axes.lines[0].get_ydata()
    past = history["load"].to_numpy()[48:72]
    np.testing.assert_array_equal(shown, np.concatenate([past, forecasts["target"]]))
    assert axes.lines[0].get_color() == THEME["ink"]


def test_value_between_two_gaps_is_a_dot(history, forecasts):
    """A line cannot show a single value, so it gets a mark of its own."""
    axes = plots.plot_windows([window()], forecasts, history).axes[0]
    assert axes.lines[1].get_marker() == "."
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [62.0])


def test_bands_follow_the_levels_there_are(history, forecasts):
    """80% and 50% where the quantiles exist, the widest pair otherwise, none without a pair."""
    both = plots.plot_windows([window()], forecasts, history)
    assert len(bands(both.axes[0])) == 2
    assert legend(both) == ["actual", "median forecast", "80% interval", "50% interval"]
    wide = forecasts.rename(columns={"q10": "q2.5", "q90": "q97.5"}).drop(columns=["q25", "q75"])
    assert legend(plots.plot_windows([window()], wide, history))[2:] == ["95% interval"]
    none = plots.plot_windows([window()], forecasts[[*forecasts.columns[:6]]], history)
    assert not bands(none.axes[0])
    assert legend(none) == ["actual", "mean forecast"]


def test_baseline_is_a_line_with_its_name(history, forecasts):
    """The other model's median is drawn and named."""
    rival = forecasts.assign(q50=7.0)
    figure = plots.plot_windows([window()], forecasts, history, baseline=rival, baseline_label="weekly seasonal naive")
    assert any(np.all(line.get_ydata() == 7.0) for line in figure.axes[0].lines[2:] if len(line.get_ydata()) == 12)
    assert legend(figure)[-1] == "weekly seasonal naive"


def test_odd_number_of_windows_leaves_no_empty_axes(history, forecasts):
    """Three windows stand side by side, five in two columns without a sixth panel."""
    for count in (3, 5):
        figure = plots.plot_windows([window()] * count, forecasts, history)
        assert len(figure.axes) == count


def test_future_shows_recent_history_then_the_forecast(history, forecasts):
    """The past ends at the origin with the asked number of steps; only the latest origin is drawn."""
    forecast = forecasts.rename(columns={"window_origin": "origin"})
    older = forecast.assign(origin=ORIGIN - pd.Timedelta(hours=1), q50=-9.0)
    frame = pd.concat([older, forecast])
    figure = plots.plot_future(frame, history, [("a", "load")], past=24)
    past, *others = figure.axes[0].lines
    assert len(past.get_ydata()) == 24
    assert past.get_xdata()[-1] == ORIGIN.to_datetime64()
    assert not any(-9.0 in line.get_ydata() for line in others)


def test_steps_are_drawn_per_model_with_the_nominal_line():
    """Both panels hold each model's values; the candidate is thick; coverage has its nominal line."""
    steps = step_frame({"metro": 0.1, "naive": 0.2})
    labels = {"metro": "metro", "naive": "last value"}
    figure = plots.plot_steps(steps, labels, candidate="metro", frequency="h")
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [0.1, 0.2, 0.3])
    assert left.lines[0].get_linewidth() > left.lines[1].get_linewidth()
    assert list(right.lines[2].get_ydata()) == [0.8, 0.8]
    assert legend(figure) == ["metro", "last value", "nominal 80%"]
    assert left.get_xlabel() == "horizon step (of 1 h)"


def test_step_without_a_score_is_a_gap():
    """A line is not drawn across a step that has no score."""
    steps = step_frame({"metro": 0.1})
    gappy = steps[steps["step"] != 2]
    left = plots.plot_steps(gappy, {"metro": "metro"}, candidate="metro", frequency="h").axes[0]
    np.testing.assert_allclose(left.lines[0].get_ydata(), [0.1, np.nan, 0.3])


def test_far_model_leaves_the_axis_and_says_so():
    """A model that would flatten all others is cut, but never the candidate or its last rival."""
    for levels, top, told in [
        ({"metro": 0.1, "starter": 0.2, "naive": 9.0}, 0.6, "naive (leaves the WQL axis)"),
        ({"metro": 9.0, "starter": 0.2, "naive": 0.1}, 27.0, "naive"),
        ({"metro": 0.1, "naive": 9.0}, 27.0, "naive"),
    ]:
        labels = {name: name for name in levels}
        figure = plots.plot_steps(step_frame(levels), labels, candidate="metro", frequency="h")
        assert figure.axes[0].get_ylim() == pytest.approx((0, top * 1.08))
        assert legend(figure)[-2] == told


def step_frame(levels):
    """Scores of three steps: WQL of a model's level times the step, coverage 70%."""
    rows = [
        (name, step, metric, level * step if metric == "wql" else 0.7)
        for name, level in levels.items()
        for step in (1, 2, 3)
        for metric in ("wql", "coverage_80")
    ]
    return pd.DataFrame(rows, columns=["model_name", "step", "metric", "value"])


def test_missing_strip_holds_the_share_per_day(history):
    """Complete days are 0, a day with gaps its share on a scale that starts high, absent days blank."""
    late = history[(history["item_id"] == "a") | (history["timestamp"] >= "2024-01-02")]
    axes = plots.plot_missing(late, ["load"]).axes[0]
    shown = axes.images[0].get_array()
    share = 0.25 + 0.75 * 4 / 24
    np.testing.assert_allclose(shown.filled(-1), [[0, 0, share], [-1, 0, share]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_xlabel() == "one column = 1 day"


def test_many_series_are_grouped_with_the_most_missing_first():
    """500 series become 100 rows without names, in falling order."""
    rng = np.random.default_rng(0)
    values = np.where(rng.random((500, 40)) < rng.random((500, 1)), np.nan, 1.0)
    panel = pd.DataFrame(
        {
            "item_id": np.repeat([f"s{number}" for number in range(500)], 40),
            "timestamp": np.tile(pd.date_range("2020-01-01", periods=40, freq="D"), 500),
            "y": values.ravel(),
        }
    )
    axes = plots.plot_missing(panel, ["y"]).axes[0]
    rows = axes.images[0].get_array().mean(axis=1)
    assert len(rows) == 100
    assert rows[0] > rows[50] > rows[-1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "500"]


@pytest.mark.parametrize(("frequency", "steps"), [("MS", 300), ("YS", 30), ("5min", 90), ("h", 1)])
def test_missing_strip_fits_every_rhythm(frequency, steps):
    """Months, years, minutes and a single row are drawn, at most 360 columns wide."""
    times = pd.date_range("1970-01-01", periods=steps, freq=frequency)
    panel = pd.DataFrame({"item_id": "a", "timestamp": times, "y": 1.0, "z": np.nan})
    figure = plots.plot_missing(panel, ["y", "z"])
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape[0] == 2
    assert 1 <= shown.shape[1] <= 360
    svg = figure_svg(figure, "f")
    assert svg.startswith("<svg")
    swatches = svg[svg.index('id="f-legend_1"') :]
    assert "var(--fig-red)" not in swatches  # the image cannot follow the page, so its legend must not


def test_loss_marks_the_best_validation():
    """The lowest validation is marked and named; without any there is no mark."""
    loss = pd.DataFrame({"step": [1, 2, 3, 4], "train_loss": [4.0, 3, 2, 1]})
    checked = loss.assign(validation_loss=[np.nan, 2.5, np.nan, 2.75])
    assert legend(plots.plot_loss(checked))[-1] == "best: 2.5000 at step 2"
    assert len(legend(plots.plot_loss(loss.assign(validation_loss=np.nan)))) == 2


def test_names_are_plain_text(history, forecasts):
    """Dollar signs make no formula; markup, quotes, ids and colours in a name stay text."""
    mine = forecasts.assign(item_id=NASTY, target_name="$y$")
    past = history.assign(item_id=NASTY).rename(columns={"load": "$y$"})
    shown = [Window(NASTY, "$y$", ORIGIN, "last"), Window("a", "$y$", ORIGIN, "best")]
    figure = plots.plot_windows(shown, mine, past, baseline=mine, baseline_label="_$hidden$")
    svg = figure_svg(figure, "f")
    assert short(NASTY).replace("<", "&lt;").replace(">", "&gt;").replace("&$", "&amp;$") in svg
    assert ">$y$<" in svg
    assert ">_$hidden$<" in svg


def test_svg_follows_the_page_and_is_reproducible(history, forecasts):
    """Theme colours become variables, ids carry the prefix, equal figures give equal text."""
    first, second = (figure_svg(plots.plot_windows([window()], forecasts, history), "f7") for _ in range(2))
    assert first == second
    assert "var(--fig-ink)" in first
    assert not any(colour in first for colour in THEME.values())
    assert 'id="f7-' in first
    assert "<metadata" not in first


@pytest.mark.parametrize("ticks", [5, 7])
def test_every_time_span_has_a_few_date_ticks(ticks):
    """From minutes to centuries, narrow or wide, the axis finds readable dates without a warning."""
    start = pd.Timestamp("2001-02-27 05:35")
    for hours in np.geomspace(0.1, 1e6, 150):
        axes = Figure().subplots()
        axes.plot([start, start + pd.Timedelta(hours=hours)], [0, 1])
        date_axis(axes, ticks=ticks)
        low, high = axes.get_xlim()
        assert 2 <= sum(low <= tick <= high for tick in axes.get_xticks()) <= ticks + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (1500, "1,500"), (2.5e6, "2.5m"), (-3e9, "-3bn"), (4e12, "4tn")],
)
def test_ticks_are_short(value, text):
    """Thousands are separated, millions and more carry a unit."""
    assert compact(value) == text


@pytest.mark.parametrize(
    ("frequency", "steps", "name"),
    [
        ("h", 1, "hourly"),
        ("h", 168, "weekly"),
        ("15min", 96, "daily"),
        ("MS", 12, "yearly"),
        ("QE", 1, "quarterly"),
        ("W-WED", 1, "weekly"),
        ("h", 5, None),
    ],
)
def test_spans_have_english_names(frequency, steps, name):
    """A season is named by the time it spans, whatever the frequency."""
    assert period_name(frequency, steps) == name
