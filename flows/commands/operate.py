"""Commands of a pipeline that runs by itself: missed forecasts, which version serves, schedules."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import AsOf, JobFile, JobFiles, Json, Verbose, run_for

if TYPE_CHECKING:
    from flows.backfill import Backfilled


def backfill(  # noqa: PLR0917 - options of a command
    job_file: JobFile,
    start: Annotated[datetime, typer.Option("--from", help="first moment of the span", show_default=False)],
    end: Annotated[datetime, typer.Option("--to", help="last moment of the span", show_default=False)],
    every: Annotated[
        str | None, typer.Option(help="distance of the moments from --from on: 1d, 6h", show_default="the schedule's")
    ] = None,
    deployment: Annotated[
        str | None, typer.Option(help="deployment whose workers forecast, such as forecast/scheduled")
    ] = None,
    wait: Annotated[bool, typer.Option(help="with --deployment: wait until the workers are done")] = True,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Forecast from the moments of a span that were missed, each with what was known at its time."""
    failed: list[Exception] = []

    def run() -> "Backfilled":
        from flows.backfill import Backfilled  # noqa: PLC0415 - Prefect waits until needed
        from flows.backfill import backfill as flow  # noqa: PLC0415 - see above
        from flows.origins import OriginsError  # noqa: PLC0415 - see above

        try:
            return flow(str(job_file), start, end, every, deployment, wait)
        except OriginsError as error:  # its table is printed, and then the error
            failed.append(error)
            return Backfilled(job=error.job, origins=error.origins)

    done = run_for(job_file, run, verbose=verbose)
    if as_json:
        typer.echo(done.model_dump_json(indent=2))
        raise typer.Exit(1 if failed else 0)
    from flows.backfill import show  # noqa: PLC0415 - see above

    show(done)
    for error in failed:
        raise error


def promote(
    job_file: JobFile,
    as_of: AsOf = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="judge, but leave the champion as it is")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Judge the challenger against champion, base and seasonal naive; it serves where it earned that."""

    def run() -> Any:
        from flows.promote import promote as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of, dry_run)

    _show_decision(run_for(job_file, run, verbose=verbose), as_json=as_json)


def rollback(
    job_file: JobFile,
    reason: Annotated[str, typer.Option(help="why, in words; kept with both versions")] = "",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make the version that served before the champion again; a second rollback undoes the first."""

    def run() -> Any:
        from flows.promote import rollback as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), reason)

    _show_decision(run_for(job_file, run, verbose=verbose), as_json=as_json)


def _show_decision(decision: Any, *, as_json: bool) -> None:
    if as_json:
        typer.echo(decision.model_dump_json(indent=2))
        return
    from flows.promote import show  # noqa: PLC0415 - see above

    show(decision)


def schedule(
    job_files: JobFiles,
    deployment: Annotated[str, typer.Option(help="deployment of the forecast flow")] = "forecast/scheduled",
    remove: Annotated[bool, typer.Option("--remove", help="take the jobs' schedules away")] = False,
    as_json: Json = False,
) -> None:
    """Put the schedules of jobs on a deployment that serves them all; replaces those that are there."""
    from flows.schedule import schedule as put  # noqa: PLC0415 - see above

    put(job_files, deployment, remove=remove, as_json=as_json)


def serve(
    job_files: JobFiles,
    limit: Annotated[int, typer.Option(min=1, help="runs at the same time")] = 2,
    verbose: Verbose = False,
) -> None:
    """Serve all flows from this machine, with the jobs' schedules, until it is stopped."""
    from flows.serve import serve as serve_jobs  # noqa: PLC0415 - see above

    serve_jobs(job_files, limit=limit, verbose=verbose)
