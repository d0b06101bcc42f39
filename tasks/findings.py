"""What validation found and the transform did, as one record: sentences, tables and figures of it.

In: checks, quarantined series and changes (`tasks/quality.py`), and the panel they are about, which says where a row of
the source stands. Out: a sentence, tables of plain records, and figures. Report, artifacts and MLflow show these same
ones. `findings_of` reads what validation wrote before it stopped a run; it fails with `FileNotFoundError` when there is
no such file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.panel import PanelRef
from tasks.quality import Change, Check, Quarantine

SEVERITIES = ["critical", "warning", "info"]
Rows = list[dict[str, Any]]


class Findings(BaseModel):
    """What was found in the data and what was done about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checks: list[Check] = []
    quarantined: list[Quarantine] = []
    changes: list[Change] = []

    @property
    def by_weight(self) -> list[Check]:
        """The checks: failed ones first, the severe ones before the others."""
        return sorted(self.checks, key=lambda check: (check.passed, SEVERITIES.index(check.severity)))

    @property
    def failed(self) -> list[Check]:
        """The failed checks, the severe ones first."""
        return [check for check in self.by_weight if not check.passed]

    @property
    def items(self) -> int:
        """Series left out; one that breaks two rules counts once."""
        return len({series.item_id for series in self.quarantined})

    def in_short(self) -> dict[str, str]:
        """What each of the three tables says, in a few words with numbers."""
        counts = {name: sum(check.severity == name for check in self.failed) for name in SEVERITIES}
        found = ", ".join(
            f"{count} {name}{'s' if name == 'warning' and count > 1 else ''}" for name, count in counts.items() if count
        )
        told = f"{len(self.failed)} of {len(self.checks)} failed ({found})" if self.failed else "all passed"
        return {
            "checks": f"data checks: {told}" if self.checks else "no data checks ran",
            "changes": f"{sum(change.count for change in self.changes):,} rows or values mended",
            "quarantine": f"{self.items:,} series left out" if self.items else "no series left out",
        }

    def sentence(self) -> str:
        """Checks, mends and quarantine in one sentence."""
        text = "; ".join(self.in_short().values())
        return f"{text[0].upper()}{text[1:]}."

    def tables(self, panel: PanelRef) -> dict[str, Rows]:
        """The three tables: `checks`, `quarantine` and `changes`; a row of the source is named by its place."""
        return {
            "checks": [
                {
                    "outcome": "passed" if check.passed else "failed",
                    "severity": check.severity,
                    "rule": check.rule,
                    "column": check.column or "",
                    "count": check.count,
                    "of": check.total,
                    "message": check.message,
                }
                for check in self.by_weight
            ],
            "quarantine": [
                {
                    "series": series.item_id,
                    "rule": series.rule,
                    "why": series.why,
                    "first rows": places(series.first_rows, panel),
                }
                for series in self.quarantined
            ],
            "changes": [
                {
                    "rule": change.rule,
                    "column": change.column or "",
                    "count": change.count,
                    "what was done": change.message,
                    "sums changed by": ", ".join(f"{name} {by:+,.6g}" for name, by in change.difference.items()),
                }
                for change in self.changes
            ],
        }

    def figures(self, panel: PanelRef, missing_share: float) -> dict[str, float]:
        """The numbers worth comparing between runs, as metrics; `missing_share` is that of the targets on the grid."""
        return {
            "data/rows": panel.rows,
            "data/series": panel.items,
            "data/missing_share": missing_share,
            "data/quarantined_series": self.items,
            "data/checks_failed": len(self.failed),
            "data/mended": sum(change.count for change in self.changes),
        }


def places(rows: Sequence[int], panel: PanelRef) -> str:
    """Where rows of the source stand: `line 2, line 9`."""
    return ", ".join(panel.place(row) for row in rows)


def capped(rows: Rows, limit: int) -> Rows:
    """At most `limit` rows of a table; of a longer one a last row says how many there are more."""
    if len(rows) <= limit:
        return rows
    first, *others = rows[0]
    return [*rows[:limit], {first: f"… and {len(rows) - limit:,} more", **dict.fromkeys(others, "")}]


def findings_of(report: Path) -> tuple[Findings, PanelRef]:
    """What validation wrote of a panel, and the panel: see `tasks/validate.py`."""
    told = json.loads(report.read_text(encoding="utf-8"))
    return Findings(checks=told["checks"], quarantined=told["quarantined"]), PanelRef.model_validate(told["panel"])
