"""The rule: each thing that is asked can keep the champion by itself, and says so in one sentence."""

import math

import pandas as pd
import pytest

from tasks.job import Promotion
from tasks.promotion.decision import Rule, decide, interval, is_champion_already, judge, percent
from tasks.promotion.evidence import Evidence, SegmentGain, Standing
from tasks.promotion.told import decision_markdown

ASKED = Promotion(min_gain=0.02, max_loss=0.05, coverage=[0.6, 0.95])
LICENCE = Rule(name="licence", asked="any", found="Apache-2.0", passed=True, said="its licence is Apache-2.0")


def standing(part, gain=None, *, coverage=0.8):
    """One model; only its gain and its coverage matter to the rule."""
    ends = {"low": gain - 0.01, "high": gain + 0.01} if gain is not None and math.isfinite(gain) else {}
    return Standing(part=part, name="m", version="1", wql=0.1, mase=1.0, coverage=coverage, gain=gain, **ends)


def evidence(*, champion=0.03, base=0.2, naive=0.5, coverage=0.8, segments=(), windows=20):
    """Evidence that promotes, with some of it changed; champion None: there is none."""
    standings = [standing("challenger", coverage=coverage)]
    standings += [] if champion is None else [standing("champion", champion)]
    standings += [standing("zero-shot base", base), standing("seasonal naive", naive)]
    return Evidence(
        metric="wql",
        confidence=0.9,
        unit="windows",
        series=1,
        windows=windows,
        left_out=20 - windows,
        clean_from=pd.Timestamp("2024-01-01"),
        first=pd.Timestamp("2024-01-02") if windows else None,
        last=pd.Timestamp("2024-01-03") if windows else None,
        standings=standings if windows else [],
        against="zero-shot base" if champion is None else "champion",
        segments=[segment(*one) for one in segments],
    )


def segment(kind, value, gain):
    """One segment."""
    return SegmentGain(kind=kind, value=value, windows=4, challenger=0.1, other=0.1, gain=gain)


def decided(found, *, asked=ASKED, champion="2"):
    """The decision that evidence leads to."""
    rules = [LICENCE, *judge(asked, found)]
    return decide("shop", "3", champion, rules=rules, evidence=found, notes=[])


def test_a_challenger_that_meets_every_rule_becomes_champion():
    """The headline says what happens now, the reason by how much and how sure."""
    decision = decided(evidence())
    assert decision.promoted
    assert decision.headline == "Version 3 becomes champion in place of version 2"
    assert decision.reason == (
        "its WQL is 3.0 % below that of the champion (90 % interval of the gain +2.0 % to +4.0 %); "
        "asked is a gain of at least +2.0 %"
    )
    assert [rule.name for rule in decision.rules] == [
        "licence",
        "clean windows",
        "gain over the champion",
        "not worse than the zero-shot base",
        "not worse than seasonal naive",
        "coverage of the 80 % band",
    ]


@pytest.mark.parametrize(
    ("changed", "rule", "said"),
    [
        ({"champion": 0.019}, "gain over the champion", "1.9 % below that of the champion"),
        ({"champion": None, "base": 0.0}, "gain over the zero-shot base", "level with that of the zero-shot base"),
        ({"base": -0.06}, "not worse than the zero-shot base", "6.0 % above that of the zero-shot base"),
        ({"naive": -2.0}, "not worse than seasonal naive", "3.0 times that of seasonal naive"),
        ({"naive": -math.inf}, "not worse than seasonal naive", "above 0, unlike that of seasonal naive"),
        ({"coverage": 0.59}, "coverage of the 80 % band", "holds 59.0 % of the actual values; asked is 60 % to 95 %"),
        ({"coverage": 0.96}, "coverage of the 80 % band", "holds 96.0 % of the actual values"),
        ({"coverage": None}, "coverage of the 80 % band", "holds no score"),
        ({"segments": [("state", "Vic", -0.06)]}, "every state", "in Vic its WQL is 6.0 % above that of the champion"),
        ({"segments": [("horizon", "steps 1 to 6", -0.06)]}, "every range of the horizon", "in steps 1 to 6 its WQL"),
        ({"windows": 0}, "clean windows", "0 of 20 windows are ones that none of the models has seen"),
    ],
)
def test_each_rule_alone_keeps_the_champion(changed, rule, said):
    """One rule that is not met is enough, is the only one named, and its sentence has the number."""
    decision = decided(evidence(**changed), champion=None if changed.get("champion", 1) is None else "2")
    assert decision.outcome == "kept"
    assert [one.name for one in decision.failed] == [rule]
    assert said in decision.reason
    assert "not promoted" in decision.headline


def test_a_gain_that_is_not_known_keeps_the_champion():
    """A loss of nothing, such as that of zeros, shows nothing."""
    for part in ("champion", "base", "naive"):
        found = evidence()
        standings = [
            one.model_copy(update={"gain": None, "low": None, "high": None})
            if one.part.endswith(part) or (part == "base" and one.part == "zero-shot base")
            else one
            for one in found.standings
        ]
        decision = decided(found.model_copy(update={"standings": standings}))
        assert decision.outcome == "kept", part
        assert "there is no WQL to compare" in decision.reason


def test_without_a_gain_asked_for_level_is_enough():
    """As a retraining that finds the same weights keeps serving, and rounding does not decide."""
    level = Promotion()
    assert decided(evidence(champion=0.0), asked=level).promoted
    assert decided(evidence(champion=-1e-12), asked=level).promoted
    assert not decided(evidence(champion=-1e-6), asked=level).promoted


def test_segments_without_a_score_say_nothing_and_the_worst_one_is_named():
    """A state without observations neither promotes nor keeps; of several bad ones the worst stands first."""
    quiet = evidence(segments=[("state", "Vic", None), ("state", "NSW", 0.3)])
    assert decided(quiet).promoted
    bad = evidence(segments=[("state", "Vic", -0.06), ("state", "NSW", -0.4), ("state", "Qld", 0.1)])
    decision = decided(bad)
    assert "in NSW its WQL is 40.0 % above" in decision.reason
    assert "1 more of 3 segments fall short" in decision.reason


def test_coverage_is_looked_at_where_bounds_are_set():
    """Null leaves it out."""
    found = evidence(coverage=0.1)
    assert not decided(found).promoted
    assert decided(found, asked=ASKED.model_copy(update={"coverage": None})).promoted


def test_a_rule_that_needs_no_scores_is_told_without_any():
    """Nothing was scored, so the text has rules and no tables of models."""
    refused = LICENCE.model_copy(update={"passed": False, "said": "its licence forbids commercial use"})
    decision = decide("shop", "3", None, rules=[refused], evidence=None, notes=["A note."])
    assert (decision.outcome, decision.reason) == ("kept", "its licence forbids commercial use")
    text = decision_markdown(decision)
    assert "## Rules" in text
    assert "## Models" not in text
    assert "- A note." in text


def test_the_champion_is_not_judged_against_itself():
    """Nothing moves, and the reason says what would make a new challenger."""
    decision = is_champion_already("shop", "3")
    assert (decision.outcome, decision.promoted) == ("unchanged", False)
    assert "moirai finetune" in decision.reason


def test_the_text_has_every_number_of_the_decision():
    """Models, rules and segments stand in tables that people read without knowing the code."""
    text = decision_markdown(decided(evidence(segments=[("state", "Vic", 0.1), ("state", "N|W", None)])))
    for part in (
        "# shop: Version 3 becomes champion in place of version 2",
        "Judged on the same 20 windows of 1 series, which forecast 2024-01-02 00:00 to 2024-01-03 00:00.",
        "| champion | 1 | 0.1000 | 1.0000 | 80.0 % | +3.0 % | +2.0 % to +4.0 % |",
        "| yes | not worse than seasonal naive | at most 5.0 % worse | +50.0 % (90 % interval +49.0 % to +51.0 %) |",
        "| state | Vic | 4 | 0.1000 | 0.1000 | +10.0 % |",
        "| state | N\\|W | 4 | 0.1000 | 0.1000 | no score |",
    ):
        assert part in text, text


def test_shares_are_written_for_people():
    """Beyond twice the loss a factor says more than a percentage."""
    assert [percent(one) for one in (0.123, -0.05, -1e-9, -1.5, -math.inf, None)] == [
        "+12.3 %",
        "-5.0 %",
        "0.0 %",
        "2.5-fold loss",
        "worse by any factor",
        "no score",
    ]
    assert interval(None, None, 0.9) == "too few windows for an interval"
