"""From a contest and its backtest to the decision.

In: the job, its panel, the contest, and the backtest that scored it. Out: a `Decision`, carried out by nobody yet.
Fails with `FileNotFoundError` when the backtest's tables are gone.
"""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.backtest import BacktestResult
from tasks.contamination import clean_from
from tasks.job import Job
from tasks.panel import PanelRef
from tasks.promotion.contenders import NAIVE, contenders
from tasks.promotion.contest import Contest
from tasks.promotion.decision import Decision, decide, is_champion_already, judge
from tasks.promotion.evidence import gather

ALSO_SCORED = (NAIVE,)  # the baseline that the rule needs, whatever baselines the job names


def judge_contest(job: Job, panel: PanelRef, contest: Contest, tested: BacktestResult | None) -> Decision:
    """What becomes of the challenger.

    Args:
        job: the block `promotion`.
        panel: the data it is judged on.
        contest: who is judged, and the rules that need no scores.
        tested: it scored the contest's models and the seasonal naive; None: those rules have settled it.
    """
    if contest.is_over:
        return is_champion_already(job.name, contest.challenger.version)
    rules, evidence, notes = list(contest.rules), None, list(contest.notes)
    if tested is not None:
        judged = contenders(job, tested, contest.challenger, contest.champion, contest.base)
        evidence = gather(job, panel, tested, judged, clean_from=clean_from(contest.models))
        rules += judge(job.promotion, evidence)
        labels = {one.label for one in judged}
        trained = (one for one in tested.seen if one.windows == one.of and one.model in labels)
        notes += [one.sentence() for one in trained]
    champion = contest.champion.version if contest.champion else None
    return decide(job.name, contest.challenger.version, champion, rules=rules, evidence=evidence, notes=notes)


@task(name="judge", task_run_name="judge version {contest.challenger.version}", cache_policy=NO_CACHE)
def decide_contest(job: Job, panel: PanelRef, contest: Contest, tested: BacktestResult | None) -> Decision:
    """What becomes of the challenger: see `judge_contest`."""
    return judge_contest(job, panel, contest, tested)
