"""What commands share: options, and how a flow is run for them."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

JobFile = Annotated[Path, typer.Argument(help="job file (YAML); `moirai init DATA` writes one", show_default=False)]
JobFiles = Annotated[list[Path], typer.Argument(metavar="JOB_FILE...", help="job files (YAML)", show_default=False)]
AsOf = Annotated[
    datetime | None, typer.Option(help="moment to stand at; later rows are not seen", show_default="end of the data")
]
Json = Annotated[bool, typer.Option("--json", help="print the outcome as JSON, for machines")]
Verbose = Annotated[bool, typer.Option("--verbose", help="show Prefect's own log lines and warnings, too")]


def run_for(job_file: Path, run: Callable[[], Any], *, verbose: bool) -> Any:
    """Run a flow with progress on stderr; a mistake in the job file is told at once, before a server starts."""
    from flows.console import progress_on_terminal  # noqa: PLC0415 - Prefect waits until needed
    from tasks.job import load_job  # noqa: PLC0415 - see above

    load_job(job_file)
    with progress_on_terminal(verbose=verbose):
        return run()


def run_and_show(job_file: Path, run: Callable[[], Any], *, as_json: bool, verbose: bool) -> None:
    """Run a flow with progress on stderr and its outcome, a `Summary`, on stdout."""
    from flows.console import show  # noqa: PLC0415 - see above

    summary = run_for(job_file, run, verbose=verbose)
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
    else:
        show(summary)
