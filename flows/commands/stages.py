"""Commands of the stages: look at data, store it, train, score, forecast, and all of it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.options import AsOf, JobFile, Json, Verbose, run_and_show


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


def ingest(job_file: JobFile, as_of: AsOf = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Check the source, bring it onto its grid, store what was observed."""

    def run() -> Any:
        from flows.ingest import ingest as flow  # noqa: PLC0415 - Prefect waits until needed

        return flow(str(job_file), as_of)

    run_and_show(job_file, run, as_json=as_json, verbose=verbose)


def finetune(job_file: JobFile, as_of: AsOf = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Fine-tune the base model on the job's data and register the result."""

    def run() -> Any:
        from flows.finetune import finetune as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of)

    run_and_show(job_file, run, as_json=as_json, verbose=verbose)


def backtest(
    job_file: JobFile,
    model: Annotated[list[str] | None, typer.Option(help="model reference; repeat for several")] = None,
    as_of: AsOf = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Score models and baselines side by side on the same windows."""

    def run() -> Any:
        from flows.backtest import backtest as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of, model)

    run_and_show(job_file, run, as_json=as_json, verbose=verbose)


def forecast(job_file: JobFile, as_of: AsOf = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Forecast from the end of the data into the warehouse."""

    def run() -> Any:
        from flows.forecast import forecast as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of)

    run_and_show(job_file, run, as_json=as_json, verbose=verbose)


def pipeline(job_file: JobFile, as_of: AsOf = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Everything: ingest, fine-tune, backtest, register, forecast, report."""

    def run() -> Any:
        from flows.pipeline import pipeline as flow  # noqa: PLC0415 - see above

        return flow(str(job_file), as_of)

    run_and_show(job_file, run, as_json=as_json, verbose=verbose)
