"""A decision -> the registry: aliases that move, and tags that say why.

In: the contest that was looked up, what was decided, and the run. Out: the decision as it was carried out. Fails with
`TrackingError`: see `tasks/mlflow_store.py`. Judging takes minutes, in which others may move the champion: under the
lock it is looked up once more, and a decision against another champion than the present one moves nothing.
"""

import logging
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.job import Job
from tasks.mlflow_store import RETRY_DELAYS, connect, explained, is_worth_a_retry, one_at_a_time
from tasks.model_reference import CHAMPION, PREVIOUS, model_aliases
from tasks.promotion.aliases import Move, move, moved_by, now, settle, tag
from tasks.promotion.contest import Contest
from tasks.promotion.decision import Decision

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_REASON = 2000  # characters of a tag that people read

logger = logging.getLogger(__name__)


def carry_out(job: Job, contest: Contest, decision: Decision, *, run_id: str) -> Decision:
    """Move `champion` and `previous` where that was decided, and tag the challenger.

    Args:
        job: its registered model.
        contest: what the decision was made for.
        decision: of the rule.
        run_id: of the flow; with that of the last move this is a retry, which moves nothing again.

    Returns:
        The decision; where the champion changed in the meantime, the one that it comes to.

    Raises:
        TrackingError: see `tasks/mlflow_store.py`.
    """
    client = connect(job)
    with one_at_a_time(job):
        settle(job, client)
        if moved_by(job, client, run_id) is None:
            aliases = model_aliases(job, client, job.name)
            decision = _still_right(contest, decision, aliases)
            if decision.promoted:
                move(job, client, _wanted(contest, decision, aliases, run_id))
        with explained(job):
            if _is_there(job, client, decision.challenger):
                tag(client, job, decision.challenger, decision_tags(decision))
    logger.info("%s: %s", decision.headline, decision.reason)
    return decision


def decision_tags(decision: Decision) -> dict[str, str]:
    """What a version says of the decision about it."""
    tags = {
        "decision": decision.outcome,
        "decision_reason": decision.reason[:LONGEST_REASON],
        "decided_at": now(),
        "judged_against": f"version {decision.champion}" if decision.champion else "zero-shot base",
    }
    evidence = decision.evidence
    if evidence is None:
        return tags
    for one in evidence.standings:
        loss = one.wql if evidence.metric == "wql" else one.mase
        part = one.part.replace(" ", "_").replace("-", "_")
        tags[f"{evidence.metric}_{part}"] = "no score" if loss is None else f"{loss:.6g}"
        if one.part == evidence.against and one.gain is not None:
            tags["gain"] = f"{one.gain:.6g}"
            tags |= {"gain_interval": f"{one.low:.6g} to {one.high:.6g}"} if one.low is not None else {}
    return tags | {"judged_windows": f"{evidence.windows} clean, {evidence.left_out} left out"}


def _still_right(contest: Contest, decision: Decision, aliases: dict[str, str]) -> Decision:
    """The decision, unless others moved the champion while it was made."""
    champion, mine = aliases.get(CHAMPION), decision.challenger
    if not decision.promoted or champion == contest.champion_alias:
        return decision
    if champion == mine:
        told = f"Version {mine} is the champion already", "another run promoted it while this one judged it"
        return decision.model_copy(update={"outcome": "unchanged", "headline": told[0], "reason": told[1]})
    was, is_now = (f"version {one}" if one else "none" for one in (contest.champion_alias, champion))
    reason = (
        f"the champion changed while this was judged (it was {was}, it is {is_now}); nothing was moved, "
        "`moirai promote` judges against the present one"
    )
    headline = f"Version {mine} is not promoted; " + (f"version {champion} is champion" if champion else "no champion")
    return decision.model_copy(update={"outcome": "kept", "headline": headline, "reason": reason})


def _wanted(contest: Contest, decision: Decision, aliases: dict[str, str], run_id: str) -> Move:
    """Where the aliases go: who was champion becomes `previous`, which otherwise stays what it is."""
    champion = aliases.get(CHAMPION)
    previous = champion or aliases.get(PREVIOUS)
    return Move(
        action="promotion",
        champion=contest.challenger.version,
        previous=previous if previous != contest.challenger.version else None,
        left=champion,
        reason=decision.reason[:LONGEST_REASON],
        at=now(),
        run_id=run_id,
    )


def _is_there(job: Job, client: "MlflowClient", version: str) -> bool:
    found = client.search_model_versions(f"name='{job.name}'")
    return version in {str(one.version) for one in found}


@task(
    task_run_name="move aliases",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def apply_decision(job: Job, contest: Contest, decision: Decision, *, run_id: str) -> Decision:
    """Move the aliases where that was decided: see `carry_out`."""
    return carry_out(job, contest, decision, run_id=run_id)
