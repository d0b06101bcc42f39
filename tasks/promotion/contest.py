"""Who may become champion, and whom that takes: from the registry, before anything is scored.

In: the job, and where it is known already the challenger. Out: a `Contest`: the pinned models, and the rules that need
no backtest (the settings the weights depend on, the licence). Fails with `TrackingError`: no registered model, no
challenger, its files are gone; and with `CheckpointError` where the pretrained model that it comes from is gone.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.covariates import model_encoding
from tasks.errors import JobError, TrackingError
from tasks.job import Job
from tasks.mlflow_store import RETRY_DELAYS, connect, explained, is_worth_a_retry, one_at_a_time
from tasks.model_reference import (
    CHALLENGER,
    CHAMPION,
    REGISTRY,
    ModelRef,
    deleted_champion,
    model_aliases,
    resolve_model,
    version_ref,
)
from tasks.promotion.aliases import ROLLED_BACK, settle
from tasks.promotion.decision import Rule
from tasks.promotion.weights import changed_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

NON_COMMERCIAL = re.compile(r"(^|[^a-z])nc([^a-z]|$)|non-?commercial", re.IGNORECASE)  # CC-BY-NC-4.0


class Contest(BaseModel):
    """The models that are judged together, and what is known before they are."""

    model_config = ConfigDict(frozen=True)

    challenger: ModelRef
    champion: ModelRef | None  # None: there is none that could be judged
    base: ModelRef  # the pretrained model that the challenger comes from
    champion_alias: str | None  # where the alias pointed when this was looked up
    rules: list[Rule]
    notes: list[str]

    @property
    def is_over(self) -> bool:
        """Whether the challenger is the champion already."""
        return self.champion_alias == self.challenger.version

    @property
    def models(self) -> list[ModelRef]:
        """Those that the backtest has to score."""
        return [self.challenger, *([self.champion] if self.champion else []), self.base]

    @property
    def refused(self) -> bool:
        """Whether no score could make it champion."""
        return any(not rule.passed for rule in self.rules)


def find_contest(
    job: Job, challenger: ModelRef | None = None, *, with_champion: bool = True, repair: bool = True
) -> Contest:
    """Look up who is judged.

    Args:
        job: its registered model.
        challenger: the version in question; None: the one that has the alias.
        with_champion: whether it has to beat the present champion; False for runs that stand in the past, when
            another one was champion.
        repair: whether a promotion that was interrupted is finished first; False writes nothing.

    Raises:
        TrackingError: see the module's docstring.
        CheckpointError: the same.
    """
    client = connect(job)
    if repair:
        with one_at_a_time(job):
            settle(job, client)
    with explained(job):
        versions = {str(one.version): one for one in client.search_model_versions(f"name='{job.name}'")}
    aliases = model_aliases(job, client, job.name)
    version = challenger.version if challenger else aliases.get(CHALLENGER)
    if version is None or version not in versions:
        raise TrackingError(_no_challenger(job, versions, aliases))
    mine = challenger or version_ref(job, client, versions[version], f"{REGISTRY}{job.name}@{CHALLENGER}")
    alias = aliases.get(CHAMPION) if with_champion else None
    champion, notes = _champion(job, client, versions, alias) if with_champion else (None, [])
    return Contest(
        challenger=mine,
        champion=champion,
        base=resolve_model(job, mine.pretrained),
        champion_alias=alias,
        rules=[
            *_settings_rule(job, versions[version]),
            *_licence_rule(job, client, versions[version]),
            *_rollback_rule(versions[version]),
        ],
        notes=notes,
    )


def is_non_commercial(licence: str) -> bool:
    """Whether a licence, as named in tags and weights, forbids commercial use."""
    return NON_COMMERCIAL.search(licence) is not None


def _champion(
    job: Job, client: "MlflowClient", versions: Mapping[str, "ModelVersion"], alias: str | None
) -> tuple[ModelRef | None, list[str]]:
    """The present champion where it can be judged, and a sentence where it cannot."""
    instead = "the challenger is judged against the zero-shot base."
    if alias is None:
        lost = deleted_champion(job, client, job.name, versions)
        return None, [] if lost is None else [f"The champion, version {lost}, was deleted; {instead}"]
    if alias not in versions:
        return None, [f"The champion, version {alias}, is no longer there; {instead}"]
    try:
        champion = version_ref(job, client, versions[alias], f"{REGISTRY}{job.name}@{CHAMPION}")
        model_encoding(job, champion)
    except (TrackingError, JobError) as error:  # its files are gone; it knows other covariates than the job now has
        return None, [f"The champion, version {alias}, cannot forecast this job ({error}); {instead}"]
    return champion, []


def _no_challenger(job: Job, versions: Mapping[str, "ModelVersion"], aliases: Mapping[str, str]) -> str:
    if not versions:
        return f"there is no challenger: no version of {job.name!r} is registered; `moirai finetune` makes one"
    there = ", ".join(f"{alias} is version {aliases[alias]}" for alias in sorted(aliases)) or "none"
    return (
        f"there is no challenger: model {job.name!r} has no alias {CHALLENGER!r} (there: {there}), it was removed or "
        "its version deleted; `moirai finetune` makes one, or set the alias in MLflow"
    )


def _settings_rule(job: Job, version: "ModelVersion") -> Iterator[Rule]:
    """The weights must be those that the job would train now."""
    changed = ", ".join(changed_settings(version.tags, job))
    yield Rule(
        name="trained as the job says",
        asked="no change of a setting that the weights depend on",
        found=f"changed since: {changed}" if changed else "no change",
        passed=not changed,
        said=f"the job file has changed since it was trained: {changed}; `moirai finetune` trains as it says now"
        if changed
        else "the job file still says what it was trained by",
    )


def _licence_rule(job: Job, client: "MlflowClient", version: "ModelVersion") -> Iterator[Rule]:
    """Weights that forbid commercial use must be allowed by the job; a fine-tuning keeps the licence of its base."""
    found = dict(_licences(job, client, version))
    forbidden = {name: licence for name, licence in found.items() if is_non_commercial(licence)}
    told = ", ".join(f"{licence} ({name})" for name, licence in (forbidden or found).items())
    asked = "commercial use, unless the job sets non_commercial: true"
    yield Rule(
        name="licence",
        asked="any, as the job sets non_commercial: true" if job.non_commercial else asked,
        found=told,
        passed=job.non_commercial or not forbidden,
        said=f"its licence forbids commercial use: {told}; where there is none, set non_commercial: true"
        if forbidden
        else f"its licence is {told}",
    )


def _rollback_rule(version: "ModelVersion") -> Iterator[Rule]:
    """What people took out of service comes back by people only: the scores that once let it in have not changed."""
    when, why = (version.tags.get(name) for name in ROLLED_BACK)
    if when is not None:
        yield Rule(
            name="not rolled back",
            asked="a version that was not taken back",
            found=f"rolled back at {when} ({why})",
            passed=False,
            said=f"it was rolled back at {when} ({why}); a second `moirai rollback` undoes that",
        )


def _licences(job: Job, client: "MlflowClient", version: "ModelVersion") -> Iterator[tuple[str, str]]:
    """Name and licence of a version and of the models that it comes from, as far as they are known."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see `connect`

    from moirai.hub import SALESFORCE_LICENCE  # noqa: PLC0415 - brings torch

    tags: Mapping[str, str] | None = version.tags
    name = f"version {version.version}"
    seen = set()
    while tags is not None and name not in seen:
        seen.add(name)
        yield name, tags.get("licence", "unknown")
        name, tags = tags.get("base_model", ""), None
        if name.lower().startswith("salesforce/"):
            yield name, SALESFORCE_LICENCE
        if name.startswith(REGISTRY):
            with explained(job):
                try:
                    tags = client.get_model_version(*name.removeprefix(REGISTRY).split("/")).tags
                except MlflowException as error:
                    if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                        raise
                    return  # a base that was deleted; what came from it keeps its licence


@task(
    name="find challenger",
    task_run_name="find challenger and champion",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def contest_of(
    job: Job, challenger: ModelRef | None = None, *, with_champion: bool = True, repair: bool = True
) -> Contest:
    """Look up who is judged: see `find_contest`."""
    return find_contest(job, challenger, with_champion=with_champion, repair=repair)
