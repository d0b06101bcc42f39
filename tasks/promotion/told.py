"""A decision in words and tables, for people who know neither the code nor the names in it.

In: a `Decision`. Out: tables as plain records, and one Markdown text of them. Nothing here fails.
"""

from typing import Any

from tasks.artifacts import plain
from tasks.findings import Rows, capped
from tasks.promotion.decision import Decision, percent
from tasks.promotion.evidence import Evidence, Standing

SEGMENTS_SHOWN = 50
METRICS = {"wql": "WQL", "mase": "MASE"}
EXPLAINED = (
    "**WQL**, weighted quantile loss: error of the whole forecast distribution as a share of the level of the series. "
    "**MASE**: error of the median in units of the average seasonal change. Of both, lower is better. **Gain**: by how "
    "much the challenger's loss is lower; negative means higher. The **interval** says how far the gain depends on "
    "which {unit} happened to be in the data."
)


def evidence_sentence(evidence: Evidence) -> str:
    """What the models were judged on."""
    count = f"{evidence.windows:,} window{'' if evidence.windows == 1 else 's'}"
    series = f"{evidence.series:,} series"
    if evidence.first is None:
        return "There is no window to judge on that none of the models has seen."
    span = f"{evidence.first:%Y-%m-%d %H:%M} to {evidence.last:%Y-%m-%d %H:%M}"
    told = f"Judged on the same {count} of {series}, which forecast {span}."
    if evidence.left_out:
        told += (
            f" {evidence.left_out:,} earlier ones were left out: one of the models was trained on data up to "
            f"{evidence.clean_from}."
        )
    return told


def standing_rows(decision: Decision) -> Rows:
    """The judged models as a table."""
    evidence = decision.evidence
    if evidence is None:
        return []
    title = f"{100 * evidence.confidence:g} % interval"
    return [
        {
            "model": one.part,
            "version": _version(one),
            "WQL": _loss(one.wql),
            "MASE": _loss(one.mase),
            "inside the 80 % band": "no score" if one.coverage is None else f"{100 * one.coverage:.1f} %",
            "gain of the challenger": "" if one.part == "challenger" else percent(one.gain),
            title: _interval(one),
        }
        for one in evidence.standings
    ]


def rule_rows(decision: Decision) -> Rows:
    """The rules as a table."""
    return [
        {"met": "yes" if rule.passed else "NO", "rule": rule.name, "asked": rule.asked, "found": rule.found}
        for rule in decision.rules
    ]


def segment_rows(decision: Decision) -> Rows:
    """The segments as a table."""
    evidence = decision.evidence
    if evidence is None:
        return []
    metric = METRICS[evidence.metric]
    return [
        {
            "segment": one.kind,
            "value": one.value,
            "windows": one.windows,
            f"{metric} challenger": _loss(one.challenger),
            f"{metric} {evidence.against}": _loss(one.other),
            "gain": percent(one.gain),
        }
        for one in evidence.segments
    ]


def sentences(decision: Decision) -> list[str]:
    """Why it was decided so: a sentence per rule that was not met, or the one that decided."""
    lost = [rule.said for rule in decision.failed]
    told = lost if "; ".join(lost) == decision.reason else [decision.reason]
    return [_sentence(one) for one in told]


def explanation(decision: Decision) -> str:
    """What the columns of the tables mean, in Markdown."""
    return EXPLAINED.format(unit=decision.evidence.unit if decision.evidence else "windows")


def decision_markdown(decision: Decision) -> str:
    """All of it as Markdown."""
    first, *others = sentences(decision)
    lines = [f"# {plain(decision.model)}: {plain(decision.headline)}", "", plain(first), ""]
    lines += [f"- {plain(one)}" for one in others] + ([""] if others else [])
    if decision.evidence is not None:
        lines += [evidence_sentence(decision.evidence), ""]
    lines += [f"- {plain(note)}" for note in decision.notes] + ([""] if decision.notes else [])
    parts = {"Models": standing_rows(decision), "Rules": rule_rows(decision)}
    parts["Segments"] = capped(segment_rows(decision), SEGMENTS_SHOWN)
    for title, rows in parts.items():
        lines += [f"## {title}", "", *_table(rows), ""] if rows else []
    if decision.evidence is not None:
        lines += [explanation(decision), ""]
    return "\n".join(lines)


def _table(rows: Rows) -> list[str]:
    heads = list(rows[0])
    numbers = {name for name in heads if name not in ("model", "version", "met", "rule", "asked", "found", "segment")}
    rule = "|" + "|".join("---:" if name in numbers - {"value"} else "---" for name in heads) + "|"
    return [_line(heads), rule, *(_line(list(row.values())) for row in rows)]


def _line(cells: list[Any]) -> str:
    return "| " + " | ".join(plain(str(cell)) for cell in cells) + " |"


def _loss(value: float | None) -> str:
    return "no score" if value is None else f"{value:,.4f}"


def _version(one: Standing) -> str:
    """What is behind a part: a version of the registered model, a model with its digest, a baseline."""
    if one.part == "seasonal naive":
        return one.name
    return f"{one.name} {one.version}" if one.part == "zero-shot base" else one.version


def _interval(one: Standing) -> str:
    return "" if one.low is None or one.high is None else f"{percent(one.low)} to {percent(one.high)}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
