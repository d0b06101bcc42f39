"""What bf16, cached decoding and inversion of the distribution function do to the scores of a model.

    python -m benchmarks.precision_effects DATA MODEL [MODEL ...] [--tasks a,b,c] [--context N] [--patch-size N]
                                           [--seeds N]

Each model is scored by default (fp32, exact decoding, quantiles by inversion) and with one choice changed at a time:
bf16; cached decoding, where there is a roll-out; quantiles of 100 sample paths as of published forecasts, where there
are distributions. What is drawn is drawn with several seeds: the mean counts, the spread is its standard deviation over
the seeds. Prints a table per model, then the same figures as one line of JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from moirai import MoiraiForecast, MoiraiModule, MoiraiMoEModule
from moirai.evaluation.forecasters import Contexts, Forecaster, ModelForecaster, Progress, Quantiles, Question
from moirai.evaluation.rolling import Rolling, rolling
from moirai.evaluation.tasks import tasks_named
from moirai.forecasting.inputs import SeriesInput

TASKS = "metro_traffic,pasta_sales_D_m7,us_employment,ett1_H_short"  # different scales, lengths and horizons
SAMPLES = 100  # of published forecasts
USUAL = "fp32, exact, inverted"
METRICS = ("mase", "wql")
WIDTH = 110


@dataclass(frozen=True)
class SampledForecaster:
    """Quantiles of sample paths."""

    name: str
    model: MoiraiForecast

    def quantiles(self, contexts: Contexts, question: Question, on_batch: Progress | None = None) -> Quantiles:
        """The draw nearest to each level, as published forecasts take it."""
        del on_batch  # there is no bar
        inputs = [SeriesInput(target=one[None]) for one in contexts]
        drawn = self.model.sample_inputs(inputs, samples=SAMPLES, horizon=question.horizon, freq=question.freq)
        return np.quantile(drawn[..., 0].astype(np.float64), question.levels, axis=1, method="nearest").swapaxes(0, 1)


def variants(reference: str, options: dict[str, Any], seeds: int) -> dict[str, list[Forecaster]]:
    """The model by default, then with one choice changed, each with every seed if something is drawn."""

    def load(seed: int, **changed: str) -> MoiraiForecast:
        return MoiraiForecast.from_pretrained(reference, seed=seed, **options, **changed)

    module = load(0).module
    drawn = range(seeds if isinstance(module, MoiraiMoEModule) else 1)
    made: dict[str, list[Forecaster]] = {
        USUAL: [ModelForecaster(reference, load(seed)) for seed in drawn],
        "bf16": [ModelForecaster(reference, load(seed, precision="bf16")) for seed in drawn],
    }
    if not isinstance(module, MoiraiModule):  # it forecasts in one pass
        made["cached"] = [ModelForecaster(reference, load(seed, decoding="cached")) for seed in drawn]
    if isinstance(module, (MoiraiModule, MoiraiMoEModule)):
        made[f"{SAMPLES} samples"] = [SampledForecaster(reference, load(seed)) for seed in range(seeds)]
    return made


def measure(windows: Rolling, forecasters: Sequence[Forecaster]) -> dict[str, float]:
    """Mean and spread of the scores over the seeds, and seconds of one of them."""
    clock = time.monotonic()
    sums = [windows.score(one) for one in forecasters]
    seconds = (time.monotonic() - clock) / len(forecasters)
    scores = {metric: np.array([float(getattr(one, metric)) for one in sums]) for metric in METRICS}
    found = {metric: float(values.mean()) for metric, values in scores.items()}
    return found | {f"{metric}_spread": float(values.std()) for metric, values in scores.items()} | {"seconds": seconds}


def as_table(reference: str, found: dict[str, dict[str, dict[str, float]]]) -> Table:
    """A row per task and variant; changes are those from the first variant."""
    table = Table(title=f"{reference}: scores, change in per cent, spread over seeds in per cent", title_justify="left")
    titles = ("task", "variant", "MASE", "change", "spread", "WQL", "change", "spread", "seconds")
    for title in titles:
        table.add_column(title, justify="left" if title in ("task", "variant") else "right", no_wrap=True)
    for task, by_variant in found.items():
        usual = by_variant[USUAL]
        for name, one in by_variant.items():
            cells = []
            for metric in METRICS:
                changes = (100 * (one[metric] / usual[metric] - 1), 100 * one[f"{metric}_spread"] / usual[metric])
                cells += [f"{one[metric]:.5f}", *(f"{change:+.3f}" for change in changes)]
            table.add_row(task, name, *cells, f"{one['seconds']:.1f}")
        table.add_section()
    return table


def main(arguments: list[str]) -> int:
    """Measure, print, return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision_effects", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--patch-size", type=int, help="of Moirai 1.x and Moirai-MoE; without one, as the family does")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args(arguments)
    windows = [rolling(task, task.data.load(asked.data)) for task in tasks_named(asked.tasks.split(","))]
    options = {"context_length": asked.context, "patch_size": asked.patch_size}
    everything = {}
    for reference in asked.models:
        made = variants(reference, options, asked.seeds)
        found = {one.task.name: {name: measure(one, same) for name, same in made.items()} for one in windows}
        Console(width=WIDTH).print(as_table(reference, found))
        everything[reference] = found
    print(json.dumps(everything))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
