"""Register: a fine-tuned checkpoint -> a version of the job's registered model, and its alias `challenger`.

In: a checkpoint with what is known of its training. Out: the version as a `ModelRef`, which says where it comes from
and until when its training saw. Fails with `TrackingError`: see `tasks/mlflow_store.py`. The same training gives the
same version again. Whether it becomes `champion` is decided in `tasks/promotion/`.
"""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from moirai.forecasting.covariates import CovariateEncoding
from tasks.job import Job
from tasks.mlflow_model import checkpoint_folder, log_model
from tasks.mlflow_store import RETRY_DELAYS, connect, explained, is_worth_a_retry, one_at_a_time
from tasks.model_reference import (
    CHALLENGER,
    REGISTRY,
    ModelRef,
    model_aliases,
    resolve,
    resolve_model,
    version_ref,
)
from tasks.panel import PanelRef
from tasks.promotion.weights import settings_tags
from tasks.tracking import closed, log_values, open_experiment, own_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "ModelRef",
    "alias_version",
    "register",
    "register_model",
    "resolve",
    "resolve_model",
    "set_alias",
]

logger = logging.getLogger(__name__)


def register_model(
    job: Job,
    *,
    folder: Path,
    training_key: str,
    panel: PanelRef,
    base: ModelRef,
    metrics: Mapping[str, float],
    trained_until: pd.Timestamp | None = None,
    run_id: str | None = None,
    challenger: bool = True,
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
        trained_until: last time stamp that the training may have seen; None: not known.
        run_id: the run of the training; None: a run of its own.
        challenger: whether the alias `challenger` moves to the version, also where it was there already.

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
        "root_model": base.root or _pinned(base),
        "licence": base.licence if checkpoint.licence == "unknown" else checkpoint.licence,
        "package_version": own_version(),
        **settings_tags(job),
    }
    if trained_until is not None:
        tags["trained_until"] = trained_until.isoformat()
    encoding = CovariateEncoding.read(checkpoint.folder)
    if encoding is not None:
        tags["covariates"] = encoding.summary
    client = connect(job)
    with one_at_a_time(job):  # two runs of the same training make one version
        version = _registered(job, client, tags)
        if version is None:
            version = _add_version(job, client, checkpoint.folder, tags, metrics, run_id=run_id)
        else:
            version = _confirmed(job, client, version, tags)
        if challenger:
            set_alias(job, CHALLENGER, str(version.version))
    return version_ref(job, client, version, f"{REGISTRY}{job.name}/{version.version}")


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


def _confirmed(job: Job, client: "MlflowClient", version: "ModelVersion", tags: Mapping[str, str]) -> "ModelVersion":
    """The version, noted to be what the present settings lead to: promotion asks for that."""
    with explained(job):
        for name in (*settings_tags(job), "trained_until", "root_model"):
            if name in tags and version.tags.get(name) != tags[name]:
                client.set_model_version_tag(job.name, version.version, name, tags[name])
        return client.get_model_version(job.name, version.version)


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
    trained_until: pd.Timestamp | None = None,
    run_id: str | None = None,
    challenger: bool = True,
) -> ModelRef:
    """Register a fine-tuned checkpoint once: see `register_model`."""
    return register_model(
        job,
        folder=folder,
        training_key=training_key,
        panel=panel,
        base=base,
        metrics=metrics,
        trained_until=trained_until,
        run_id=run_id,
        challenger=challenger,
    )
