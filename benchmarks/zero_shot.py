"""Zero-shot scores of a model on every task, relative to seasonal naive.

    python -m benchmarks.zero_shot DATA_FOLDER [MODEL] [TASK ...] [OPTION=VALUE ...]

Options are those of `MoiraiForecast` in words: precision=bf16, decoding=cached, patch_size=frequency.
Every series is forecast on its own, with a context of at most 2048 steps. Rows marked * are the same evaluation as a
configuration of GIFT-Eval; the geometric means at the end are over those.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.baselines import LEVELS, score_task
from benchmarks.datasets import TASKS, Task
from moirai import MoiraiForecast
from moirai.evaluation.metrics import Sums, score, seasonal_error
from moirai.evaluation.windows import origins, target_steps


def score_model(model: MoiraiForecast, task: Task, values: np.ndarray) -> Sums:
    """Sums over all series, windows and steps; values is [series, time]."""
    starts = origins(values.shape[1], horizon=task.horizon, windows=task.windows)
    begun = np.where(np.isnan(values).all(1), 0, (~np.isnan(values)).argmax(1))
    contexts = [one[first:start] for start in starts for one, first in zip(values, begun, strict=True)]
    quantiles = np.sort(model.predict_arrays(contexts, horizon=task.horizon, levels=LEVELS, freq=task.freq), axis=1)
    actual = np.concatenate([values[:, steps] for steps in target_steps(starts, task.horizon)])
    scale = np.concatenate([seasonal_error(values[:, :start], task.season) for start in starts])
    return score(actual, quantiles.astype(np.float64), levels=LEVELS, scale=scale).pooled()


def main(arguments: list[str]) -> int:
    """Score, print a table, return the exit status."""
    options = dict(one.split("=", 1) for one in arguments if "=" in one)
    arguments = [one for one in arguments if "=" not in one]
    if not arguments:
        print(
            "usage: python -m benchmarks.zero_shot DATA_FOLDER [MODEL] [TASK ...] [OPTION=VALUE ...]", file=sys.stderr
        )
        return 2
    data, reference, *wanted = [*arguments, "starter"][: max(2, len(arguments))]
    model = MoiraiForecast.from_pretrained(reference, **options)
    chosen = ", ".join([reference, *(f"{name} {value}" for name, value in options.items())])
    table = Table(title=f"{chosen}, zero-shot, and its ratio to seasonal naive")
    for title in ("task", "MASE", "ratio", "WQL", "ratio", "seconds"):
        table.add_column(title, justify="left" if title == "task" else "right")
    ratios = {}
    for task in TASKS:
        if wanted and task.name not in wanted:
            continue
        frame = task.load(Path(data))
        started = time.monotonic()
        ours, naive = score_model(model, task, frame.to_numpy(np.float64).T), score_task(task, frame, "seasonal_naive")
        ratio = (float(ours.mase / naive.mase), float(ours.wql / naive.wql))
        ratios[task.name] = {"mase": ratio[0], "wql": ratio[1], "gift_eval": task.gift_eval}
        cells = [f"{ours.mase:.3f}", f"{ratio[0]:.3f}", f"{ours.wql:.4f}", f"{ratio[1]:.3f}"]
        table.add_row(task.name + ("*" if task.gift_eval else ""), *cells, f"{time.monotonic() - started:.1f}")
    Console(width=100).print(table)
    marked = [one for one in ratios.values() if one["gift_eval"]]
    if marked:
        means = [np.exp(np.mean([np.log(one[metric]) for one in marked])) for metric in ("mase", "wql")]
        print(f"geometric mean of the ratios over {len(marked)} marked tasks: MASE {means[0]:.3f}, WQL {means[1]:.3f}")
    print(json.dumps(ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
