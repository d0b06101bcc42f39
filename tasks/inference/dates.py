"""What dates look like: patterns and formats that texts are compared with, and how many of them fit.

In: texts. Out: whether and how they can be read; nothing here fails.
"""

import re
from collections.abc import Sequence

import pandas as pd

from tasks.sources.periods import PERIOD, is_period, read_periods

DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?([ T]\d{2}:\d{2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}.*")
NAMED_DATE = re.compile(rf"(19|20)\d{{2}}|{DATE.pattern}|{PERIOD}")  # in a header, where years stand alone
CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
ZONE = re.compile(r".{10,}?\s?(?P<zone>[Zz]|[+-]\d{2}(:?\d{2})?)")
FORMATS = [  # day first and month first may both fit; then it is a guess
    f"{date}{clock}"
    for clock in ["", " %H:%M", " %H:%M:%S"]
    for date in [
        "%d.%m.%Y",
        "%m/%d/%Y",
        "%d/%m/%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%Y/%m/%d",
        "%d %b %Y",
        "%d-%b-%Y",
    ]
] + ["%Y %b", "%b %Y"]
READABLE = 0.95  # share of a column's values that must be time stamps; the first bad one is then named
HALF_READABLE = 0.5  # the same share, where no column has more


def looks_dated(names: Sequence[str]) -> bool:
    """Whether most names of a header are time stamps: the layout with one series per row."""
    dated = [name for name in names if NAMED_DATE.fullmatch(name.strip())]
    return len(dated) > max(2, len(names) // 2)


def fitting_formats(texts: pd.Series, least: float = READABLE) -> list[str] | None:
    """Formats that read the most of some texts, best first, "" for ISO 8601 and periods; None: they are no dates."""
    if is_period(texts).mean() >= least:
        return [""] if is_period(texts).iloc[0] and pd.notna(read_periods(texts)).mean() >= least else None
    if not any(sign.isdigit() for sign in texts.iloc[0]):
        return None
    shares = {one: share_read(texts, one) for one in ["", *FORMATS]}
    best = max(shares.values())
    return [one for one in shares if shares[one] == best] if best >= least else None


def share_read(texts: pd.Series, stamp_format: str) -> float:
    """Share of texts that a format reads."""
    stamps = pd.to_datetime(texts, format=stamp_format or "ISO8601", utc=True, errors="coerce")
    return float(stamps.notna().mean())
