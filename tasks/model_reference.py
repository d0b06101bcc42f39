"""A model reference -> a pinned model: its name, version, checkpoint folder and licence.

In: the job, and what the user wrote. Out: a `ModelRef`; an alias is resolved here, once, to a
version. Fails with `TrackingError`, which names what the registry holds and the mend, and with
`CheckpointError` for references outside the registry.
"""

import json
import re
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from moirai.forecasting.covariates import CovariateEncoding
from tasks.errors import TrackingError
from tasks.job import Job
from tasks.mlflow_model import checkpoint_folder
from tasks.mlflow_store import RETRY_DELAYS, connect, explained, is_worth_a_retry
from tasks.panel import Moment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

REGISTRY = "models:/"
REFERENCE = re.compile(r"models:/(?P<name>[^/@:'\"]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")
MEND = "`moirai finetune` with the job file makes one"
NUMBERS_SHOWN = 10  # versions named in an error
TRAINING_RECORD = "training.json"  # what a fine-tuning says of itself, beside the weights
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"  # aliases
LAST_MOVE = "last_move"  # tag of a registered model: where a promotion or rollback put its aliases last, as JSON


class ModelRef(BaseModel):
    """A model, pinned: the same reference gives the same forecasts."""

    model_config = ConfigDict(frozen=True)

    reference: str
    """What the user wrote."""
    name: str
    """As stored with every row: `starter`, a folder's last part, a hub id, the registered name."""
    version: str
    """The version's number in the registry, otherwise the digest of the checkpoint."""
    digest: str
    """Of the checkpoint's configuration and weights, whatever its name."""
    folder: Path
    """Where the checkpoint lies on this machine."""
    licence: str
    """SPDX name, or `unknown`."""
    base: str | None = None
    """Reference of the model it was fine-tuned from; None: not known to be fine-tuned."""
    encoding: CovariateEncoding | None = None
    """The covariates it was fine-tuned with; None: none."""
    root: str | None = None
    """Reference of the pretrained model that a chain of fine-tunings began with; None: it is that model itself."""
    trained_until: Moment | None = None
    """Last time stamp that a fine-tuning of the chain may have seen; None: there was none, or it is not known."""

    @property
    def pretrained(self) -> str:
        """Reference of the pretrained model that it is or comes from."""
        return self.root or self.reference


def resolve_model(job: Job, reference: str) -> ModelRef:
    """Find the model behind a reference.

    Args:
        job: its `tracking` holds the registry; relative folders start at its folder.
        reference: `starter`, a folder, a hub id, `models:/name@alias` or `models:/name/3`.

    Raises:
        TrackingError: no such registered model, alias or version, or its files are gone.
        CheckpointError: see `moirai/hub.py`.
    """
    if reference.startswith(REGISTRY):
        client = connect(job)
        return version_ref(job, client, _find_version(job, client, reference), reference)
    from moirai import hub  # noqa: PLC0415 - brings torch

    folder = job.resolve(reference)
    is_folder = reference not in hub.BUNDLED and (folder.is_dir() or reference.startswith((".", "~", "/")))
    checkpoint = hub.resolve(folder if is_folder else reference)
    return ModelRef(
        reference=reference,
        name=folder.name if is_folder else reference.partition("@")[0],
        version=checkpoint.digest,
        digest=checkpoint.digest,
        folder=checkpoint.folder,
        licence=checkpoint.licence,
        encoding=CovariateEncoding.read(checkpoint.folder),
        **(_training_of(checkpoint.folder) if is_folder else {}),
    )


def _training_of(folder: Path) -> dict[str, Any]:
    """What the record of a fine-tuning beside the weights says of it; nothing where there is no such record."""
    record = folder / TRAINING_RECORD
    if not record.is_file():
        return {}
    told = json.loads(record.read_text(encoding="utf-8"))
    base = told["base"]
    found = {"base": base["reference"], "root": base.get("root") or base["reference"]}
    return found | {"trained_until": told.get("trained_until")}


def version_ref(job: Job, client: "MlflowClient", version: "ModelVersion", reference: str) -> ModelRef:
    """The model of a registered version; fetched first when a server keeps it.

    Raises:
        TrackingError: the version holds no checkpoint.
    """
    from moirai import hub  # noqa: PLC0415 - see above

    folder = checkpoint_folder(job, client, version)
    if folder is None:
        raise TrackingError(
            f"model {reference}: version {version.version} of {version.name!r} holds no Moirai "
            f"checkpoint: its files are gone, or it is not ours; {MEND}"
        )
    return ModelRef(
        reference=reference,
        name=version.name,
        version=str(version.version),
        digest=hub.resolve(folder).digest,
        folder=folder,
        licence=version.tags.get("licence", "unknown"),
        base=version.tags.get("base_model"),
        encoding=CovariateEncoding.read(folder),
        root=version.tags.get("root_model", version.tags.get("base_model")),
        trained_until=version.tags.get("trained_until"),
    )


def registered_model(job: Job, client: "MlflowClient", name: str) -> "RegisteredModel | None":
    """A registered model with its aliases and tags; None: there is none of that name."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see `connect`

    with explained(job):
        try:
            return client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None


def model_aliases(job: Job, client: "MlflowClient", name: str) -> dict[str, str]:
    """Alias -> version of a registered model; empty when there is no such model."""
    model = registered_model(job, client, name)
    return {} if model is None else {alias: str(version) for alias, version in model.aliases.items()}


def _find_version(job: Job, client: "MlflowClient", reference: str) -> "ModelVersion":
    """The version behind `models:/…`, or an error that says what there is."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise TrackingError(f"model {reference}: write models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias = match["name"], match["alias"]
    with explained(job):
        versions = {str(one.version): one for one in client.search_model_versions(f"name='{name}'")}
        models = ", ".join(one.name for one in client.search_registered_models())
    if not versions:
        raise TrackingError(f"no registered model {name!r} (there: {models or 'none'}); {MEND}")
    aliases = model_aliases(job, client, name)
    if alias is not None and alias not in aliases:
        there = ", ".join(f"{one} is version {aliases[one]}" for one in sorted(aliases)) or "none"
        gone = deleted_champion(job, client, name, versions) if alias == CHAMPION else None
        if gone is not None:
            mends = {
                PREVIOUS: "`moirai rollback` goes back to `previous`",
                CHALLENGER: "`moirai promote` judges the challenger",
            }
            mend = next((mends[one] for one in mends if one in aliases), MEND)
            raise TrackingError(
                f"model {reference}: the champion, version {gone}, was deleted (there: {there}); {mend}; or name a "
                f"version, such as models:/{name}/{max(versions, key=int)}"
            )
        raise TrackingError(f"model {name!r} has no alias {alias!r} (there: {there}); {MEND}")
    number = str(match["version"] if alias is None else aliases[alias])
    if number not in versions:
        there = ", ".join(sorted(versions, key=int)[-NUMBERS_SHOWN:])
        raise TrackingError(f"model {name!r} has no version {number} (latest: {there}); {MEND}")
    return versions[number]


def deleted_champion(job: Job, client: "MlflowClient", name: str, versions: Container[str]) -> str | None:
    """The version that was champion last, where it is no longer among the versions; MLflow takes its alias along."""
    model = registered_model(job, client, name)
    last = None if model is None else json.loads(model.tags.get(LAST_MOVE, "{}")).get(CHAMPION)
    return last if last is not None and last not in versions else None


@task(
    task_run_name="resolve {reference}",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def resolve(job: Job, reference: str) -> ModelRef:
    """Pin a model reference: see `resolve_model`."""
    return resolve_model(job, reference)
