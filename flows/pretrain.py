"""The pretraining flow, and what its command prints."""

import sys
from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.table import Table

from flows.labels import label_run
from tasks.pretrain import Pretrained, request_stop
from tasks.pretrain import pretrain as pretrain_task
from tasks.pretraining import load_pretraining


@flow(
    name="pretrain",
    flow_run_name="pretrain {config_file}",
    description="Pretrain a network from nothing and write its checkpoint; goes on from the last state.",
)
def pretrain(config_file: str) -> Pretrained:
    """Pretrain a network from nothing and write its checkpoint; goes on from the last state.

    Args:
        config_file: path of the pretraining file.
    """
    settings = load_pretraining(config_file)
    label_run(f"{settings.name} pretrain", [f"pretraining:{settings.name}", "flow:pretrain"])
    return pretrain_task(settings)


def stop(config_file: Path) -> None:
    """Ask a run to save and end; says which file asks."""
    settings = load_pretraining(config_file)
    asked = request_stop(settings)
    sys.stdout.write(f"{settings.name} will save and end after its present step (asked by {asked})\n")


def show(done: Pretrained) -> None:
    """Print how it ended and what lies where."""
    console = Console()
    console.rule(f"[bold]pretrain[/bold] of {done.name}")
    console.print(done.message, highlight=False, soft_wrap=True)
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    if done.loss is not None and done.tokens_per_second is not None:
        table.add_row("loss", f"{done.loss:.4f}")
        table.add_row("tokens per second", f"{done.tokens_per_second:,.0f}")
    for name, folder in zip(("checkpoint", "averaged"), done.folders, strict=False):
        table.add_row(name if done.is_complete else f"{name} so far", folder)
    table.add_row("states", done.state)
    table.add_row("MLflow run", str(done.run_id))
    console.print(table)
