"""Great Expectations: suites as JSON, filled from a job, run on a frame; nothing else knows GX.

In: the name of a file in `suites/`, a frame, and the values of the `$names` in the file. Out: one
`Outcome` per expectation, in the order of the file. An entry whose `meta.for_each` names a list is
repeated for each element of that list (so an empty list leaves it out). `problem_of` says what is wrong with an
expectation that somebody else wrote. Fails with `CannotRunError` when GX cannot evaluate an expectation: of ours that
is a defect.
"""

import difflib
import functools
import gc
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
MANY_ROWS = 1_000_000  # of which copies weigh
FIRST_PLACES = 5  # rows that an outcome names where not all are asked for
FORMATS = {
    # without the values, and without a text that names every row once more
    "all": {"result_format": "COMPLETE", "return_unexpected_index_query": False, "exclude_unexpected_values": True},
    "first": {
        "result_format": "SUMMARY",
        "return_unexpected_index_query": False,
        "exclude_unexpected_values": True,
        "partial_unexpected_count": FIRST_PLACES,
    },
}

Names = Mapping[str, Any]


class CannotRunError(RuntimeError):
    """GX could not evaluate an expectation; `number` is its place in the suite, `reason` is what GX said."""

    def __init__(self, rule: str, number: int, reason: str) -> None:
        super().__init__(f"expectation {rule} could not be run: {reason}")
        self.number, self.reason = number, reason


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation."""

    rule: str
    severity: Literal["critical", "warning", "info"]
    column: str | None
    passed: bool
    count: int  # rows, series or columns that broke the rule; 1 where it is about all of them and is broken
    total: int  # looked at; missing values are not
    places: list[Any]  # index labels of the rows that broke it, in the order of the frame; see `run_suite`
    meta: dict[str, str]  # of the suite, filled: `what` is counted, `then` the mend, `why` one series broke it
    observed: Any = None  # what was found, where the rule is about all rows


def load_suite(
    name: str, names: Names, lists: Mapping[str, Sequence[Names]], severities: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Read a suite and fill it.

    Args:
        name: of the file in `suites/`, without ending.
        names: values of `$names`; a text that is one name becomes the value itself, inside a text
            it is written out.
        lists: for each list that `meta.for_each` may name its elements, each with further names.
        severities: severity of each rule that has another one than the suite says; `off` leaves the rule out.

    Returns:
        The suite as GX reads it.
    """
    suite = json.loads((SUITES / f"{name}.json").read_text(encoding="utf-8"))
    filled = []
    for entry in suite["expectations"]:
        severity = (severities or {}).get(entry["meta"]["rule"], entry["severity"])
        elements = lists[entry["meta"]["for_each"]] if "for_each" in entry["meta"] else [{}]
        if severity != "off":
            filled += [_fill({**entry, "severity": severity}, {**names, **element}) for element in elements]
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


def run_suite(suite: dict[str, Any], frame: pd.DataFrame, places: Literal["all", "first"] = "all") -> list[Outcome]:
    """Run a filled suite on a frame; places are labels of the frame's index.

    Args:
        suite: as `load_suite` fills it.
        frame: what the expectations are about.
        places: `first`: an outcome names the first five places only, which takes no memory where millions are wrong.

    Raises:
        CannotRunError: GX could not evaluate an expectation.
    """
    context = _gx_context()
    import great_expectations as gx  # noqa: PLC0415 - see _gx_context

    asset = context.data_sources.add_or_update_pandas("panel").add_dataframe_asset(suite["name"])
    rows = asset.add_batch_definition_whole_dataframe("all")
    view = frame.copy(deep=False)
    view.index = frame.index.rename(None)  # of a named index GX returns dictionaries
    batch = rows.get_batch({"dataframe": view})
    entries = {str(number): entry for number, entry in enumerate(suite["expectations"])}
    numbered = [{**e, "meta": {**e["meta"], "number": n}} for n, e in entries.items()]
    expectations = gx.ExpectationSuite(name=suite["name"], expectations=numbered)
    results = batch.validate(expectations, result_format=FORMATS[places]).results
    ordered = sorted(results, key=lambda result: int(result.expectation_config.meta["number"]))
    outcomes = [_outcome(entry, result) for entry, result in zip(entries.values(), ordered, strict=True)]
    if len(frame) > MANY_ROWS:
        del batch, results, ordered
        gc.collect()  # GX leaves circles behind that hold copies of rows
    return outcomes


def problem_of(entry: Mapping[str, Any]) -> str | None:
    """What is wrong with an expectation, in words: its type, its kwargs or its severity; None: nothing."""
    _gx_context()
    from great_expectations.exceptions import ExpectationNotFoundError  # noqa: PLC0415 - see _gx_context
    from great_expectations.expectations.registry import (  # noqa: PLC0415
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    try:
        kind = get_expectation_impl(entry["type"])
    except ExpectationNotFoundError:
        near = difflib.get_close_matches(entry["type"], list_registered_expectation_implementations(), n=1, cutoff=0)
        return f"Great Expectations has no type {entry['type']!r}; the nearest is {near[0]}"
    try:
        kind(**entry["kwargs"], severity=entry["severity"])
    except ValueError as error:  # pydantic's
        faults = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]  # type: ignore[attr-defined]
        said = dict.fromkeys(text if place == "__root__" else f"{place}: {text}" for place, text in faults)
        return f"{'; '.join(said)}; kwargs of {entry['type']} are described in Great Expectations' gallery"
    return None


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
        raise CannotRunError(meta["rule"], int(result.expectation_config.meta["number"]), _reason(result))
    count, observed = found.get("unexpected_count"), None
    total = found.get("element_count", 0) - found.get("missing_count", 0)
    if count is None and "column_set" in entry["kwargs"]:  # of the columns, not of rows
        absent = found.get("details", {}).get("mismatched", {}).get("missing", [])
        count, total = len(absent), len(entry["kwargs"]["column_set"])
    elif count is None:  # of all rows as one
        count, total, observed = int(not result.success), 1, found.get("observed_value")
    return Outcome(
        rule=meta["rule"],
        severity=entry["severity"],
        column=meta.get("column"),
        passed=bool(result.success),
        count=count,
        total=total,
        places=list(found.get("unexpected_index_list") or found.get("partial_unexpected_index_list") or []),
        meta=meta,
        observed=observed,
    )


def _reason(result: Any) -> str:
    """What GX said instead of a result, on one line."""
    said = result.exception_info
    one = said if "exception_message" in said else next(iter(said.values()))
    return " ".join(str(one["exception_message"]).split())


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
