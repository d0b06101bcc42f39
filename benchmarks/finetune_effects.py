"""What fine-tuning gains on three data sets, by which method, and what it does to data it was not tuned on.

    python -m benchmarks.finetune_effects DATA MODEL [--methods full,lora] [--seeds N] [--steps N] [--context N]
                                          [--lora-rank N] [--patch-size N] [--others a,b,c] [--precision bf16]

The base is tuned on metro traffic, pasta sales and ETTm1, each on the steps before the first window of its task, and
scored on the windows of all three and of `--others`. First table: WQL before and after on the data tuned on, the gain,
the share of the parameters trained, and the share of full fine-tuning's gain that each other method gets; medians over
the seeds. Second table: WQL on every other data set relative to the base's. Then the same figures as one line of JSON.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from moirai import MoiraiForecast
from moirai.evaluation.forecasters import BaselineForecaster, Forecaster, ModelForecaster
from moirai.evaluation.rolling import Rolling, rolling
from moirai.evaluation.tasks import Task, tasks_named
from moirai.evaluation.windows import origins
from moirai.forecasting.forecast import DEFAULT_CONTEXT
from moirai.hub import load_module, resolve
from moirai.training.finetune import FinetuneSettings, finetune

TUNED = ("ettm1_short", "metro_traffic", "pasta_sales_D_m7")
OTHERS = "us_gasoline,us_employment,beijing_pm25"  # nothing is tuned on these
WEEKLY = {"metro_traffic": "seasonal_naive:168"}  # a stronger baseline than the season of the task
WIDTH = 120


@dataclass(frozen=True)
class Run:
    """One fine-tuning and the WQL of the weights that it kept on every task."""

    tuned_on: str
    method: str
    seed: int
    trained_share: float
    best_step: int
    seconds: float
    wql: dict[str, float]

    def gain(self, base: dict[str, float]) -> float:
        """Share of the base's WQL on the data tuned on that is gone."""
        return 1 - self.wql[self.tuned_on] / base[self.tuned_on]


def training_span(task: Task, frame: pd.DataFrame) -> list[np.ndarray]:
    """Every series up to the task's first window."""
    first = int(origins(len(frame), horizon=task.horizon, windows=task.windows)[0])
    return list(frame.to_numpy(dtype=np.float64)[:first].T)


def wql(forecaster: Forecaster, windows: Rolling) -> float:
    """Weighted quantile loss on a task."""
    return float(windows.score(forecaster).wql)


def choices(asked: argparse.Namespace) -> dict[str, Any]:
    """How base and tuned models forecast."""
    context = DEFAULT_CONTEXT if asked.context is None else asked.context
    return {"context_length": context, "patch_size": asked.patch_size, "decoding": asked.decoding}


def tune(asked: argparse.Namespace, task: Task, windows: Sequence[Rolling], method: str, seed: int) -> Run:
    """Fine-tune the base on one data set, score it on all, with the choices that the base is scored with."""
    settings = FinetuneSettings(
        horizon=task.horizon,
        context=asked.context,
        patch_size=asked.patch_size,
        method=method,
        max_steps=asked.steps,
        precision=asked.precision,
        seed=seed,
        **({"lora_rank": asked.lora_rank} if asked.lora_rank else {}),
    )
    clock = time.monotonic()
    module = load_module(resolve(asked.model))
    result = finetune(module, training_span(task, task.data.load(asked.data)), settings)
    seconds = time.monotonic() - clock
    tuned = ModelForecaster("tuned", MoiraiForecast(result.module, **choices(asked)))
    found = {one.task.name: wql(tuned, one) for one in windows}
    return Run(task.name, method, seed, result.trained_share, result.best_step, seconds, found)


def gains_table(runs: Sequence[Run], base: dict[str, float], naive: dict[str, float]) -> Table:
    """A row per data set and method: medians over the seeds."""
    table = Table(title="WQL on the held-out windows of the data tuned on, medians over seeds", title_justify="left")
    titles = ("tuned on", "method", "trained", "naive", "zero-shot", "tuned", "gain", "of full", "best step", "seconds")
    for place, title in enumerate(titles):
        table.add_column(title, justify="left" if place <= 1 else "right", no_wrap=True)
    methods = list(dict.fromkeys(one.method for one in runs))
    for name in dict.fromkeys(one.tuned_on for one in runs):
        by_method = {
            method: [one for one in runs if (one.tuned_on, one.method) == (name, method)] for method in methods
        }
        gains = {method: float(np.median([one.gain(base) for one in same])) for method, same in by_method.items()}
        for method, same in by_method.items():
            share = f"{100 * gains[method] / gains['full']:.0f} %" if gains.get("full", 0.0) > 0 else "-"
            figures = [
                f"{100 * same[0].trained_share:.2f} %",
                f"{naive[name]:.4f}",
                f"{base[name]:.4f}",
                f"{np.median([one.wql[name] for one in same]):.4f}",
                f"{100 * gains[method]:.1f} %",
                share,
                f"{np.median([one.best_step for one in same]):.0f}",
                f"{np.median([one.seconds for one in same]):.0f}",
            ]
            table.add_row(name, method, *figures)
        table.add_section()
    return table


def others_table(runs: Sequence[Run], base: dict[str, float]) -> Table:
    """WQL relative to the base's on every task, medians over the seeds; below 1 is better than zero-shot."""
    table = Table(title="WQL relative to zero-shot, [tuned on]", title_justify="left")
    for title in ("tuned on", "method"):
        table.add_column(title, no_wrap=True)
    for name in base:
        table.add_column(name, justify="right")
    for pair in dict.fromkeys((one.tuned_on, one.method) for one in runs):
        same = [one for one in runs if (one.tuned_on, one.method) == pair]
        cells = [f"{np.median([one.wql[name] for one in same]) / base[name]:.3f}" for name in base]
        table.add_row(*pair, *(f"[{one}]" if name == pair[0] else one for name, one in zip(base, cells, strict=True)))
    return table


def arguments_of(arguments: list[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetune_effects")
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--methods", default="full,lora")
    parser.add_argument("--tuned", default=",".join(TUNED), help="tasks to tune on")
    parser.add_argument("--others", default=OTHERS, help="further tasks to score on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument(
        "--context", type=int, help="to tune and forecast with; without one, derived from the series, and 2048"
    )
    parser.add_argument("--patch-size", type=int, help="to tune and forecast at; without one, as each does by itself")
    parser.add_argument("--lora-rank", type=int)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--decoding", default="exact", choices=("exact", "cached"))
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Tune, score, print, return the exit status."""
    asked = arguments_of(arguments)
    logging.basicConfig(format="%(message)s")
    tuned = tasks_named(asked.tuned.split(","))
    further = tasks_named(asked.others.split(",")) if asked.others else []
    windows = [rolling(task, task.data.load(asked.data)) for task in [*tuned, *further]]
    untouched = ModelForecaster("base", MoiraiForecast.from_pretrained(asked.model, **choices(asked)))
    base = {one.task.name: wql(untouched, one) for one in windows}
    naive = {
        one.task.name: wql(BaselineForecaster(WEEKLY.get(one.task.name, "seasonal_naive")), one) for one in windows
    }
    runs = []
    for task in tuned:
        for method in asked.methods.split(","):
            for seed in range(asked.seeds):
                run = tune(asked, task, windows, method, seed)
                runs.append(run)
                gain = f"WQL {base[task.name]:.4f} -> {run.wql[task.name]:.4f}"
                print(f"{task.name} {method} seed {seed}: {gain}, {run.seconds:.0f} s", file=sys.stderr, flush=True)
    console = Console(width=WIDTH)
    console.print(gains_table(runs, base, naive))
    console.print(others_table(runs, base))
    print(json.dumps({"model": asked.model, "zero_shot": base, "naive": naive, "runs": [asdict(one) for one in runs]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
