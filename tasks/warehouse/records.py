"""The record of one run, written when it starts and again when it ends."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class RunRecord(BaseModel):
    """One attempt of one flow; `model_copy(update=...)` makes the record of its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    job: str
    flow: str
    started_at: datetime  # UTC
    status: Literal["running", "completed", "failed", "cancelled"] = "running"
    as_of: datetime | None = None  # in the time of the source, without time zone
    config_hash: str | None = None
    panel_digest: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    rows: dict[str, int] = {}  # what was counted: rows written per table, rows changed, ...
    seconds: float | None = None
    error: str | None = None
