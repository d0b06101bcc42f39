"""`moirai …`: a thin face over the flows. Heavy imports wait until a command runs, so `--help` answers at once."""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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


@app.command()
def evaluate(  # noqa: PLR0917 - options of a command
    models: Annotated[
        list[str], typer.Argument(help="model references; also naive, seasonal_naive[:N]", show_default=False)
    ],
    data: Annotated[Path, typer.Option(help="folder of the data sets, one folder each", show_default=False)],
    tasks: Annotated[str | None, typer.Option(help="names with commas between them", show_default="all")] = None,
    protocol: Annotated[
        Literal["rolling", "lsf"],
        typer.Option(help="rolling: MASE and WQL on the end of every series; lsf: MSE and MAE"),
    ] = "rolling",
    against: Annotated[
        Literal["none", "baselines", "published"], typer.Option(help="published rows to show under every task")
    ] = "baselines",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="write all figures there; - for stdout")
    ] = None,
    job: Annotated[Path | None, typer.Option(help="job file whose registry models:/... means")] = None,
    stride: Annotated[int, typer.Option(help="steps between two origins of lsf")] = 1,
    context: Annotated[int, typer.Option(help="latest steps of a series that a model sees")] = 2048,
    decoding: Annotated[Literal["exact", "cached"], typer.Option(help="beyond one pass of the model")] = "exact",
    precision: Annotated[Literal["fp32", "bf16", "auto"], typer.Option(help="arithmetic of matrix products")] = "fp32",
    patch_size: Annotated[
        str | None, typer.Option(help="a number, frequency or auto", show_default="by family")
    ] = None,
    samples: Annotated[int, typer.Option(help="paths of Moirai-MoE beyond its first patch")] = 100,
    batch_size: Annotated[int, typer.Option(help="rows of a forward pass")] = 64,
) -> None:
    """Score models zero-shot on public data sets, beside published scores."""
    from flows.evaluate import evaluate as show_scores  # noqa: PLC0415 - torch waits until needed

    show_scores(
        models,
        data,
        protocol=protocol,
        tasks=[name.strip() for name in (tasks or "").split(",") if name.strip()],
        against=against,
        json_file=json_file,
        job_file=job,
        stride=stride,
        options={
            "context_length": context,
            "decoding": decoding,
            "precision": precision,
            "patch_size": int(patch_size) if patch_size and patch_size.isdecimal() else patch_size,
            "num_samples": samples,
            "batch_size": batch_size,
        },
    )


@app.command()
def pretrain(
    config: Annotated[Path, typer.Argument(help="pretraining file (YAML); see deployments/", show_default=False)],
    stop: Annotated[bool, typer.Option("--stop", help="ask the run under way to save and end")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Pretrain a network from nothing; a run that was stopped or killed goes on."""
    from flows.console import progress_on_terminal  # noqa: PLC0415 - see above
    from tasks.pretraining import load_pretraining  # noqa: PLC0415 - see above

    load_pretraining(config)  # a mistake in it is told at once, before a server starts
    if stop:
        from flows.pretrain import stop as ask  # noqa: PLC0415 - see above

        ask(config)
        return
    with progress_on_terminal(verbose=verbose):
        from flows.pretrain import pretrain as flow  # noqa: PLC0415 - see above
        from flows.pretrain import show  # noqa: PLC0415 - see above

        done = flow(str(config))
    if as_json:
        typer.echo(done.model_dump_json(indent=2))
    else:
        show(done)


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
