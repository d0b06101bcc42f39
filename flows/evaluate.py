"""`moirai evaluate`: progress while models are scored, tables beside published scores at the end, all of it as JSON.

In: what the command line was told. Out: tables on stdout, or a JSON file. Fails as `tasks/evaluate.py` does.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from moirai.errors import ConfigError
from moirai.evaluation.tasks import TASKS
from tasks.evaluate import METRICS, Evaluation, Protocol, Score, prepare
from tasks.standings import Published, Standing, Wins, published_baselines, published_models, standings, wins
from tasks.whole_files import whole_file

Against = Literal["none", "baselines", "published"]
SHOWN = ("context_length", "patch_size", "decoding", "precision")  # of the options, in the title
STDOUT = Path("-")
MARKED = {task.name for task in TASKS if task.gift_eval}
WIDTH = 100  # of the tables; a pipe counts as 80 columns, which would cut their cells


def evaluate(
    models: Sequence[str],
    data: Path,
    *,
    protocol: Protocol,
    tasks: Sequence[str],
    against: Against,
    json_file: Path | None,
    job_file: Path | None,
    stride: int,
    options: dict[str, Any],
) -> None:
    """Score, then show.

    Args:
        models: references and names of baselines.
        data: folder of the data sets.
        protocol: `rolling` or `lsf`.
        tasks: names; none: all of the protocol.
        against: whose published rows stand under each task.
        json_file: where everything is written; `-`: on stdout instead of the tables.
        job_file: the job whose registry `models:/…` means.
        stride: steps between two origins of `lsf`.
        options: of `MoiraiForecast`.
    """
    if json_file is not None:
        _make_room(json_file)
    evaluation = prepare(models, data, protocol=protocol, tasks=tasks, job_file=job_file, stride=stride, **options)
    rows = {"none": [], "baselines": published_baselines(data), "published": published_models(data)}  # fails early
    scores = _scored(evaluation)
    scored = {one.task for one in scores}
    beside = [row for row in rows[against] if row.task in scored]
    is_rolling = protocol == "rolling"
    places = standings(scores, rows["published"]) if is_rolling else []
    won = wins(scores, rows["baselines"]) if is_rolling else []
    if json_file is not None:
        outcome = {
            "protocol": protocol,
            "models": list(dict.fromkeys(models)),
            "settings": options | {"stride": stride},
            "scores": [asdict(one) | {"ratios": one.ratios} for one in scores],
            "published": [asdict(one) for one in beside],
            "standings": [asdict(one) for one in places],
            "wins": [asdict(one) for one in won],
        }
        _write(json.dumps(_without_nan(outcome), indent=2), json_file)
    console = Console(width=max(Console().width, WIDTH))
    if json_file != STDOUT:
        chosen = ", ".join(f"{name} {options[name]}" for name in SHOWN if options.get(name) is not None)
        console.print(_score_table(protocol, scores, beside, chosen))
        _show_standings(console, places, won)


def _scored(evaluation: Evaluation) -> list[Score]:
    """All scores; a bar and a line for each on stderr."""
    first, second = METRICS[evaluation.protocol]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    scores = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=None)

        def on_batch(task: str, model: str, done: int, total: int) -> None:
            progress.update(bar, description=escape(f"{model} on {task}"), completed=done, total=total)

        for one in evaluation.scores(on_batch):
            scores.append(one)
            found = ", ".join(
                f"{name.upper()} {one.values[name]:.4f} ({one.ratios[name]:.3f})" for name in (first, second)
            )
            progress.console.print(
                f"{one.task}: {one.model} {found}, {one.seconds:.1f} s", markup=False, highlight=False
            )
            progress.reset(bar)
    return scores


def _score_table(protocol: Protocol, scores: Sequence[Score], published: Sequence[Published], chosen: str) -> Table:
    """A row per task and model, under them the published rows of the task."""
    title = "Scores, and their ratio to seasonal naive"
    marks = "* the same evaluation as a configuration of GIFT-Eval" if protocol == "rolling" else None
    table = Table(title=f"{title} ({escape(chosen)})" if chosen else title, title_justify="left", caption=marks)
    table.add_column("task", no_wrap=True)
    table.add_column("model", overflow="fold")
    for metric in METRICS[protocol]:
        table.add_column(metric.upper(), justify="right")
        table.add_column("ratio", justify="right")
    table.add_column("forecasts", justify="right")
    table.add_column("seconds", justify="right")
    for name in dict.fromkeys(one.task for one in scores):
        label = name + ("*" if name in MARKED else "")
        own = [one for one in scores if one.task == name]
        for one in own:
            figures = [cell for metric in METRICS[protocol] for cell in _cells(one, metric)]
            table.add_row(label, escape(one.model), *figures, f"{one.forecasts:,}", f"{one.seconds:.1f}")
        for row in sorted((one for one in published if one.task == name), key=lambda one: one.wql):
            table.add_row(label, row.model, *_published_cells(row, own[0].naive), style="dim")
        table.add_section()
    return table


def _cells(score: Score, metric: str) -> tuple[str, str]:
    return f"{score.values[metric]:.4f}", f"{score.ratios[metric]:.3f}"


def _published_cells(row: Published, naive: dict[str, float]) -> list[str]:
    pairs = ((row.mase, naive["mase"]), (row.wql, naive["wql"]))
    return [cell for value, base in pairs for cell in (f"{value:.4f}", f"{value / base:.3f}")]


def _show_standings(console: Console, places: Sequence[Standing], won: Sequence[Wins]) -> None:
    """The geometric means, ours in bold, and how many tasks were won."""
    if places:
        table = Table(title="Geometric mean of the ratios over the marked (*) tasks above", title_justify="left")
        table.add_column("model", overflow="fold")
        for title in ("MASE", "WQL"):
            table.add_column(title, justify="right")
        for one in places:
            style = "bold" if one.is_ours else "dim"
            table.add_row(escape(one.model), f"{one.mase:.3f}", f"{one.wql:.3f}", style=style)
        console.print(table)
    for own in won:
        line = f"{own.model}: below seasonal naive in MASE on {own.mase} and in WQL on {own.wql} of {own.tasks} tasks"
        if own.with_auto_ets:
            line += f"; below AutoETS in WQL on {own.auto_ets} of {own.with_auto_ets}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _without_nan(value: Any) -> Any:
    """The same with null where a number is NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _make_room(file: Path) -> None:
    """The folder of a file, so that a wrong place is told before the work."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written ({error.strerror}); name another file with --json") from error


def _write(text: str, file: Path) -> None:
    if file == STDOUT:
        sys.stdout.write(text + "\n")
        return
    with whole_file(file) as made:
        made.write_text(text + "\n", encoding="utf-8")
