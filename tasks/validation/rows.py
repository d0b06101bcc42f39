"""Checks of the rows of a raw panel: keys, infinite values, ranges, grid, repeats.

In: a raw panel's frame and the job. Out: one `Check` per expectation of `suites/rows.json` and of the job's own suite;
messages name the first places in the source. Rows are mended by the transform or stop the run; none is left out here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tasks.expectations import load_suite, run_suite
from tasks.grid import Grid, differs_from_first, first_of_stamp
from tasks.job import Job
from tasks.mends import in_words
from tasks.panel import KEYS, SOURCE_ROW
from tasks.quality import Check
from tasks.validation.findings import EXAMPLES, Places, to_check


def are_keys_sound(frame: pd.DataFrame, job: Job) -> bool:
    """Whether series can be told apart: every column of the job is there and no key is missing."""
    has_all = set(job.columns.values) <= set(frame.columns)
    return has_all and len(frame) > 0 and not any(frame[key].isna().any() for key in KEYS)


def check_rows(frame: pd.DataFrame, job: Job, places: Places) -> list[Check]:
    """Run the suite `rows.json`; messages name the first places of the source."""
    there = [name for name in job.columns.values if name in frame.columns]
    is_sound = are_keys_sound(frame, job)
    facts = row_facts(frame, there, job if is_sound else None)
    ranges = [
        {"column": name, "min": bounds.min, "max": bounds.max, "bounds": in_words(bounds)}
        for name, bounds in job.validation.ranges.items()
        if name in there and (bounds.min, bounds.max) != (None, None)
    ]
    has_repeats = is_sound and bool(facts["__repeats"].any())
    lists: dict[str, list[dict[str, Any]]] = {
        "range": ranges,
        "sound_keys": [{}] if is_sound else [],
        "repeated_value": [{"column": name} for name in there] if has_repeats else [],
        "lacking": [],
    }
    for name in there if is_sound else []:
        lacks = facts[f"__lacks_{name}"] = lacking(frame, name, job)
        stretches = int((lacks[1:] > lacks[:-1]).sum() + lacks[0])
        text = f"{stretches:,} {'stretch' if stretches == 1 else 'stretches'}"
        lists["lacking"] += [{"column": name, "stretches": text}] if stretches else []
    policies = job.transform.model_dump()
    names = {
        "columns": [*KEYS, *job.columns.values],
        "frequency": job.frequency,
        **policies,
        **{f"on_{n}": "critical" if p == "error" else "warning" for n, p in policies.items()},
    }
    suite, order = load_suite("rows", names, lists, job.validation.severity), source_order(frame)
    checks = []
    for entry in suite["expectations"]:
        # Great Expectations copies the rows that break a rule: let it see one column of them
        name = entry["kwargs"].get("column")
        values = facts[name] if name in facts else frame[name].to_numpy() if name else None
        table = frame if values is None else pd.DataFrame({name: values[order]}, copy=False)
        (outcome,) = run_suite({**suite, "expectations": [entry]}, table, places="first")
        first = frame.iloc[order[outcome.places[:EXAMPLES]]]
        checks.append(to_check(outcome, places.of(first, outcome.column)))
    return checks


def row_facts(frame: pd.DataFrame, values: Sequence[str], job: Job | None) -> dict[str, np.ndarray]:
    """What no column tells by itself, 0 or 1 per row: infinite, off the grid, repeats, differs.

    Repeats are judged on the grid, as the transform does. Without a job, only what needs no keys.
    """
    is_infinite = np.zeros(len(frame), dtype=bool)
    for name in values:
        is_infinite |= np.isinf(frame[name].to_numpy(dtype=np.float64))
    facts = {"__infinite": is_infinite}
    if job is not None:
        on_grid = frame.copy(deep=False)
        on_grid["timestamp"] = Grid.covering(job.frequency, frame["timestamp"]).floor(frame["timestamp"])
        facts["__off_grid"] = on_grid["timestamp"].to_numpy() != frame["timestamp"].to_numpy()
        facts["__repeats"] = first_of_stamp(on_grid) != np.arange(len(frame))
        differs = differs_from_first(on_grid, values)
        facts |= {f"__differs_{name}": differs[name].to_numpy() for name in values}
    return {name: values.astype(np.int8) for name, values in facts.items()}


def lacking(frame: pd.DataFrame, name: str, job: Job) -> np.ndarray:
    """Rows without a value of a column, 1 or 0; behind the last target a row is there for its known covariates only."""
    lacks = frame[name].isna().to_numpy()
    if job.columns.known:
        has_target = frame[job.columns.target].notna().any(axis=1).to_numpy()
        later = pd.Series(has_target[::-1]).groupby(frame["item_id"].to_numpy()[::-1]).cummax().to_numpy()[::-1]
        lacks &= later
    return lacks.astype(np.int8)


def source_order(frame: pd.DataFrame) -> np.ndarray:
    """Positions of the rows as the source has them, so that the first ones that break a rule are its first ones."""
    return np.argsort(frame[SOURCE_ROW].to_numpy(), kind="stable")
