"""The aliases `champion` and `previous` of a job's registered model, and how they move together.

In: the job, and where they go. Out: the `Move`. Fails with `TrackingError`: see `tasks/mlflow_store.py`; and a rollback
where there is nothing to go back to.

Two aliases cannot be set in one step. What is about to happen is therefore written first, as the tag `last_move` of the
registered model; `previous` moves before `champion`, so that whatever interrupts them, there is a champion; and whoever
comes next finishes the move. All of it happens under one lock (`one_at_a_time`), which all runs of a machine share.
"""

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.errors import TrackingError
from tasks.job import Job
from tasks.mlflow_store import RETRY_DELAYS, connect, explained, is_worth_a_retry, one_at_a_time
from tasks.model_reference import CHAMPION, LAST_MOVE, PREVIOUS, deleted_champion, model_aliases, registered_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

ROLLED_BACK = ("rolled_back_at", "rolled_back_reason")  # tags of a version that is not to be promoted again

logger = logging.getLogger(__name__)


class Move(BaseModel):
    """Where a promotion or a rollback put the aliases."""

    model_config = ConfigDict(frozen=True)

    action: Literal["promotion", "rollback"]
    champion: str  # version
    previous: str | None  # None: there is no other
    left: str | None = None  # the champion before; None: there was none
    reason: str
    at: str  # ISO 8601, UTC
    run_id: str  # of the flow that moved them: a retry of it moves nothing twice
    done: bool = True


def now() -> str:
    """The present moment as tags have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def move(job: Job, client: "MlflowClient", wanted: Move) -> None:
    """Put the aliases where they are wanted; the caller holds the lock.

    Raises:
        TrackingError: see `tasks/mlflow_store.py`; what was begun is then finished by the next one.
    """
    with explained(job):
        _note(client, job, wanted.model_copy(update={"done": False}))
        _finish(client, job, wanted)


def settle(job: Job, client: "MlflowClient") -> Move | None:
    """Finish a move that was interrupted; the caller holds the lock.

    Returns:
        The move that was finished; None: there was none.

    Raises:
        TrackingError: see `tasks/mlflow_store.py`.
    """
    model = registered_model(job, client, job.name)
    begun = None if model is None else last_move(model)
    if begun is None or begun.done:
        return None
    with explained(job):
        there = {str(one.version) for one in client.search_model_versions(f"name='{job.name}'")}
        if begun.champion not in there:  # deleted meanwhile: there is nothing to finish
            _note(client, job, begun.model_copy(update={"done": True}))
            return None
        kept = begun.previous if begun.previous in there else None
        finished = begun.model_copy(update={"previous": kept, "done": True})
        _finish(client, job, finished)
    logger.warning("the %s that made version %s champion was interrupted; finished it", begun.action, begun.champion)
    return finished


def last_move(model: "RegisteredModel") -> Move | None:
    """Where a promotion or rollback put the aliases last."""
    text = model.tags.get(LAST_MOVE)
    return None if text is None else Move.model_validate_json(text)


def roll_back(job: Job, *, run_id: str, reason: str = "") -> Move:
    """Make `previous` the champion; what was champion becomes `previous`, so that a second rollback undoes the first.

    Args:
        job: its registered model.
        run_id: of the flow; with that of the last move this is a retry, which moves nothing again.
        reason: kept with both versions, in words.

    Returns:
        The move; one that had been interrupted is finished and is the answer.

    Raises:
        TrackingError: no registered model, no `previous`, or it was deleted; see also `tasks/mlflow_store.py`.
    """
    client = connect(job)
    with one_at_a_time(job):
        made = settle(job, client) or moved_by(job, client, run_id)
        if made is None or made.action != "rollback":
            made = _way_back(job, client, run_id, reason)
            move(job, client, made)
        with explained(job):
            tag(client, job, made.champion, {"restored_at": made.at, "restored_reason": made.reason})
            for name in ROLLED_BACK:
                client.delete_model_version_tag(job.name, made.champion, name)
            if made.left is not None:
                tag(client, job, made.left, dict(zip(ROLLED_BACK, (made.at, made.reason), strict=True)))
    logger.info("version %s of %s is champion again", made.champion, job.name)
    return made


def moved_by(job: Job, client: "MlflowClient", run_id: str) -> Move | None:
    """The last move, where this run made it."""
    model = registered_model(job, client, job.name)
    last = None if model is None else last_move(model)
    return last if last is not None and last.run_id == run_id else None


def _way_back(job: Job, client: "MlflowClient", run_id: str, reason: str) -> Move:
    aliases = model_aliases(job, client, job.name)
    champion, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
    if previous is None or previous == champion:
        raise TrackingError(_nothing_to_go_back_to(job, client, champion, previous))
    return Move(
        action="rollback",
        champion=previous,
        previous=champion,
        left=champion,
        reason=reason or f"`moirai rollback` went back to version {previous}",
        at=now(),
        run_id=run_id,
    )


def _nothing_to_go_back_to(job: Job, client: "MlflowClient", champion: str | None, previous: str | None) -> str:
    """Why there is no way back, and what helps."""
    model = registered_model(job, client, job.name)
    if model is None:
        return f"no registered model {job.name!r}: nothing was promoted yet; `moirai finetune` makes a version"
    with explained(job):
        versions = sorted((str(one.version) for one in client.search_model_versions(f"name='{job.name}'")), key=int)
    there = f"versions there are: {', '.join(versions) or 'none'}"
    by_hand = "set the alias `champion` in MLflow to one of them, or promote a challenger with `moirai promote`"
    last = last_move(model)
    if previous is not None:
        return f"`previous` of model {job.name!r} is its champion, version {champion}; {there}; {by_hand}"
    if last is not None and last.previous is not None and last.previous not in versions:
        return f"`previous` of model {job.name!r}, version {last.previous}, was deleted; {there}; {by_hand}"
    lost = deleted_champion(job, client, job.name, versions)
    told = f"its champion is version {champion}" if lost is None else f"its champion, version {lost}, was deleted"
    if champion is None and lost is None:
        told = "it has no champion either"
    return f"model {job.name!r} has no `previous` to go back to: {told}; {there}; {by_hand}"


def _finish(client: "MlflowClient", job: Job, wanted: Move) -> None:
    if wanted.previous is not None:  # first, so that there is a champion whatever happens between the two
        client.set_registered_model_alias(job.name, PREVIOUS, wanted.previous)
    client.set_registered_model_alias(job.name, CHAMPION, wanted.champion)
    if wanted.previous is None:
        client.delete_registered_model_alias(job.name, PREVIOUS)
    _note(client, job, wanted.model_copy(update={"done": True}))


def _note(client: "MlflowClient", job: Job, wanted: Move) -> None:
    client.set_registered_model_tag(job.name, LAST_MOVE, wanted.model_dump_json())


def tag(client: "MlflowClient", job: Job, version: str, tags: dict[str, str]) -> None:
    """Set tags of a version."""
    for name, value in tags.items():
        client.set_model_version_tag(job.name, version, name, value)


@task(
    task_run_name="roll back",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def restore(job: Job, *, run_id: str, reason: str = "") -> Move:
    """Make `previous` the champion: see `roll_back`."""
    return roll_back(job, run_id=run_id, reason=reason)
