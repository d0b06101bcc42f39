"""Patterns of column names: `QTY_{brand}_{item}` and the header -> which series each column belongs to.

In: `source.series_columns`, the header and the columns with another role. Out: per value the column of each series.
Fails with `SourceError` where a pattern matches nothing or in two ways, and where a column is claimed twice.
"""

import re
from collections.abc import Sequence

from tasks.errors import SourceError
from tasks.job import Job
from tasks.sources.chunk import Place
from tasks.sources.headers import check_header, what_is_there

BRACES = re.compile(r"\{(\w+)\}")
FROM_LIST = "series"  # column that the names of listed columns become

Key = tuple[str, ...]
"""What the braces stand for in one series."""


def made_columns(job: Job, place: Place) -> list[str]:
    """The columns that the names in braces become; the same ones in every pattern. Raises `SourceError`."""
    made: list[str] | None = None
    for value, pattern in job.source.series_columns.items():
        names = BRACES.findall(pattern) if isinstance(pattern, str) else [FROM_LIST]
        setting = f"{place.name}: source.series_columns.{value} {pattern!r}"
        if not names or len(set(names)) < len(names):
            raise SourceError(f"{setting} needs names in braces, each once, such as {value}_{{item}}")
        if made is not None and set(made) != set(names):
            raise SourceError(f"{setting} names {', '.join(names)}, another pattern {', '.join(made)}; name the same")
        made = made or names
    absent = [name for name in made or [] if name not in job.columns.item_columns]
    if absent:
        mend = f"add {absent[0]} to columns.item_id"
        raise SourceError(f"{place.name}: series differ in {absent[0]!r}, which source.series_columns makes; {mend}")
    return made or []


def match_columns(header: Sequence[str], roles: Sequence[str], job: Job, place: Place) -> dict[str, dict[Key, str]]:
    """Per value the column of each series; keys follow `made_columns`.

    A pattern that is nothing but a name in braces matches what no role and no other pattern claims.
    """
    made = made_columns(job, place)
    owners: dict[str, str] = dict.fromkeys(roles, "a role in columns")
    found: dict[str, dict[Key, str]] = {}
    patterns = job.source.series_columns
    for value in sorted(patterns, key=lambda value: _takes_the_rest(patterns[value])):  # these come last
        pattern = patterns[value]
        setting = f"source.series_columns.{value}"
        matched = _listed(pattern) if isinstance(pattern, list) else _matching(pattern, header, made, setting, place)
        if _takes_the_rest(pattern):
            matched = {key: name for key, name in matched.items() if name not in owners}
        check_header(header, matched.values(), job.source, place)
        for name in matched.values():
            if name in owners:
                text = f"column {name!r} is claimed by {setting} and by {owners[name]}"
                raise SourceError(f"{place.name}: {text}; change the pattern, or list the columns that are meant")
            owners[name] = setting
        if not matched:
            raise SourceError(
                f"{place.name}: {setting} {pattern!r} matches no column; {what_is_there(header, job.source)}"
            )
        found[value] = matched
    return found


def _takes_the_rest(pattern: str | list[str]) -> bool:
    return isinstance(pattern, str) and BRACES.fullmatch(pattern) is not None


def _listed(names: list[str]) -> dict[Key, str]:
    return {(name,): name for name in names}


def _matching(pattern: str, header: Sequence[str], made: Sequence[str], setting: str, place: Place) -> dict[Key, str]:
    """Columns that fit a pattern, by what its braces stand for."""
    literal = [re.escape(text) for text in BRACES.split(pattern)]
    names = BRACES.findall(pattern)
    shortest, longest = (
        re.compile("".join(f"(?P<{text}>{some})" if place % 2 else text for place, text in enumerate(literal)))
        for some in (".+?", ".+")
    )
    found: dict[Key, str] = {}
    for name in header:
        match, other = shortest.fullmatch(name), longest.fullmatch(name)
        if match is None or other is None:
            continue
        if match.groups() != other.groups():
            ways = f"{', '.join(names)} = {', '.join(match.groups())} or {', '.join(other.groups())}"
            mend = "list the columns that are meant"
            raise SourceError(f"{place.name}: {setting} {pattern!r} reads column {name!r} in two ways ({ways}); {mend}")
        found[tuple(match[each] for each in made)] = name
    return found
