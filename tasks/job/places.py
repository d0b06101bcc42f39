"""URLs of the job file: where forecasts are kept, where models and scores are tracked.

In: the text of a setting. Out: the same text, checked; its secrets stay names (`tasks/secrets.py`). Fails with
`ValueError`, which never shows a password.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

from tasks.secrets import checked, redacted

WAREHOUSES = re.compile(r"duckdb:///.|postgres(ql)?(\+psycopg)?://|\$\{")
TRACKERS = re.compile(r"sqlite:///|https?://|\$\{")


def _is_a_warehouse(value: str) -> str:
    if not WAREHOUSES.match(value):
        forms = "duckdb:///FILE or postgresql://USER:${PASSWORD}@HOST/DATABASE"
        msg = f"{redacted(value)!r} is no warehouse URL; write {forms}"
        raise ValueError(msg)
    return checked(value)


def _is_a_tracker(value: str) -> str:
    if not TRACKERS.match(value):
        msg = f"{redacted(value)!r} is no tracking URI; write sqlite:///FILE or a server's http:// URL"
        raise ValueError(msg)
    return checked(value)


WarehouseUrl = Annotated[str, AfterValidator(_is_a_warehouse)]
TrackingUri = Annotated[str, AfterValidator(_is_a_tracker)]
