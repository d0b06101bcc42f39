"""What a person at a terminal sees: progress while a flow runs, tables at its end, one line on failure."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.table import Table

from tasks.training.scores import written

if TYPE_CHECKING:  # brings Prefect, which reads its settings when it is imported
    from flows.summary import Summary

METRICS = {"mase": "MASE", "wql": "WQL", "nd": "ND", "coverage_80": "80 % covered"}
PACKAGES = ("flows", "tasks", "moirai")


@contextmanager
def progress_on_terminal(*, verbose: bool) -> Iterator[None]:
    """Show what our packages log, on stderr; Prefect's own console lines only when `verbose`.

    An error that a person can mend is told in one line by the command itself; Prefect's traceback of it would only
    bury it. The UI and the server keep all of it.
    """
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        warnings.simplefilter("ignore")
    handler = RichHandler(
        console=Console(stderr=True),
        show_path=False,
        omit_repeated_times=False,
        log_time_format="%H:%M:%S",
        highlighter=NullHighlighter(),
    )
    for name in PACKAGES:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    if "PREFECT_API_URL" not in os.environ:
        logging.getLogger(__name__).info("starting Prefect's embedded server; PREFECT_API_URL names one that runs")
    try:
        yield
    finally:
        for name in PACKAGES:
            logging.getLogger(name).removeHandler(handler)


def show(summary: "Summary") -> None:
    """Print the tables of a finished run."""
    console = Console()
    console.rule(f"[bold]{summary.flow}[/bold] of {summary.job}, standing at {summary.as_of}")
    if summary.held_out:
        how = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in summary.training.items())
        console.print(f"fine-tuning: {how}", highlight=False)
        console.print(_training_table(summary))
    if summary.scores:
        console.print(_score_table(summary))
    if summary.decision:
        console.print(summary.decision, markup=False, highlight=False, soft_wrap=True)
    console.print(_place_table(summary))
    console.print("[bold]Next[/bold]")
    for command in summary.next_steps:
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)


def _score_table(summary: "Summary") -> Table:
    table = Table(title="Scores on the same windows, best WQL first", title_justify="left")
    table.add_column("model")
    for title in METRICS.values():
        table.add_column(title, justify="right")
    for model, found in sorted(summary.scores.items(), key=lambda item: item[1]["wql"]):
        table.add_row(model, *(f"{found[metric]:.3f}" for metric in METRICS))
    return table


def _training_table(summary: "Summary") -> Table:
    table = Table(title="Held-out windows", title_justify="left")
    table.add_column("model")
    for metric in ("wql", "mase"):
        table.add_column(METRICS[metric], justify="right")
    for row in summary.held_out:
        table.add_row(str(row["model"]), *(written(row[name], digits) for name, digits in (("wql", 4), ("mase", 3))))
    return table


def _place_table(summary: "Summary") -> Table:
    table = Table(title="Written", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, rows in summary.rows.items():
        table.add_row(name, f"{rows:,} rows")
    if summary.model:
        table.add_row("model", summary.model)
    for name, place in summary.places.items():
        table.add_row(name, place)
    return table
