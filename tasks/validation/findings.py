"""From the outcome of an expectation to the record that people read: counts, first places, what follows.

In: outcomes, and examples in words. Out: `Check`. `Places` says where rows of a raw panel stand in the source.
"""

from collections.abc import Sequence

import pandas as pd

from tasks.expectations import Outcome, write_out
from tasks.job import Job
from tasks.panel import SOURCE_ROW, PanelRef
from tasks.quality import Check

EXAMPLES = 3  # lines or series that a message names


class Places:
    """Words for rows of a raw panel."""

    def __init__(self, raw: PanelRef, job: Job) -> None:
        self._raw = raw
        self._is_shared = job.source.layout != "long"  # then a line holds more than one row of the panel

    def of(self, rows: pd.DataFrame, column: str | None = None) -> list[str]:
        """`line 17`, or `9831.3 in line 17` for a column; the series too where a line of the source holds several."""
        words = [self._raw.place(int(row)) for row in rows[SOURCE_ROW]]
        if self._is_shared:
            keys = zip(rows["item_id"], rows["timestamp"], strict=True)
            words = [f"{text}: {item} at {write_out(at)}" for text, (item, at) in zip(words, keys, strict=True)]
        if column is None:
            return words
        return [f"{self._value(value, column)} in {text}" for value, text in zip(rows[column], words, strict=True)]

    def _value(self, value: float, column: str) -> str:
        """A value as the source says it: names instead of codes."""
        if column in self._raw.levels and not pd.isna(value):
            return self._raw.levels[column][int(value)]
        return f"{value:g}"


def to_check(outcome: Outcome, examples: Sequence[str]) -> Check:
    """The outcome as a record; its message counts, names the first places and what follows."""
    meta, count = outcome.meta, outcome.count
    message = f"{meta['what']}: {in_count(count)} of {outcome.total:,}"
    if outcome.observed is not None:
        message = f"{meta['what']}: {'met' if outcome.passed else 'not met'}, found {outcome.observed}"
    if examples:
        more = ", ..." if count > EXAMPLES else ""
        message += f" ({', '.join(examples[:EXAMPLES])}{more})"
    if count and "then" in meta:
        message += f"; {meta['then']}"
    return Check(
        rule=outcome.rule,
        severity=outcome.severity,
        column=outcome.column,
        passed=outcome.passed,
        count=count,
        total=outcome.total,
        message=message,
    )


def in_count(number: int) -> str:
    """A count as a person says it."""
    return f"{number:,}" if number else "none"


def first_few(names: Sequence[str]) -> str:
    """The first names of some: `a, b, c, ...`."""
    return ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
