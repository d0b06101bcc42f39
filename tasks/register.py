"""Register: a fine-tuned checkpoint -> a version of the job's registered model, and its aliases.

In: a checkpoint with what is known of its training; then the losses of its backtest. Out: the
version as a `ModelRef`; then what it became. Fails with `TrackingError`: see
`tasks/mlflow_store.py`. The same training gives the same version again, and promoting the same
version twice changes nothing.
"""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE

from moirai.forecasting.covariates import CovariateEncoding
from tasks.job import Job
from tasks.mlflow_model import checkpoint_folder, log_model
from tasks.mlflow_store import RETRY_DELAYS, connect, explained, is_worth_a_retry, one_at_a_time
from tasks.model_reference import (
    REGISTRY,
    ModelRef,
    model_aliases,
    resolve,
    resolve_model,
    version_ref,
)
from tasks.panel import PanelRef
from tasks.tracking import closed, log_values, open_experiment, own_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "Alias",
    "ModelRef",
    "alias_version",
    "choose_alias",
    "promote",
    "promote_model",
    "register",
    "register_model",
    "resolve",
    "resolve_model",
    "set_alias",
]

Alias = Literal["champion", "challenger"]

logger = logging.getLogger(__name__)


def register_model(
    job: Job,
    *,
    folder: Path,
    training_key: str,
    panel: PanelRef,
    base: ModelRef,
    metrics: Mapping[str, float],
    run_id: str | None = None,
) -> ModelRef:
    """Register a fine-tuned checkpoint under the job's name, once.

    Args:
        job: what it was trained for.
        folder: the checkpoint.
        training_key: says what the training depended on; together with the weights' digest it
            tells whether a version is there already.
        panel: the data it was trained on.
        base: the model it was trained from.
        metrics: kept with the model.
        run_id: the run of the training; None: a run of its own.

    Returns:
        The new version, or the one that already holds these weights.

    Raises:
        TrackingError: see `tasks/mlflow_store.py`.
        CheckpointError: the folder holds no usable checkpoint.
    """
    from moirai import hub  # noqa: PLC0415 - brings torch

    checkpoint = hub.resolve(folder)
    tags = {
        "training_key": training_key,
        "weights_digest": checkpoint.digest,
        "config_hash": job.config_hash(),
        "panel_digest": panel.digest,
        "base_model": _pinned(base),
        "base_version": base.version,
        "licence": base.licence if checkpoint.licence == "unknown" else checkpoint.licence,
        "package_version": own_version(),
    }
    encoding = CovariateEncoding.read(checkpoint.folder)
    if encoding is not None:
        tags["covariates"] = encoding.summary
    client = connect(job)
    with one_at_a_time(job):  # two runs of the same training make one version
        version = _registered(job, client, tags)
        if version is None:
            version = _add_version(job, client, checkpoint.folder, tags, metrics, run_id=run_id)
    return version_ref(job, client, version, f"{REGISTRY}{job.name}/{version.version}")


def choose_alias(candidate_wql: float, base_wql: float) -> Alias:
    """`champion` where the candidate is not worse than its base on the same windows.

    The base is the zero-shot model, not the present champion: the rule asks whether fine-tuning
    helped on this data, and a newer version also knows newer data. A loss that is NaN shows nothing
    and leaves the candidate a `challenger`.
    """
    return "champion" if candidate_wql <= base_wql else "challenger"


def promote_model(job: Job, candidate: ModelRef, *, candidate_wql: float, base_wql: float) -> Alias:
    """Move the aliases of the job's registered model.

    `challenger` always moves to the candidate, `champion` where `choose_alias` says so; the
    champion it replaces becomes `previous`. Where no version was ever good enough, there is none.

    Args:
        job: its registered model.
        candidate: a version of it.
        candidate_wql: weighted quantile loss of the candidate in the backtest.
        base_wql: that of the zero-shot base on the same windows.

    Returns:
        What the candidate became; the figures stay as tags of the version.

    Raises:
        TrackingError: see `tasks/mlflow_store.py`.
    """
    decision = choose_alias(candidate_wql, base_wql)
    client = connect(job)
    tags = {"wql": f"{candidate_wql:.6g}", "base_wql": f"{base_wql:.6g}", "decision": decision}
    with explained(job):
        for key, value in tags.items():
            client.set_model_version_tag(job.name, candidate.version, key, value)
    set_alias(job, "challenger", candidate.version)
    champion = alias_version(job, "champion")
    if decision == "champion" and champion != candidate.version:
        if champion is not None:  # first, so that an interruption loses no champion
            set_alias(job, "previous", champion)
        set_alias(job, "champion", candidate.version)
    return decision


def set_alias(job: Job, alias: str, version: str) -> None:
    """Point an alias of the job's registered model at a version. Raises `TrackingError`."""
    client = connect(job)
    with explained(job):
        client.set_registered_model_alias(job.name, alias, version)


def alias_version(job: Job, alias: str) -> str | None:
    """The version an alias of the job's registered model points at; None: no such alias."""
    return model_aliases(job, connect(job), job.name).get(alias)


def _pinned(model: ModelRef) -> str:
    """A reference that keeps its meaning: an alias moves on, a version does not."""
    is_registered = model.reference.startswith(REGISTRY)
    return f"{REGISTRY}{model.name}/{model.version}" if is_registered else model.reference


def _registered(job: Job, client: "MlflowClient", tags: Mapping[str, str]) -> "ModelVersion | None":
    """The latest version of the same training and weights, where its files are still there."""
    with explained(job):
        versions = client.search_model_versions(f"name='{job.name}'")
    for version in sorted(versions, key=lambda one: int(one.version), reverse=True):
        if all(version.tags.get(key) == tags[key] for key in ("training_key", "weights_digest")):
            if checkpoint_folder(job, client, version) is not None:
                return version
            logger.warning("version %s of %s lost its files; registering anew", version.version, job.name)
    return None


def _add_version(
    job: Job,
    client: "MlflowClient",
    folder: Path,
    tags: dict[str, str],
    metrics: Mapping[str, float],
    *,
    run_id: str | None,
) -> "ModelVersion":
    """Log the model into the run, or into one of its own, and make it a version."""
    experiment = open_experiment(job)
    with explained(job):
        run = run_id or client.create_run(experiment, run_name="register", tags=tags).info.run_id
        with nullcontext() if run_id else closed(client, run):
            model = log_model(job, client, folder, run=run, experiment=experiment, tags=tags)
            log_values(client, run, params={}, metrics=metrics, series={}, model_id=model.model_id)
            return _make_version(client, job.name, model, run=run, tags=tags)


def _make_version(
    client: "MlflowClient", name: str, model: "LoggedModel", *, run: str, tags: dict[str, str]
) -> "ModelVersion":
    """A version with all its tags in one step, so that none is ever without."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see `connect`

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    place = model.artifact_location
    return client.create_model_version(name, place, run, tags=tags, model_id=model.model_id)


@task(
    task_run_name="register",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def register(
    job: Job,
    *,
    folder: Path,
    training_key: str,
    panel: PanelRef,
    base: ModelRef,
    metrics: Mapping[str, float],
    run_id: str | None = None,
) -> ModelRef:
    """Register a fine-tuned checkpoint once: see `register_model`."""
    return register_model(
        job,
        folder=folder,
        training_key=training_key,
        panel=panel,
        base=base,
        metrics=metrics,
        run_id=run_id,
    )


@task(
    task_run_name="promote version {candidate.version}",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def promote(job: Job, candidate: ModelRef, *, candidate_wql: float, base_wql: float) -> Alias:
    """Move the aliases to a version: see `promote_model`."""
    return promote_model(job, candidate, candidate_wql=candidate_wql, base_wql=base_wql)
