"""`moirai …`: the commands of flows/commands. Heavy imports wait until a command runs, so `--help` answers at once."""

import json
import sys

import typer

from flows.commands import models, operate, stages
from moirai.errors import MoiraiError

app = typer.Typer(
    name="moirai",
    help="Forecast with Moirai time-series transformers: from files to probabilistic forecasts in a warehouse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

COMMANDS = (
    *(stages.init, stages.ingest, stages.finetune, stages.backtest, stages.forecast, stages.pipeline),
    *(operate.backfill, operate.promote, operate.rollback, operate.schedule, operate.serve),
    *(models.models, models.evaluate, models.pretrain),
)
for _command in COMMANDS:
    app.command()(_command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: an error that a person can mend is one line and exit code 1.

    Args:
        arguments: of the command line; None: those of the process.
    """
    try:
        app(arguments)
    except MoiraiError as error:
        if "--json" in (sys.argv if arguments is None else arguments):
            typer.echo(json.dumps({"error": str(error)}))
        typer.secho("error: ", fg="red", err=True, nl=False)
        typer.echo(str(error), err=True)
        raise SystemExit(1) from error
