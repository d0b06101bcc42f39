"""What `moirai init` believes about a file: `Finding`, and the few phrases that reasons share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Confidence = Literal["sure", "likely", "guess"]
NAMES_SHOWN = 6  # names in a reason; a wide file has hundreds
LENGTH_SHOWN = 60  # characters of a name or cell


@dataclass(frozen=True)
class Finding:
    """One inferred setting of the job file."""

    setting: str
    """Dotted name, such as `columns.target`."""
    value: Any
    """As it stands in the job file."""
    confidence: Confidence
    """`sure`: nothing speaks against it; `likely`: most speaks for it; `guess`: look at it."""
    why: str
    """The evidence, for a person."""


def list_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(one_line(name) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def one_line(text: object) -> str:
    """A name or cell without line breaks, and not too long."""
    line = " ".join(str(text).split())
    return line if len(line) <= LENGTH_SHOWN else f"{line[:LENGTH_SHOWN]}…"


def percent(share: float) -> str:
    """A share as text; only a whole is 100 %."""
    return "100 %" if share >= 1 else f"{min(share * 100, 99.9):.1f} %"


def counted(number: int, word: str) -> str:
    """A number with its noun: `1 hour`, `11,976 hours`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
