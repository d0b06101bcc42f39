"""What MLflow stores of a model: the served model as code, the `moirai` package, the checkpoint.

In: a checkpoint folder, with the encoding of its covariates where it has any, and the job it serves. Out: a logged
model; and back, the checkpoint folder of a version. Fails with `TrackingError`: see `tasks/mlflow_store.py`. Nothing
stored is a pickle, and a stored version needs none of this repository to run.
"""

import shutil
import tempfile
import warnings
from dataclasses import asdict
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import yaml

import moirai
from moirai.forecasting.covariates import CovariateEncoding
from tasks.job import Job
from tasks.mlflow_store import explained, tracking_uri

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

SERVED_MODEL = Path(__file__).with_name("served_model.py")
PACKAGES = ["mlflow", "torch", "numpy", "pandas", "safetensors", "jaxtyping"]  # what serving imports
EXAMPLE_STEPS = 32  # rows of the stored input example
BATCH_SIZE = 64  # rows per forward pass, as of `MoiraiForecast`


def log_model(
    job: Job,
    client: "MlflowClient",
    folder: Path,
    *,
    run: str,
    experiment: str,
    tags: dict[str, str],
) -> "LoggedModel":
    """Store served model, package and checkpoint; only a whole model becomes READY."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)  # MLflow's own types
        from mlflow.entities import LoggedModelOutput  # noqa: PLC0415 - see `connect`
        from mlflow.models import Model  # noqa: PLC0415
        from mlflow.pyfunc import save_model  # noqa: PLC0415

    encoding = CovariateEncoding.read(folder)
    about = {} if encoding is None else {"covariates": asdict(encoding)}
    model = client.create_logged_model(experiment, job.name, run, tags=tags, model_type="forecast")
    status = "FAILED"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            saved = Path(scratch) / "model"
            save_model(
                str(saved),
                mlflow_model=Model(
                    artifact_path=model.artifact_location,
                    run_id=run,
                    model_uuid=model.model_id,
                    model_id=model.model_id,
                ),
                python_model=str(SERVED_MODEL),
                code_paths=[str(_copy_package(Path(scratch)))],
                artifacts={"checkpoint": str(folder)},
                model_config=_configuration(job),
                signature=_signature(job, encoding),
                input_example=_example(job, encoding),
                pip_requirements=_requirements(),
                metadata=tags | about,
            )
            client.log_model_artifacts(model.model_id, str(saved))
            status = "READY"
    finally:
        client.finalize_logged_model(model.model_id, status)
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
    return model


def checkpoint_folder(job: Job, client: "MlflowClient", version: "ModelVersion") -> Path | None:
    """Where the checkpoint of a version lies, fetched from a server once; None: it holds none."""
    from mlflow.artifacts import download_artifacts, list_artifacts  # noqa: PLC0415 - see `connect`

    with explained(job):
        root = client.get_model_version_download_uri(version.name, version.version)
    parts = urlparse(root)
    if parts.scheme in ("", "file"):
        return _checkpoint_in(Path(url2pathname(parts.path) if parts.scheme else root))
    digest = version.tags.get("weights_digest", version.creation_timestamp)
    kept = job.workspace_path / "models" / version.name / f"{version.version}-{digest}"
    if not kept.is_dir():
        with explained(job):
            if not list_artifacts(artifact_uri=root, tracking_uri=tracking_uri(job)):
                return None
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch, explained(job):
            fetched = download_artifacts(artifact_uri=root, dst_path=scratch, tracking_uri=tracking_uri(job))
            Path(fetched).rename(kept)
    return _checkpoint_in(kept)


def _checkpoint_in(root: Path) -> Path | None:
    """The checkpoint of a downloaded version, by the path in its `MLmodel`."""
    recipe = root / "MLmodel"
    if not recipe.is_file():
        return None
    flavors = yaml.safe_load(recipe.read_text(encoding="utf-8"))["flavors"]
    artifacts = flavors.get("python_function", {}).get("artifacts") or {}
    folder = root / artifacts.get("checkpoint", {}).get("path", "artifacts/checkpoint")
    return folder if (folder / "config.json").is_file() else None


def _copy_package(scratch: Path) -> Path:
    """The `moirai` package without caches and without the bundled checkpoint."""
    ignored = shutil.ignore_patterns("__pycache__", "starter")
    return shutil.copytree(Path(moirai.__file__).parent, scratch / "moirai", ignore=ignored)


def _signature(job: Job, encoding: CovariateEncoding | None) -> "ModelSignature":
    """Columns and parameters of the served model.

    Its columns are of any type: MLflow refuses whole numbers where it expects others, in frames and in Parquet, and
    reads numbers as time stamps. The served model reads them itself and says what is wrong.
    """
    from mlflow.models import ModelSignature  # noqa: PLC0415 - see `connect`
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema  # noqa: PLC0415
    from mlflow.types.schema import AnyType  # noqa: PLC0415

    from moirai.forecasting.levels import quantile_name  # noqa: PLC0415 - see above

    given = ["item_id", "timestamp", *job.columns.target, *(encoding.columns if encoding else ())]
    columns = [("string", "item_id"), ("string", "target_name"), ("datetime", "origin")]
    columns += [("datetime", "timestamp"), ("double", "mean")]
    columns += [("float", quantile_name(level)) for level in job.quantiles]
    params = [
        ParamSpec("horizon", "long", job.horizon),
        ParamSpec("quantiles", "double", job.quantiles, shape=(-1,)),
        ParamSpec("frequency", "string", job.frequency),
        ParamSpec("seed", "long", job.inference.seed),
        ParamSpec("num_samples", "long", job.inference.num_samples),
        ParamSpec("decoding", "string", job.inference.decoding),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name) for name in given]),
        outputs=Schema([ColSpec(kind, name) for kind, name in columns]),
        params=ParamSchema(params),
    )


def _example(job: Job, encoding: CovariateEncoding | None) -> "pd.DataFrame":
    """A small made-up input at the job's frequency: real data stay where they are.

    With known covariates it goes on into the horizon, without targets.
    """
    import pandas as pd  # noqa: PLC0415 - see above

    from moirai.evaluation.seasonality import to_offset  # noqa: PLC0415

    covariates = encoding or CovariateEncoding(lead=0)
    ahead = covariates.lead if covariates.known else 0
    times = pd.date_range("2024-01-01", periods=EXAMPLE_STEPS + ahead, freq=to_offset(job.frequency))
    example = pd.DataFrame({"item_id": "example", "timestamp": times})
    for target in job.columns.target:
        example[target] = [float(step % 8) for step in range(EXAMPLE_STEPS)] + [float("nan")] * ahead
    for column in covariates.columns:
        names = covariates.names.get(column)
        example[column] = [float(step % 3) for step in range(len(times))] if names is None else "".join(names[:1])
    return example


def _configuration(job: Job) -> dict[str, Any]:
    """What the served model is told when it is loaded; all but the targets are options of `MoiraiForecast`.

    MLflow changes none that are not there: device and batch size stand here for whoever serves the version.
    """
    options = {"context_length": job.context, "device": "auto", "batch_size": BATCH_SIZE}
    return {"targets": job.columns.target, **options, **job.inference.model_dump()}


def _requirements() -> list[str]:
    """The packages serving needs, at the versions in use; no index knows a build's `+cpu`."""
    return [f"{name}=={package_version(name).partition('+')[0]}" for name in PACKAGES]
