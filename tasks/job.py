"""The job file: one pydantic model, every setting with its meaning, default and check.

In: a YAML file (`load_job`). Out: a frozen `Job`. Fails with `JobError`, which names file, setting and mend.
Defaults live here and nowhere else; tasks receive values. Relative paths are relative to the folder of the job file, so
that a scheduled run finds the same files whatever its working directory.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from tasks.errors import JobError
from tasks.job_problems import explain

Level = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
PANEL_NAMES = ("item_id", "timestamp", "source_row")  # those of tasks/panel.py, which needs pandas


class Setting(BaseModel):
    """Base of every block: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth_value(cls, value: Any) -> Any:
        if isinstance(value, bool):  # would count as 1 or 0
            msg = f"{str(value).lower()} is no value here; quote yes, no, on and off to mean text"
            raise ValueError(msg)  # noqa: TRY004 - pydantic reports ValueErrors only
        return value


class Source(Setting):
    """Where the rows come from."""

    path: str = Field(description="CSV file, plain or compressed (.gz, .bz2, .xz, .zip)")
    delimiter: str = Field(",", min_length=1, max_length=1, description="character between the columns")
    encoding: str = Field("utf-8", description="text encoding of the file")
    timestamp_format: str | None = Field(
        None,
        description="strftime format of the time stamps, such as %d.%m.%Y %H:%M; null: ISO 8601",
    )


class Columns(Setting):
    """What the columns of the source are; names are those of the source."""

    timestamp: str = Field(description="column with the time stamps")
    target: list[str] = Field(min_length=1, description="columns to forecast; each is forecast as a series of its own")
    item_id: str | None = Field(None, description="column that tells the series apart; null: the file is one series")
    checked: list[str] = Field(
        [],
        description="further numeric columns that are validated, cleaned and stored with the "
        "observations, but not shown to the model",
    )

    @model_validator(mode="after")
    def _each_column_has_one_role(self) -> Self:
        named = [self.timestamp, *self.target, *self.checked]
        named += [self.item_id] if self.item_id else []
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            msg = f"column {twice[0]!r} has two roles; name each column once"
            raise ValueError(msg)
        taken = [name for name in self.values if name in PANEL_NAMES]
        if taken:
            msg = f"a value column cannot be called {taken[0]!r}, panels use it; rename it in the source"
            raise ValueError(msg)
        return self

    @property
    def values(self) -> list[str]:
        """Names of all value columns: targets first, then the checked ones."""
        return [*self.target, *self.checked]


class Range(Setting):
    """Plausible values of one column, bounds included."""

    min: float | None = Field(None, description="smallest plausible value; null: no bound")
    max: float | None = Field(None, description="largest plausible value; null: no bound")

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min >= self.max:
            msg = f"min {self.min} is not below max {self.max}"
            raise ValueError(msg)
        return self


class Validation(Setting):
    """What is checked before anything is computed: a critical failure stops, a warning quarantines or is reported."""

    ranges: dict[str, Range] = Field({}, description="plausible values per column")
    min_length: Positive | None = Field(
        None,
        description="observed steps a series needs; null: horizon + season; shorter: quarantine",
    )
    max_missing: float = Field(
        0.5, ge=0, le=1, description="largest share of missing steps of a series; above: quarantine"
    )
    stale_after: str | None = Field(
        None,
        description="age of a series' last observation (7d, 36h) at which it is quarantined; null: never",
    )
    max_quarantined: float = Field(
        0.5, ge=0, le=1, description="share of series in quarantine above which the run stops"
    )

    @field_validator("stale_after")
    @classmethod
    def _is_a_duration(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"\d+\s*(min|h|d|w)", value):
            msg = f"{value!r} is no duration; write a number and min, h, d or w, such as 7d"
            raise ValueError(msg)
        return value


class Transform(Setting):
    """How defects are mended on the way to the regular grid; everything changed is counted."""

    duplicates: Literal["keep_first", "keep_last", "mean", "error"] = Field(
        "keep_first", description="several rows of one series and time stamp"
    )
    out_of_range: Literal["set_missing", "keep", "error"] = Field(
        "set_missing", description="values outside validation.ranges"
    )
    off_grid: Literal["error", "floor"] = Field(
        "error", description="time stamps between two grid points: refuse, or move down to the grid"
    )


class Backtest(Setting):
    """Rolling-origin evaluation on the end of every series."""

    windows: Positive = Field(20, description="forecast windows of one horizon each, back to back")
    models: list[str] = Field(
        [],
        description="model references to score; empty: the job's model and finetune.base; the pipeline scores them "
        "beside its new version and finetune.base",
    )
    baselines: list[str] = Field(
        ["naive", "seasonal_naive"],
        description="naive, seasonal_naive (the job's season) or seasonal_naive:N (season of N steps)",
    )

    @field_validator("baselines")
    @classmethod
    def _are_known(cls, value: list[str]) -> list[str]:
        for name in value:
            if not re.fullmatch(r"naive|seasonal_naive(:[1-9]\d*)?", name):
                msg = f"unknown baseline {name!r}; known: naive, seasonal_naive, seasonal_naive:N"
                raise ValueError(msg)
        return value


class Finetune(Setting):
    """Fine-tuning of a base model on the span before the first backtest window."""

    base: str = Field("starter", description="model reference that training starts from")
    max_steps: Positive = Field(400, description="optimiser steps at most")
    batch_size: Positive = Field(32, description="windows per step")
    learning_rate: float = Field(5e-4, gt=0, description="peak learning rate of AdamW")
    validate_every: Positive = Field(50, description="steps between two validations")
    patience: Positive = Field(4, description="validations without gain before training stops")
    validation_windows: Positive = Field(
        4, description="horizons at the end of the training span held out for early stopping"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of the forward pass")
    seed: int = Field(0, ge=0, description="seed of everything random")


class Job(Setting):
    """One forecasting job: what is read, how it is checked, what is made of it and where that goes."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="name of the job in the warehouse, the registry and the UI: lower case, digits, - and _",
    )
    source: Source
    columns: Columns
    frequency: str = Field(description="distance of two time stamps as a pandas offset: h, D, 15min, W, MS, …")
    horizon: Positive = Field(description="steps to forecast")
    season: Positive | None = Field(
        None, description="season length in steps, for MASE and seasonal naive; null: by frequency"
    )
    context: Positive = Field(2048, description="latest steps of a series that the model sees")
    quantiles: list[Level] = Field(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        min_length=1,
        description="quantile levels to forecast, rising, inside (0, 1)",
    )
    model: str = Field(
        "starter",
        description="what `moirai forecast` uses: starter, a folder, a hub id, or models:/NAME@ALIAS",
    )
    validation: Validation = Validation()
    transform: Transform = Transform()
    backtest: Backtest = Backtest()
    finetune: Finetune = Finetune()
    warehouse: str = Field("duckdb:///warehouse.duckdb", description="URL of the warehouse")
    tracking: str = Field("sqlite:///mlflow.db", description="MLflow tracking URI; a server's http:// URL or SQLite")
    workspace: str = Field("moirai-work", description="folder for panels, checkpoints, reports and MLflow artifacts")

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @field_validator("quantiles")
    @classmethod
    def _rise(cls, value: list[float]) -> list[float]:
        if sorted(set(value)) != value:
            msg = f"{value} are not strictly rising; sort them and name each once"
            raise ValueError(msg)
        return value

    @field_validator("name")
    @classmethod
    def _is_no_baseline(cls, value: str) -> str:
        if value in {"naive", "seasonal_naive"}:
            msg = f"{value!r} is the name of a baseline, which scores are told apart by; choose another"
            raise ValueError(msg)
        return value

    @field_validator("frequency")
    @classmethod
    def _is_a_frequency(cls, value: str) -> str:
        from moirai.evaluation.seasonality import to_offset  # noqa: PLC0415 - pandas only when needed

        to_offset(value)
        return value

    @field_validator("warehouse")
    @classmethod
    def _is_a_known_warehouse(cls, value: str) -> str:
        if not value.startswith("duckdb:///"):
            msg = f"{value!r} is no warehouse URL; write duckdb:///FILE"
            raise ValueError(msg)
        return value

    @field_validator("tracking")
    @classmethod
    def _is_a_known_store(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "http://", "https://")):
            msg = f"{value!r} is no tracking URI; write sqlite:///FILE or a server's http:// URL"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _ranges_name_value_columns(self) -> Self:
        unknown = sorted(set(self.validation.ranges) - set(self.columns.values))
        if unknown:
            msg = f"validation.ranges names {unknown[0]!r}, which is neither a target nor a checked column"
            raise ValueError(msg)
        return self

    def resolve(self, path: str) -> Path:
        """Absolute form of a path of this job: relative ones start at the job file's folder."""
        return (self._folder / Path(path).expanduser()).resolve()

    @property
    def folder(self) -> Path:
        """Folder of the job file, absolute."""
        return self._folder

    @property
    def workspace_path(self) -> Path:
        """Absolute path of the workspace."""
        return self.resolve(self.workspace)

    @property
    def season_length(self) -> int:
        """Season length in steps: as set, otherwise by frequency."""
        from moirai.evaluation.seasonality import season_length  # noqa: PLC0415 - see above

        return self.season or season_length(self.frequency)

    @property
    def backtest_models(self) -> list[str]:
        """Models of an ad-hoc backtest: as set, otherwise the job's model and the base of fine-tuning."""
        return self.backtest.models or list(dict.fromkeys([self.model, self.finetune.base]))

    @property
    def min_length(self) -> int:
        """Observed steps a series needs: as set, otherwise horizon + season."""
        return self.validation.min_length or self.horizon + self.season_length

    def config_hash(self, *blocks: str) -> str:
        """First 12 digits of the SHA-256 of the named settings (of all, when none is named)."""
        settings = self.model_dump(mode="json", include=set(blocks) if blocks else None)
        text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_job(path: str | Path) -> Job:
    """Read and check a job file.

    Args:
        path: a YAML file.

    Returns:
        The job; relative paths in it start at the file's folder.

    Raises:
        JobError: the file is missing or no YAML mapping, has an unknown key, or a value that cannot work.
    """
    file = Path(path)
    if not file.is_file():
        raise JobError(f"job file {file} does not exist; `moirai init DATA.csv` writes one")
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())  # a YAML error draws a picture
        raise JobError(f"job file {file} is not valid YAML: {reason}") from error
    if not isinstance(settings, dict):
        raise JobError(f"job file {file} holds no settings; `moirai init DATA.csv` writes one")
    return job_from_settings(settings, folder=file.resolve().parent, origin=str(file))


def job_from_settings(settings: dict[str, Any], *, folder: Path, origin: str = "job") -> Job:
    """Check settings already read; `origin` names them in errors. Raises `JobError`."""
    try:
        job = Job.model_validate(settings)
    except ValidationError as error:
        raise JobError(f"{origin}: {explain(error, Job)}") from error
    job._folder = folder.resolve()  # noqa: SLF001 - the one place that knows the folder
    return job
