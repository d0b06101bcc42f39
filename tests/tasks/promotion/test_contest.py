"""Who is judged, what is refused before any score, and what happens when others move the champion meanwhile."""

import json
import shutil
import threading

import pandas as pd
import pytest

from tasks.errors import TrackingError
from tasks.model_reference import resolve_model
from tasks.promotion.aliases import roll_back
from tasks.promotion.carry_out import carry_out
from tasks.promotion.contest import find_contest, is_non_commercial
from tasks.promotion.decision import decide
from tasks.promotion.judge import judge_contest


def test_challenger_champion_and_the_pretrained_base_are_judged(register, promote, job):
    """The base is the model that the whole chain of fine-tunings began with."""
    register(1)
    first = find_contest(job)
    assert (first.challenger.version, first.champion, first.base.name) == ("1", None, "base")
    promote()
    register(2, base="models:/shop@champion", trained_until=pd.Timestamp("2024-01-23"))
    second = find_contest(job)
    assert (second.challenger.version, second.champion.version, second.base.name) == ("2", "1", "base")
    assert second.challenger.base == "models:/shop/1"
    assert second.challenger.trained_until == pd.Timestamp("2024-01-23")
    assert not second.is_over
    assert not second.refused
    assert find_contest(job, with_champion=False).champion is None
    promote("another run")
    assert find_contest(job).is_over


def test_without_a_challenger_there_is_nothing_to_judge(add, job, client):
    """No version at all, an alias that was removed, a version that was deleted: each names the mend."""
    with pytest.raises(TrackingError, match=r"no version of 'shop' is registered; `moirai finetune` makes one"):
        find_contest(job)
    add(1)
    add(2)
    client.delete_registered_model_alias("shop", "challenger")
    with pytest.raises(TrackingError, match=r"has no alias 'challenger' \(there: none\).*`moirai finetune`"):
        find_contest(job)
    client.set_registered_model_alias("shop", "challenger", "2")
    client.delete_model_version("shop", "2")
    with pytest.raises(TrackingError, match=r"no alias 'challenger'.*version deleted; `moirai finetune`"):
        find_contest(job)


def test_a_challenger_whose_files_are_gone_is_an_error(add, job):
    """A model that cannot forecast cannot be judged."""
    shutil.rmtree(add(1).folder)
    with pytest.raises(TrackingError, match=r"holds no Moirai checkpoint.*`moirai finetune`"):
        find_contest(job)


@pytest.mark.parametrize("how", ["version", "files"])
def test_a_champion_that_is_gone_is_said_and_the_base_is_judged_instead(how, add, promote, job, client):
    """Deleted in MLflow, or its files deleted: the challenger is judged all the same."""
    champion = add(1)
    promote()
    add(2)
    if how == "version":
        client.delete_model_version("shop", "1")
    else:
        shutil.rmtree(champion.folder)
    contest = find_contest(job)
    assert contest.champion is None
    (note,) = contest.notes
    assert "version 1" in note
    assert "judged against the zero-shot base" in note
    assert promote("next", contest).promoted


def test_a_champion_that_knows_other_covariates_cannot_be_judged(add, promote, job):
    """It could not forecast the job as it is now either; the note says why."""
    from moirai.forecasting.covariates import CovariateEncoding  # noqa: PLC0415 - see conftest.py

    champion = add(1)
    promote()
    add(2)
    CovariateEncoding(known=(), past=("temp",), lead=7).write(champion.folder)
    contest = find_contest(job)
    assert contest.champion is None
    assert "was fine-tuned with the covariates" in contest.notes[0]


def test_weights_that_the_job_would_no_longer_train_are_refused(add, make_job, job):
    """The sentence names each setting with both values; another setting changes nothing."""
    add(1)
    assert not find_contest(job).refused
    columns = {"timestamp": "day", "target": ["sales"]}
    changed = make_job(tracking=job.tracking, columns=columns, horizon=14, promotion={"min_gain": 0.5})
    contest = find_contest(changed)
    assert contest.refused
    decision = judge_contest(changed, None, contest, None)
    assert decision.outcome == "kept"
    assert "horizon (was 7, is 14)" in decision.reason
    assert "`moirai finetune`" in decision.reason
    other = make_job(tracking=job.tracking, columns=columns, promotion={"min_gain": 0.5}, quantiles=[0.1, 0.9])
    assert not find_contest(other).refused


def test_a_training_that_leads_to_the_same_weights_is_no_change(register, make_job, job):
    """Registering it again under a setting that made no difference lets the version be judged."""
    register(1)
    same = make_job(
        tracking=job.tracking, columns={"timestamp": "day", "target": ["sales"]}, transform={"duplicates": "mean"}
    )
    refused = find_contest(same).refused
    assert register(1, of=same).version == "1"
    assert (refused, find_contest(same).refused) == (True, False)


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "unknown"])
def test_weights_that_forbid_commercial_use_need_the_jobs_consent(allowed, licence, add, make_job, job):
    """The licence of the base travels along, also over a base whose own tag was lost."""
    add(1, licence="CC-BY-NC-4.0")
    add(2, base_model="models:/shop/1", licence=licence)
    consent = make_job(tracking=job.tracking, columns={"timestamp": "day", "target": ["sales"]}, non_commercial=allowed)
    contest = find_contest(consent)
    assert contest.refused is not allowed
    (rule,) = [one for one in contest.rules if one.name == "licence"]
    assert "CC-BY-NC-4.0 (models:/shop/1)" in rule.found
    assert allowed or "non_commercial: true" in rule.said
    decision = judge_contest(consent, None, contest, None)
    assert decision.promoted is allowed


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [
        ("CC-BY-NC-4.0", True),
        ("cc-by-nc-sa-4.0", True),
        ("Non-Commercial", True),
        ("Apache-2.0", False),
        ("CC-BY-4.0", False),
        ("NCSA", False),
        ("unknown", False),
    ],
)
def test_licences_that_forbid_commercial_use(licence, forbids):
    """By the name of the licence; what is unknown is not refused."""
    assert is_non_commercial(licence) is forbids


def test_what_was_rolled_back_is_not_promoted_again_by_itself(add, promote, aliases, job):
    """The same scores would let it in once more, and a schedule would undo what people decided."""
    for seed in (1, 2):
        add(seed)
        promote(f"run {seed}")
    roll_back(job, run_id="back", reason="too low on Sundays")
    contest = find_contest(job)
    assert contest.refused
    decision = judge_contest(job, None, contest, None)
    assert "too low on Sundays" in decision.reason
    carry_out(job, contest, decision, run_id="next")
    assert aliases() == ["1", "2", "2"]
    add(3)
    assert not find_contest(job).refused


def test_a_champion_that_changed_meanwhile_is_not_replaced_unjudged(add, promote, aliases, job, client):
    """The decision was made against another one: nothing moves, and the reason says so."""
    add(1)
    promote("run 1")
    add(2)
    contest = find_contest(job)
    add(3)
    client.set_registered_model_alias("shop", "champion", "3")
    decision = promote("run 2", contest)
    assert decision.outcome == "kept"
    assert "it was version 1, it is version 3" in decision.reason
    assert aliases()[:2] == ["3", None]
    assert client.get_model_version("shop", "2").tags["decision"] == "kept"


def test_two_promotions_at_once_promote_once(add, promote, aliases, job, client):
    """The slower one finds the challenger promoted; `previous` is the champion of before."""
    add(1)
    promote("run 1")
    add(2)
    contest = find_contest(job)
    decision = decide(job.name, "2", "1", rules=[], evidence=None, notes=[])
    outcomes = []
    runs = [
        threading.Thread(
            target=lambda name=name: outcomes.append(carry_out(job, contest, decision, run_id=name).outcome)
        )
        for name in ("a", "b", "c")
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(outcomes) == ["promoted", "unchanged", "unchanged"]
    assert aliases() == ["2", "1", "2"]
    assert json.loads(client.get_registered_model("shop").tags["last_move"])["done"] is True


def test_a_retry_of_a_promotion_is_still_a_promotion(add, promote, aliases, job):
    """The connection broke after the aliases moved: the second attempt says the same, and moves nothing again."""
    add(1)
    promote("run 1")
    add(2)
    contest = find_contest(job)
    assert [promote("run 2", contest).outcome for _ in range(2)] == ["promoted", "promoted"]
    assert aliases() == ["2", "1", "2"]


def test_a_challenger_deleted_while_it_was_judged_is_told_and_nothing_else(add, promote, aliases, job, client):
    """There is no version left to tag; the champion stays."""
    add(1)
    promote("run 1")
    add(2)
    contest = find_contest(job)
    refused = decide(job.name, "2", "1", rules=[], evidence=None, notes=[]).model_copy(update={"outcome": "kept"})
    client.delete_model_version("shop", "2")
    assert carry_out(job, contest, refused, run_id="run 2").outcome == "kept"
    assert aliases() == ["1", None, None]


def test_a_pinned_base_may_be_deleted(add, job, client):
    """What came from it keeps its own tags, and the pretrained model is still there to be judged."""
    add(1)
    add(2, base_model="models:/shop/1")
    client.delete_model_version("shop", "1")
    contest = find_contest(job)
    assert contest.base.name == "base"
    assert not contest.refused
    assert resolve_model(job, "models:/shop/2").root == "base"
