"""The MLflow experiment of a job: made when missing, with a description of what the job does.

In: the job. Out: the id of the experiment. Fails with `TrackingError`: see `tasks/mlflow_store.py`; or the experiment
was deleted, or the workspace cannot be written. A description that somebody edited is left alone.
"""

from typing import TYPE_CHECKING, Any

from tasks.errors import TrackingError
from tasks.job import Job
from tasks.mlflow_store import SQLITE, Tracked, connect, explained, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOTE = "mlflow.note.content"  # what MLflow's pages show as the description, in Markdown
KIND = {"mlflow.experimentKind": "custom_model_development"}  # MLflow's pages take it for no chat
LONGEST_NOTE = 5000  # characters, MLflow's limit
WRITTEN = "moirai.description"  # what we wrote there last

RUNS = (
    "Runs named `finetune` hold a training and its version, runs named `backtest` the scores of every model on the "
    "same windows, runs named `promotion` the decision which version serves. Forecasts are rows of the warehouse and "
    "leave no run here."
)


def open_experiment(job: Job) -> str:
    """Id of the experiment named like the job, made when missing. Raises `TrackingError`."""
    return described_experiment(job, describe_job(job))


def described_experiment(job: Tracked, text: str) -> str:
    """Id of the experiment named like what leaves runs in it, made when missing, with a description.

    With SQLite its artifacts go to the workspace; a server has its own place for them.

    Args:
        job: the job, or whatever else leaves runs.
        text: what it does, in Markdown.

    Raises:
        TrackingError: see the module's docstring.
    """
    client = connect(job)
    with explained(job):
        found = client.get_experiment_by_name(job.name)
        if found is None:
            return _make_experiment(job, client, text)
        if found.lifecycle_stage == "active":
            _describe(client, found, text)
            return str(found.experiment_id)
    raise TrackingError(
        f"tracking: experiment {job.name} was deleted; bring it back with `mlflow experiments "
        f"restore -x {found.experiment_id}`, or give the job another name"
    )


def describe_job(job: Job) -> str:
    """What a job does, in Markdown."""
    columns, source = job.columns, job.source
    paths = source.path if isinstance(source.path, list) else [source.path]
    place = "a query of its database" if source.query else ", ".join(f"`{path}`" for path in paths if path)
    lines = [
        f"Forecasts of {_listed(columns.target)}: {job.horizon:,} steps of `{job.frequency}` ahead, from {place}.",
        "",
        f"- series: {'told apart by ' + _listed(columns.item_columns) if columns.item_columns else 'one'}",
    ]
    roles = {"known in advance": columns.known, "known up to the origin": columns.past, "static": columns.static}
    lines += [f"- {role}: {_listed(names)}" for role, names in roles.items() if names]
    lines += [
        f"- fine-tuned from `{job.finetune.base}`; `moirai forecast` uses `{job.model}`",
        f"- backtests: {job.backtest.windows:,} windows of one horizon each",
        "",
        RUNS,
    ]
    return "\n".join(lines)[:LONGEST_NOTE]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _describe(client: "MlflowClient", found: Any, text: str) -> None:
    """Bring the description up to date, unless it is somebody else's."""
    note, ours = found.tags.get(NOTE), found.tags.get(WRITTEN)
    if note != text and note in (None, "", ours):
        client.set_experiment_tag(found.experiment_id, NOTE, text)
        client.set_experiment_tag(found.experiment_id, WRITTEN, text)


def _make_experiment(job: Tracked, client: "MlflowClient", text: str) -> str:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see `connect`

    folder = None
    if tracking_uri(job).startswith(SQLITE):  # MLflow's default is ./mlruns of the working directory
        folder = job.workspace_path / "mlartifacts"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrackingError(
                f"workspace: {folder} cannot be written ({error.strerror}); artifacts go there"
            ) from error
    try:
        place, tags = folder.as_uri() if folder else None, KIND | {NOTE: text, WRITTEN: text}
        return str(client.create_experiment(job.name, place, tags))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(client.get_experiment_by_name(job.name).experiment_id)  # another process was faster
