"""What was found in the data and what was done about it: the records that report, artifacts and warehouse share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Check(BaseModel):
    """One expectation and its outcome."""

    model_config = ConfigDict(frozen=True)

    rule: str  # short name, such as `unique_timestamps`
    severity: Literal["critical", "warning", "info"]
    column: str | None  # None: concerns rows or series as a whole
    passed: bool
    count: int  # rows (or series) that broke the rule
    total: int  # rows (or series) looked at
    message: str  # one sentence for a person, with numbers


class Quarantine(BaseModel):
    """One series that is left out, and why."""

    model_config = ConfigDict(frozen=True)

    item_id: str
    rule: str
    why: str
    first_rows: list[int]  # up to five lines of the source


class Change(BaseModel):
    """One kind of mend that the transform made."""

    model_config = ConfigDict(frozen=True)

    rule: str  # `duplicates`, `out_of_range`, `grid`, ...
    column: str | None
    count: int  # rows or values changed, added or dropped
    message: str  # one sentence for a person, with numbers
    difference: dict[str, float] = {}  # numeric column -> by how much the sum of its observed values changed
