"""Great Expectations: suites as JSON, filled from a job, run on a frame; nothing else knows GX.

In: the name of a file in `suites/`, a frame, and the values of the `$names` in the file. Out: one
`Outcome` per expectation, in the order of the file. An entry whose `meta.for_each` names a list is
repeated for each element of that list (so an empty list leaves it out). Fails with `RuntimeError`
when GX cannot evaluate an expectation: that is a defect of the suite.
"""

import functools
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Literal

import pandas as pd

SUITES = Path(__file__).parent / "suites"

Names = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation."""

    rule: str
    severity: Literal["critical", "warning", "info"]
    column: str | None
    passed: bool
    count: int  # rows, series or columns that broke the rule
    total: int  # looked at; missing values are not
    places: list[Any]  # index labels of the rows that broke it, in the order of the frame
    meta: dict[str, str]  # of the suite, filled: `what` is counted, `then` the mend, `why` one series broke it


def load_suite(name: str, names: Names, lists: Mapping[str, Sequence[Names]]) -> dict[str, Any]:
    """Read a suite and fill it.

    Args:
        name: of the file in `suites/`, without ending.
        names: values of `$names`; a text that is one name becomes the value itself, inside a text
            it is written out.
        lists: for each list that `meta.for_each` may name its elements, each with further names.

    Returns:
        The suite as GX reads it.
    """
    suite = json.loads((SUITES / f"{name}.json").read_text(encoding="utf-8"))
    filled = []
    for entry in suite["expectations"]:
        elements = lists[entry["meta"]["for_each"]] if "for_each" in entry["meta"] else [{}]
        filled += [_fill(entry, {**names, **element}) for element in elements]
    return {**suite, "expectations": filled}


def write_out(value: Any) -> str:
    """A value as a person reads it: 1,234 and 0.5 and 2014-08-08 01:00 and 2014-08-08."""
    if isinstance(value, pd.Timestamp):
        if value == value.normalize():
            return f"{value:%Y-%m-%d}"
        return f"{value:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    if isinstance(value, float) and not value.is_integer():
        return f"{value:g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def run_suite(suite: dict[str, Any], frame: pd.DataFrame) -> list[Outcome]:
    """Run a filled suite on a frame; places are labels of the frame's index.

    Raises:
        RuntimeError: GX could not evaluate an expectation.
    """
    context = _gx_context()
    import great_expectations as gx  # noqa: PLC0415 - see _gx_context

    asset = context.data_sources.add_or_update_pandas("panel").add_dataframe_asset(suite["name"])
    rows = asset.add_batch_definition_whole_dataframe("all")
    batch = rows.get_batch({"dataframe": frame.rename_axis(index=None)})
    entries = {str(number): entry for number, entry in enumerate(suite["expectations"])}
    numbered = [{**e, "meta": {**e["meta"], "number": n}} for n, e in entries.items()]
    expectations = gx.ExpectationSuite(name=suite["name"], expectations=numbered)
    results = batch.validate(expectations, result_format="COMPLETE").results
    ordered = sorted(results, key=lambda result: int(result.expectation_config.meta["number"]))
    return [_outcome(entry, result) for entry, result in zip(entries.values(), ordered, strict=True)]


@functools.cache
def _gx_context() -> Any:
    """The one GX context of this process, in memory; no telemetry, progress bars or chatter."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx  # noqa: PLC0415 - takes seconds, and only validation needs it
    from great_expectations.data_context.types import base  # noqa: PLC0415

    base.logger.setLevel(logging.WARNING)  # the one of its loggers that it sets to INFO itself
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = base.ProgressBarsConfig(globally=False)
    return context


def _outcome(entry: dict[str, Any], result: Any) -> Outcome:
    meta, found = entry["meta"], result.result
    if not found:
        raise RuntimeError(f"expectation {meta['rule']} could not be run: {result.exception_info}")
    count = found.get("unexpected_count")
    total = found.get("element_count", 0) - found.get("missing_count", 0)
    if count is None:  # of the columns, not of rows
        absent = found.get("details", {}).get("mismatched", {}).get("missing", [])
        count, total = len(absent), len(entry["kwargs"]["column_set"])
    return Outcome(
        rule=meta["rule"],
        severity=entry["severity"],
        column=meta.get("column"),
        passed=bool(result.success),
        count=count,
        total=total,
        places=list(found.get("unexpected_index_list") or []),
        meta=meta,
    )


def _fill(node: Any, names: Names) -> Any:
    """A copy of a suite's entry with its names filled in; `why` is about one series and waits."""
    if isinstance(node, dict):
        return {key: value if key == "why" else _fill(value, names) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, names) for value in node]
    if not isinstance(node, str) or "$" not in node:
        return node
    if node.startswith("$") and node[1:].isidentifier():
        return names[node[1:]]
    return Template(node).substitute({name: write_out(value) for name, value in names.items()})
