"""Which figures a report shows, drawn and ready for the page.

In: the job, the clean panel and what a run left on disk. Out: pictures, each with its section and
caption. Fails with `FileNotFoundError` when a file that is named does not exist.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from tasks import plots
from tasks.job import Job
from tasks.plot_style import figure_svg
from tasks.verdict import (
    SERIES,
    Window,
    choose_windows,
    is_baseline,
    model_label,
    pick_candidate,
    read_backtest,
    score_table,
)

SHOWN_SERIES = 4  # series whose future is drawn
Key = tuple[str, str]


@dataclass(frozen=True)
class Picture:
    """A figure as inline SVG and where it belongs."""

    section: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Gallery:
    """What there is to draw from; a part that is None has no pictures."""

    job: Job
    panel: pd.DataFrame
    values: list[str]
    backtest_folder: str | None
    candidate: str | None
    forecast_path: str | None
    loss_path: str | None

    def pictures(self) -> Iterator[Picture]:
        """Every picture of the report, in the order of the page."""
        for number, (section, caption, figure) in enumerate(self._figures()):
            yield Picture(section, caption, figure_svg(figure, f"f{number}"))

    def _figures(self) -> Iterator[tuple[str, str, Figure]]:
        windows: list[Window] = []
        if self.backtest_folder:
            models = [row["model"] for row in score_table(self.backtest_folder)]
            candidate = pick_candidate(score_table(self.backtest_folder), self.candidate)
            yield "steps", "", self._steps(self.backtest_folder, models, candidate)
            windows = choose_windows(read_backtest(self.backtest_folder, "scores"), candidate)
            for caption, figure in self._windows(self.backtest_folder, windows, models, candidate):
                yield "windows", caption, figure
        if self.forecast_path:
            yield "future", "", self._future(self.forecast_path, windows)
        yield "missing", "", plots.plot_missing(self.panel, self.values)
        if self.loss_path:
            yield "training", "", plots.plot_loss(pd.read_parquet(self.loss_path))

    def _label(self, model: str) -> str:
        season = self.job.season_length
        return model_label(model, frequency=self.job.frequency, season=season)

    def _steps(self, folder: str, models: list[str], candidate: str) -> Figure:
        labels = {name: self._label(name) for name in models}
        steps = read_backtest(folder, "steps")
        frequency = self.job.frequency
        return plots.plot_steps(steps, labels, candidate=candidate, frequency=frequency)

    def _windows(
        self, folder: str, windows: list[Window], models: list[str], candidate: str
    ) -> Iterator[tuple[str, Figure]]:
        """One figure per series; a single one when every series has a single window."""
        keys = list(dict.fromkeys((window.item_id, window.target_name) for window in windows))
        chosen = [("item_id", "in", [item for item, _ in keys])]
        forecasts = read_backtest(folder, "forecasts", filters=chosen) if keys else pd.DataFrame()
        baselines = [name for name in models if is_baseline(name) and name != candidate]
        groups = {
            f"{item} · {target}": [w for w in windows if (w.item_id, w.target_name) == (item, target)]
            for item, target in keys
        }
        if len(windows) == len(keys) and windows:
            groups = {"": windows}
        for caption, group in groups.items():
            figure = plots.plot_windows(
                group,
                forecasts[forecasts["model_name"] == candidate],
                self.panel[self.panel["item_id"].isin({window.item_id for window in group})],
                baseline=forecasts[forecasts["model_name"] == baselines[0]] if baselines else None,
                baseline_label=self._label(baselines[0]) if baselines else "",
            )
            yield caption, figure

    def _future(self, path: str, windows: list[Window]) -> Figure:
        """The series of the backtest's windows first, then others, up to a handful."""
        forecast = pd.read_parquet(path)
        known: list[Key] = list(forecast[SERIES].drop_duplicates().itertuples(index=False, name=None))
        seen = [(window.item_id, window.target_name) for window in windows]
        chosen = [key for key in dict.fromkeys([*seen, *known]) if key in set(known)]
        past = min(720, max(3 * self.job.horizon, 2 * self.job.season_length, 16))
        return plots.plot_future(forecast, self.panel, chosen[:SHOWN_SERIES], past=past)
