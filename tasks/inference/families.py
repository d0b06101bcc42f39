"""Columns that are series: many numeric columns of one kind, whose names often follow a pattern such as QTY_B1_7.

In: the numeric columns of a table. Out: a `Family`, or None where the columns are few or of several kinds. Nothing here
fails: a pattern that ingest would not read in one way only becomes a list of columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from moirai.errors import MoiraiError
from tasks.inference.findings import Confidence, list_names
from tasks.inference.items import ID_HINT
from tasks.inference.table import Table
from tasks.inference.values import COMPANION_WORDS, FLAG, FLAG_VALUES, MANY, TARGET_WORDS, Values, are_similar, words
from tasks.job import PANEL_NAMES, job_from_settings
from tasks.sources.patterns import BRACES, FROM_LIST, match_columns

SEPARATORS = "_.-/| "
LABELS = 10  # columns per label, at least, where labels name values

Pattern = str | list[str]


@dataclass(frozen=True)
class Family:
    """Columns that are series."""

    value: str
    """Name of what is forecast in the long table."""
    columns: list[str]
    """Columns of the file that hold it."""
    made: list[str]
    """Columns that the pattern makes; they tell series apart."""
    patterns: dict[str, Pattern]
    """`source.series_columns`."""
    why: str
    confidence: Confidence
    beside: dict[str, list[str]] = field(default_factory=dict)
    """Further values of the same series and the columns that hold them."""

    @property
    def all_columns(self) -> set[str]:
        """Every column that a pattern claims."""
        return {*self.columns, *(name for names in self.beside.values() for name in names)}


def find_family(table: Table, values: Values, roles: Sequence[str], asked: Sequence[str] | None) -> Family | None:
    """Find the columns that are series.

    Args:
        table: the rows.
        values: its numeric columns.
        roles: columns of time stamps and ids.
        asked: what the caller wants to forecast: the name that a pattern gives, or columns of the file, which are then
            targets and no family; so is a column whose name says so, beside lags or features.
    """
    dull = {name for name, why in values.left_out.items() if why in {FLAG, "constant", "empty"}}
    numeric = [name for name in table.frame.columns if name in {*values.usable, *dull}]
    if len(numeric) < MANY or any(name in table.frame.columns for name in asked or ()):
        return None
    family = _by_pattern(table, numeric, roles, asked) or _all_of_one_kind(table, values, numeric, roles)
    if family is None or (asked and list(asked) != [family.value]):
        return None
    others = [name for name in values.usable if name not in family.all_columns and _is_named_target(name)]
    return None if others and not asked and not _is_named_target(family.value) else family


def _by_pattern(table: Table, numeric: list[str], roles: Sequence[str], asked: Sequence[str] | None) -> Family | None:
    """Columns whose names have the same parts: a label that names the value, and parts that name the series."""
    for separator in SEPARATORS:
        split = {name: name.split(separator) for name in numeric if separator in name}
        widths = pd.Series({name: len(parts) for name, parts in split.items()}, dtype=int)
        if widths.empty or (widths == widths.mode()[0]).sum() < MANY:
            continue
        split = {name: parts for name, parts in split.items() if len(parts) == widths.mode()[0]}
        labels = _labelled(split)
        if labels:
            target = _choose_label(table.frame, labels, asked)
            return _family(table, _Names(split, separator, labels, target), roles)
    return None


def _labelled(split: dict[str, list[str]]) -> dict[str, list[str]] | None:
    """Columns per label: the first or last part of the names, where few labels have many columns each."""
    parts = pd.DataFrame.from_dict(split, orient="index")
    for place in (0, parts.shape[1] - 1):
        counts = parts[place].value_counts()
        if counts.max() >= MANY and len(parts) >= LABELS * len(counts):
            return {label: list(parts.index[parts[place] == label]) for label in parts[place].unique()}
    return None


@dataclass(frozen=True)
class _Names:
    """Names of columns, taken apart."""

    parts: dict[str, list[str]]
    separator: str
    labels: dict[str, list[str]]
    """Columns per label."""
    target: str
    """The label that is forecast."""

    @property
    def is_first(self) -> bool:
        """Whether labels come first in the names, and not last."""
        return all(self.parts[name][0] == label for label, names in self.labels.items() for name in names)

    def keys(self, label: str) -> set[tuple[str, ...]]:
        """What names the series of a label's columns."""
        return {tuple(self.parts[name][1:] if self.is_first else self.parts[name][:-1]) for name in self.labels[label]}

    def pattern(self, label: str, made: list[str]) -> str:
        """The pattern of a label's columns."""
        braces = [f"{{{name}}}" for name in made]
        return self.separator.join([label, *braces] if self.is_first else [*braces, label])


def _family(table: Table, names: _Names, roles: Sequence[str]) -> Family:
    """The family of the label that is forecast, and the others that belong to the same series."""
    target, series = names.target, names.keys(names.target)
    beside = [label for label in names.labels if label != target and names.keys(label) <= series]
    beside = [label for label in beside if _value_name(label, table) == label]
    made = _made_names(len(next(iter(series))), table)
    values = {label: _value_name(label, table) for label in [target, *beside]}
    patterns: dict[str, Pattern] = {values[label]: names.pattern(label, made) for label in values}
    wanted = {values[label]: names.labels[label] for label in values}
    columns = names.labels[target]
    why = f"{len(columns)} columns such as {columns[0]}"
    why += "".join(f", beside them {len(names.labels[one])} such as {names.labels[one][0]}" for one in beside)
    if not _reads(patterns, wanted, values[target], table, roles):
        listed: dict[str, Pattern] = {values[target]: columns}
        return Family(values[target], columns, [FROM_LIST], listed, f"{why} are series", "guess")
    named = f"; {' and '.join(f'{{{name}}}' for name in made)}: names of ours, choose telling ones"
    others = {values[label]: names.labels[label] for label in beside}
    return Family(values[target], columns, made, patterns, f"{why} are series{named}", "likely", others)


def _choose_label(frame: pd.DataFrame, labels: dict[str, list[str]], asked: Sequence[str] | None) -> str:
    """The label that is forecast: as asked for, named like a target, or the first that is no flag."""
    many = [label for label, names in labels.items() if len(names) >= MANY]
    for label in many:
        if asked and label in asked:
            return label
    for word in TARGET_WORDS:
        named = [label for label in many if word in words(label)]
        if named:
            return named[0]
    varied = [label for label in many if frame[labels[label]].nunique().median() > FLAG_VALUES]
    return (varied or many)[0]


def _is_named_target(name: str) -> bool:
    return bool(set(TARGET_WORDS) & set(words(name)))


def _made_names(count: int, table: Table) -> list[str]:
    """Names for the parts that tell series apart, none of them that of a column."""
    groups = ["group"] if count == 2 else [f"group{number}" for number in range(1, count)]  # noqa: PLR2004 - one group
    return [f"{name}_of_series" if name in table.frame.columns else name for name in [*groups, "item"]]


def _value_name(label: str, table: Table) -> str:
    """A label, where it may name values; `value` where it names what the series are."""
    is_free = label not in {*table.frame.columns, *PANEL_NAMES}
    is_telling = label[:1].isalpha() and not ID_HINT.search(label.lower())
    return label if is_free and is_telling else "value"


def _all_of_one_kind(table: Table, values: Values, numeric: list[str], roles: Sequence[str]) -> Family | None:
    """All numeric columns but those of weather and circumstances, where nothing names a target among them."""
    main = [name for name in numeric if not COMPANION_WORDS & set(words(name))]
    usable = [name for name in main if name in values.usable]
    if len(usable) < MANY or any(_is_named_target(name) for name in usable):
        return None
    rest = [name for name in table.frame.columns if name not in {*main, *roles} and name not in values.usable]
    pattern: Pattern = main if rest else f"{{{FROM_LIST}}}"
    kind = "of one kind and size" if are_similar(table.frame[usable]) else "probably of one kind"
    why = f"{len(main)} numeric columns {kind} ({list_names(main)}) are series"
    value = "value" if "value" not in table.frame.columns else "value_of_series"
    return Family(value, main, [FROM_LIST], {value: pattern}, why, "likely" if kind.endswith("size") else "guess")


def _reads(
    patterns: dict[str, Pattern], wanted: dict[str, list[str]], target: str, table: Table, roles: Sequence[str]
) -> bool:
    """Whether ingest reads the wanted columns from the patterns, and no others."""
    settings = {
        "name": "probe",
        "source": {"path": "probe", "layout": "column_per_series", "series_columns": patterns},
        "columns": {"timestamp": "\0", "target": [target], "item_id": BRACES.findall(str(patterns[target]))},
        "frequency": "D",
        "horizon": 1,
    }
    try:
        job = job_from_settings(settings, folder=Path.cwd())
        found = match_columns(list(table.frame.columns), roles, job, table.place)
    except MoiraiError:
        return False
    return {value: set(columns.values()) for value, columns in found.items()} == {
        value: set(names) for value, names in wanted.items()
    }
