"""`moirai …`: a thin face over the flows. Heavy imports wait until a command runs, so `--help` answers at once."""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moirai.errors import MoiraiError

if TYPE_CHECKING:
    from flows.summary import Summary

app = typer.Typer(
    name="moirai",
    help="Forecast with Moirai time-series transformers: from files to probabilistic forecasts in a warehouse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

JobFile = Annotated[Path, typer.Argument(help="job file (YAML); `moirai init DATA` writes one", show_default=False)]
AsOf = Annotated[
    datetime | None, typer.Option(help="moment to stand at; later rows are not seen", show_default="end of the data")
]
Json = Annotated[bool, typer.Option("--json", help="print the outcome as JSON, for machines")]
Verbose = Annotated[bool, typer.Option("--verbose", help="show Prefect's own log lines and warnings, too")]


@app.command()
def init(  # noqa: PLR0917 - options of a command
    data: Annotated[str, typer.Argument(help="file, folder, glob or database URL to look at", show_default=False)],
    out: Annotated[Path, typer.Option(help="job file to write")] = Path("job.yaml"),
    query: Annotated[str | None, typer.Option(help="SELECT that a database is asked")] = None,
    target: Annotated[list[str] | None, typer.Option(help="column to forecast; repeat for several")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an existing job file")] = False,
    as_json: Json = False,
) -> None:
    """Look at files or a database, infer a job and write it with comments."""
    from flows.init import write_job  # noqa: PLC0415 - pandas waits until needed

    write_job(data, out, query=query, targets=target, force=force, as_json=as_json)


@app.command()
def ingest(job_file: JobFile, as_of: AsOf = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Check the source, bring it onto its grid, store what was observed."""

    def run() -> "Summary":
        from flows.ingest import ingest as flow  # noqa: PLC0415 - Prefect waits until needed

        return flow(str(job_file), as_of)

    _run(run, job_file, as_json=as_json, verbose=verbose)


@app.command()
def finetune(job_file: JobFile, as_of: AsOf = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Fine-tune the base model on the job's data and register the result."""

    def run() -> "Summary":
        from flows.finetune import finetune as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of)

    _run(run, job_file, as_json=as_json, verbose=verbose)


@app.command()
def backtest(
    job_file: JobFile,
    model: Annotated[list[str] | None, typer.Option(help="model reference; repeat for several")] = None,
    as_of: AsOf = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Score models and baselines side by side on the same windows."""

    def run() -> "Summary":
        from flows.backtest import backtest as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of, model)

    _run(run, job_file, as_json=as_json, verbose=verbose)


@app.command()
def forecast(job_file: JobFile, as_of: AsOf = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Forecast from the end of the data into the warehouse."""

    def run() -> "Summary":
        from flows.forecast import forecast as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of)

    _run(run, job_file, as_json=as_json, verbose=verbose)


@app.command()
def pipeline(job_file: JobFile, as_of: AsOf = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Everything: ingest, fine-tune, backtest, register, forecast, report."""

    def run() -> "Summary":
        from flows.pipeline import pipeline as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of)

    _run(run, job_file, as_json=as_json, verbose=verbose)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models known by name: size, licence, and whether they lie on this machine."""
    from flows.models import list_models  # noqa: PLC0415 - torch waits until needed

    list_models(as_json=as_json)


def _run(run: "Callable[[], Summary]", job_file: Path, *, as_json: bool, verbose: bool) -> None:
    """Run a flow with progress on stderr and its outcome on stdout."""
    from flows.console import progress_on_terminal, show  # noqa: PLC0415 - see above
    from tasks.job import load_job  # noqa: PLC0415 - see above

    load_job(job_file)  # a mistake in it is told at once, before a server starts
    with progress_on_terminal(verbose=verbose):
        summary = run()
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
    else:
        show(summary)


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
