"""Naive and seasonal naive scores of every task beside the published ones.

    python -m benchmarks.baselines DATA_FOLDER

Prints ours, published (`baselines.csv` of the data folder) and the largest difference, and fails when
a score differs at six decimals. Rows marked * are the same evaluation as a configuration of GIFT-Eval.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from moirai.errors import DataError
from moirai.evaluation.forecasters import BaselineForecaster
from moirai.evaluation.rolling import rolling
from moirai.evaluation.tasks import TASKS, Task

METRICS = ("MASE", "WQL", "ND")
BASELINES = {
    "Naive": "naive",
    "SeasonalNaive": "seasonal_naive",
    "SeasonalNaive-week": "seasonal_naive:168",
}
WIDTH = 132  # of the table; a pipe counts as 80 columns, which would cut its cells
SIX_DECIMALS = 0.5e-6 + 1e-9  # half a unit of the last digit, and rounding of the comparison itself


@dataclass(frozen=True)
class Row:
    """Scores of one baseline on one task, in the order of METRICS."""

    task: Task
    model: str
    ours: np.ndarray
    published: np.ndarray

    @property
    def difference(self) -> float:
        """Largest difference of the scores; NaN where one is missing."""
        return float(np.abs(self.ours - self.published).max())

    @property
    def agrees(self) -> bool:
        """Whether all scores are equal to six decimals."""
        return self.difference <= SIX_DECIMALS


def compare(data: Path) -> list[Row]:
    """Every published row of our baselines, beside our scores."""
    tasks = {task.name: task for task in TASKS}
    published = pd.read_csv(data / "baselines.csv").query("model in @BASELINES")
    rows = []
    for name, lines in published.groupby("task", sort=False):
        task = tasks[str(name)]
        windows = rolling(task, task.data.load(data))
        for _, line in lines.iterrows():
            sums = windows.score(BaselineForecaster(BASELINES[line["model"]]))
            ours = np.array([sums.mase, sums.wql, sums.nd])
            rows.append(Row(task, line["model"], ours, line[list(METRICS)].to_numpy(dtype=float)))
    return rows


def as_table(rows: list[Row]) -> Table:
    """Ours and published side by side; a difference at six decimals is red."""
    table = Table(title="baselines: ours | published", caption="* same as a GIFT-Eval configuration")
    table.add_column("task", no_wrap=True)
    table.add_column("model", no_wrap=True)
    for metric in METRICS:
        table.add_column(metric, justify="right")
        table.add_column("publ.", justify="right", style="dim")
    table.add_column("max. diff.", justify="right")
    for row in rows:
        pairs = zip(row.ours, row.published, strict=True)
        numbers = [f"{number:.6f}" for pair in pairs for number in pair]
        difference = f"{row.difference:.1e}"
        table.add_row(
            row.task.name + ("*" if row.task.gift_eval else ""),
            row.model,
            *numbers,
            difference if row.agrees else f"[red]{difference}[/red]",
        )
    return table


def main(arguments: list[str]) -> int:
    """Compare, print, and return the exit status: 0 when every row agrees."""
    if len(arguments) != 1:
        print("usage: python -m benchmarks.baselines DATA_FOLDER", file=sys.stderr)
        return 2
    try:
        rows = compare(Path(arguments[0]))
    except (DataError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(as_table(rows))
    wrong = [f"{row.task.name} {row.model}" for row in rows if not row.agrees]
    console.print(f"{len(rows) - len(wrong)} of {len(rows)} rows agree to six decimals")
    if wrong:
        console.print(f"[red]different: {', '.join(wrong)}[/red]")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
