"""Headers: whether the columns that a job names are in a file or query, once each.

In: header and names. Out: nothing. Fails with `SourceError`, which says which columns there are.
"""

from collections.abc import Iterable, Sequence

from tasks.errors import SourceError
from tasks.job import Source
from tasks.sources.chunk import Place, plain

NAMES_SHOWN = 30  # column names in an error: a wide file has thousands


def check_header(
    header: Sequence[str], wanted: Iterable[str], source: Source, place: Place, made: Sequence[str] = ()
) -> None:
    """Every wanted column is there exactly once.

    Args:
        header: columns of the file or query.
        wanted: columns that the job names.
        source: how it is read; a wrong delimiter makes one column of all.
        place: the file or query.
        made: further columns, which the layout makes; these may be wanted, too.

    Raises:
        SourceError: a column is absent, there twice, or both there and made.
    """
    names = list(dict.fromkeys(wanted))
    there = what_is_there(header, source)
    absent = [name for name in names if name not in header and name not in made]
    if absent:
        also = f"; its layout makes {', '.join(made)}" if made else ""
        raise SourceError(f"{place.name} has no column {', '.join(map(repr, absent))}; {there}{also}")
    twice = [name for name in names if header.count(name) > 1]
    if twice:
        raise SourceError(f"{place.name} has more than one column {twice[0]!r}; {there}")
    unclear = [name for name in names if name in header and name in made]
    if unclear:
        text = f"{place.name} has a column {unclear[0]!r}, and layout {source.layout} makes one of that name"
        raise SourceError(f"{text}; choose another name in source.series_columns, or rename the column")


def what_is_there(header: Sequence[str], source: Source) -> str:
    """The columns of a file or query, in words."""
    there = f"it has {', '.join(map(plain, header[:NAMES_SHOWN]))}"
    there += f" and {len(header) - NAMES_SHOWN} more" if len(header) > NAMES_SHOWN else ""
    if len(header) == 1 and source.path is not None:
        there += f" (one column only: is source.delimiter {source.delimiter or ','!r} right?)"
    return there
