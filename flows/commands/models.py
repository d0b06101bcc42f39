"""Commands about models: which there are, how well they forecast, and making one from nothing."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.commands.options import Json, Verbose


def models(as_json: Json = False) -> None:
    """List the models known by name: size, licence, and whether they lie on this machine."""
    from flows.models import list_models  # noqa: PLC0415 - torch waits until needed

    list_models(as_json=as_json)


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


def pretrain(
    config: Annotated[Path, typer.Argument(help="pretraining file (YAML); see deployments/", show_default=False)],
    stop: Annotated[bool, typer.Option("--stop", help="ask the run under way to save and end")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Pretrain a network from nothing; a run that was stopped or killed goes on."""
    from flows.console import progress_on_terminal  # noqa: PLC0415 - Prefect waits until needed
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
