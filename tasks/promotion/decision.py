"""The rule: whether a challenger becomes champion, from the evidence alone.

In: what the job asks (`promotion`), and the `Evidence`. Out: a `Decision`: every rule with what it asked and what was
found, and one sentence. Nothing here fails: what shows nothing (a loss that is NaN, no clean window) keeps the
champion.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.job import Promotion
from tasks.promotion.contenders import Part
from tasks.promotion.evidence import Evidence, Standing

LEVEL = 1e-9  # losses that differ by less than rounding are level
CHALLENGER: Part = "challenger"
BASE: Part = "zero-shot base"


class Rule(BaseModel):
    """One thing that was asked, what was found, and whether that is enough."""

    model_config = ConfigDict(frozen=True)

    name: str
    asked: str
    found: str
    passed: bool
    said: str  # all of it as a sentence without its full stop


class Decision(BaseModel):
    """What becomes of a challenger, and why."""

    model_config = ConfigDict(frozen=True)

    model: str  # the registered model
    challenger: str  # version
    champion: str | None  # the version that it was judged against; None: there is no champion
    outcome: Literal["promoted", "kept", "unchanged"]
    headline: str  # what happens now
    reason: str  # one sentence with numbers
    rules: list[Rule] = []
    notes: list[str] = []  # what else is worth knowing
    evidence: Evidence | None = None  # None: it was refused, or settled, before any backtest

    @property
    def promoted(self) -> bool:
        """Whether the challenger becomes champion."""
        return self.outcome == "promoted"

    @property
    def failed(self) -> list[Rule]:
        """The rules that were not met."""
        return [rule for rule in self.rules if not rule.passed]

    def standing(self, part: Part) -> Standing | None:
        """What one of the judged models scored."""
        found = self.evidence.standings if self.evidence else []
        return next((one for one in found if one.part == part), None)


def judge(asked: Promotion, evidence: Evidence) -> list[Rule]:
    """Every rule, in the order in which people read them."""
    if not evidence.standings:
        return [_clean_rule(evidence)]
    by_part = {one.part: one for one in evidence.standings}
    others: list[Part] = [part for part in (BASE, "seasonal naive") if part in by_part and part != evidence.against]
    rules = [_clean_rule(evidence), _gain_rule(asked, evidence, by_part[evidence.against])]
    rules += [_not_worse_rule(asked, evidence, by_part[part]) for part in others]
    rules += list(_segment_rules(asked, evidence))
    return rules + list(_coverage_rule(asked, by_part[CHALLENGER]))


def decide(
    model: str,
    challenger: str,
    champion: str | None,
    *,
    rules: list[Rule],
    evidence: Evidence | None,
    notes: list[str],
) -> Decision:
    """The decision that the rules lead to: the challenger becomes champion where all of them are met.

    Args:
        model: name of the registered model.
        challenger: version.
        champion: the version it was judged against; None: there is none.
        rules: those of the job file, and of the evidence where there is any.
        evidence: kept with the decision.
        notes: sentences to keep with it.
    """
    failed = [rule for rule in rules if not rule.passed]
    stays = f"version {champion} stays champion" if champion else "there is still no champion"
    if failed:
        headline = f"Version {challenger} is not promoted; {stays}"
        reason = "; ".join(rule.said for rule in failed)
    else:
        headline = f"Version {challenger} becomes champion" + (f" in place of version {champion}" if champion else "")
        reason = next((rule.said for rule in rules if rule.name.startswith("gain over")), "all rules are met")
    return Decision(
        model=model,
        challenger=challenger,
        champion=champion,
        outcome="kept" if failed else "promoted",
        headline=headline,
        reason=reason,
        rules=rules,
        notes=notes,
        evidence=evidence,
    )


def is_champion_already(model: str, version: str) -> Decision:
    """The decision where the challenger is the champion: nothing is judged, nothing moves."""
    return Decision(
        model=model,
        challenger=version,
        champion=version,
        outcome="unchanged",
        headline=f"Version {version} is the champion already",
        reason="the challenger is the champion; `moirai finetune` makes a new challenger once there is new data",
    )


def percent(share: float | None) -> str:
    """A share as people read it: `+3.2 %`."""
    if share is None or np.isnan(share):
        return "no score"
    if share < -1:  # twice the loss and more
        return f"{1 - share:.1f}-fold loss" if np.isfinite(share) else "worse by any factor"
    text = f"{100 * share:+.1f} %"
    return "0.0 %" if text in ("+0.0 %", "-0.0 %") else text


def interval(low: float | None, high: float | None, confidence: float) -> str:
    """An interval in words."""
    if low is None or high is None:
        return "too few windows for an interval"
    return f"{100 * confidence:g} % interval {percent(low)} to {percent(high)}"


def _clean_rule(evidence: Evidence) -> Rule:
    every = evidence.windows + evidence.left_out
    found = f"{evidence.windows:,} of {every:,}"
    trained = f"one of the models was trained on data up to {evidence.clean_from}"
    said = f"{found} windows are ones that none of the models has seen"
    return Rule(
        name="clean windows",
        asked="at least one window that no judged model has seen",
        found=f"{found} ({trained})" if evidence.left_out else found,
        passed=evidence.windows > 0,
        said=f"{said}: {trained}; wait for later data" if evidence.left_out else said,
    )


def _gain_rule(asked: Promotion, evidence: Evidence, other: Standing) -> Rule:
    return Rule(
        name=f"gain over {_name(other.part)}",
        asked=f"at least {percent(asked.min_gain)}",
        found=_found(evidence, other),
        passed=_is_at_least(other.gain, asked.min_gain),
        said=f"{_relation(evidence, other)}; asked is a gain of at least {percent(asked.min_gain)}",
    )


def _not_worse_rule(asked: Promotion, evidence: Evidence, other: Standing) -> Rule:
    return Rule(
        name=f"not worse than {_name(other.part)}",
        asked=_at_most(asked.max_loss),
        found=_found(evidence, other),
        passed=_is_at_least(other.gain, -asked.max_loss),
        said=f"{_relation(evidence, other)}; it may be {_at_most(asked.max_loss)}",
    )


def _found(evidence: Evidence, other: Standing) -> str:
    if other.gain is None:
        return "no score to compare"
    return f"{percent(other.gain)} ({interval(other.low, other.high, evidence.confidence)})"


def _relation(evidence: Evidence, other: Standing) -> str:
    """The losses of the two in words, with the interval of the gain."""
    if other.gain is None:
        return f"there is no {evidence.metric.upper()} to compare with that of {_name(other.part)}"
    sure = interval(other.low, other.high, evidence.confidence).replace("interval", "interval of the gain")
    return f"its {evidence.metric.upper()} is {_than(other.gain)} that of {_name(other.part)} ({sure})"


def _than(gain: float) -> str:
    if abs(gain) < LEVEL:
        return "level with"
    if gain < -1:
        return f"{1 - gain:.1f} times" if np.isfinite(gain) else "above 0, unlike"
    return f"{100 * abs(gain):.1f} % {'below' if gain > 0 else 'above'}"


def _name(part: Part) -> str:
    return part if part == "seasonal naive" else f"the {part}"


def _segment_rules(asked: Promotion, evidence: Evidence) -> Iterator[Rule]:
    """One rule per static column and one for the ranges of the horizon; segments without a score say nothing."""
    for kind in dict.fromkeys(one.kind for one in evidence.segments):
        judged = [(one.gain, one.value) for one in evidence.segments if one.kind == kind and one.gain is not None]
        lost = [value for gain, value in judged if not _is_at_least(gain, -asked.max_loss)]
        found = said = "no segment has a score"
        if judged:
            gain, value = min(judged)
            found = f"{percent(gain)} in {value}, the worst"
            said = f"in {value} its {evidence.metric.upper()} is {_than(gain)} that of {_name(evidence.against)}"
        if len(lost) > 1:
            found += f"; {len(lost):,} of {len(judged):,} segments fall short"
            said += f", and {len(lost) - 1:,} more of {len(judged):,} segments fall short"
        name = "every range of the horizon" if kind == "horizon" else f"every {kind}"
        said = f"{said}; it may be {_at_most(asked.max_loss)}"
        yield Rule(name=name, asked=_at_most(asked.max_loss), found=found, passed=not lost, said=said)


def _coverage_rule(asked: Promotion, mine: Standing) -> Iterator[Rule]:
    if asked.coverage is None:
        return
    low, high = asked.coverage
    found = "no score" if mine.coverage is None else f"{100 * mine.coverage:.1f} %"
    bounds = f"{100 * low:g} % to {100 * high:g} %"
    yield Rule(
        name="coverage of the 80 % band",
        asked=bounds,
        found=found,
        passed=mine.coverage is not None and low <= mine.coverage <= high,
        said=f"its 80 % band holds {found} of the actual values; asked is {bounds}",
    )


def _at_most(loss: float) -> str:
    return f"at most {100 * loss:.1f} % worse"


def _is_at_least(gain: float | None, least: float) -> bool:
    """Whether a gain reaches what is asked; no gain, or one that is NaN, does not."""
    return gain is not None and gain >= least - LEVEL
