"""The whole job, and how it is loaded.

In: a YAML file (`load_job`). Out: a frozen `Job`. Fails with `JobError`, which names file, setting and mend. Relative
paths are relative to the folder of the job file, so that a scheduled run finds the same files whatever its working
directory.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator

from tasks.errors import JobError
from tasks.job.checking import Transform, Validation
from tasks.job.columns import Columns
from tasks.job.modelling import Backtest, Finetune, Inference
from tasks.job.places import TrackingUri, WarehouseUrl
from tasks.job.problems import explain
from tasks.job.promotion import Promotion
from tasks.job.reading import read_mapping
from tasks.job.schedule import Schedule
from tasks.job.setting import Level, Positive, Setting
from tasks.job.source import Source


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
    inference: Inference = Inference()
    backtest: Backtest = Backtest()
    finetune: Finetune = Finetune()
    promotion: Promotion = Promotion()
    non_commercial: bool = Field(
        False,
        description="whether weights under a licence that forbids commercial use (CC-BY-NC) may become champion",
    )
    dataset: str | None = Field(
        None,
        description="name of the public data set that the source is a copy of, such as m4_hourly; backtests flag the "
        "models that are known to be pretrained on it",
    )
    schedule: Schedule | None = Field(None, description="when forecasts are due; null: whenever someone asks")
    warehouse: WarehouseUrl = Field(
        "duckdb:///warehouse.duckdb",
        description="URL of the warehouse: duckdb:///FILE or postgresql://USER:${PASSWORD}@HOST/DATABASE; passwords as "
        "${NAME} (environment variable) or ${block:NAME} (Prefect Secret block)",
    )
    tracking: TrackingUri = Field(
        "sqlite:///mlflow.db",
        description="MLflow tracking URI: a server's http:// URL or SQLite; passwords as in warehouse",
    )
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

    @field_validator("schedule", mode="before")
    @classmethod
    def _defaults_alone_are_none(cls, value: Any) -> Any:
        """A block whose comment signs were removed, but nothing else."""
        defaults = {name: field.default for name, field in Schedule.model_fields.items()}
        return None if isinstance(value, dict) and value.items() <= defaults.items() else value

    @model_validator(mode="after")
    def _ranges_name_value_columns(self) -> Self:
        unknown = sorted(set(self.validation.ranges) - set(self.columns.numeric))
        if unknown:
            msg = f"validation.ranges names {unknown[0]!r}, which is no numeric column with a role in columns"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _segments_are_there(self) -> Self:
        absent = [name for name in self.promotion.segments if name not in self.columns.static]
        if absent:
            msg = f"promotion.segments names {absent[0]!r}, which is no static column; name it in columns.static"
            raise ValueError(msg)
        beyond = [found for found in self.promotion.horizon_ranges if found[1] > self.horizon]
        if beyond:
            msg = f"promotion.horizon_ranges: {beyond[0]} reaches beyond the horizon of {self.horizon} steps"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _layout_and_columns_agree(self) -> Self:
        made = list(self.source.series_columns)
        if self.source.layout == "row_per_series":
            made = ["value"]
            if self.columns.timestamp != "timestamp":
                msg = "columns.timestamp: layout row_per_series makes the column timestamp; write timestamp: timestamp"
                raise ValueError(msg)
        if made and (absent := [name for name in self.columns.target if name not in made]):
            msg = f"columns.target names {absent[0]!r}; layout {self.source.layout} makes {', '.join(made)}"
            raise ValueError(msg)
        if made and not self.columns.item_columns:
            msg = f"columns.item_id: layout {self.source.layout} holds several series; name what tells them apart"
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

    @property
    def time_zone(self) -> str:
        """Zone of the data's time stamps: as set for the source, otherwise that of the schedule, otherwise UTC."""
        return self.source.to_timezone or (self.schedule.timezone if self.schedule else "UTC")

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
    settings = read_mapping(file, kind="job file", mend="`moirai init DATA` writes one")
    return job_from_settings(settings, folder=file.resolve().parent, origin=str(file))


def job_from_settings(settings: dict[str, Any], *, folder: Path, origin: str = "job") -> Job:
    """Check settings already read; `origin` names them in errors. Raises `JobError`."""
    try:
        job = Job.model_validate(settings)
    except ValidationError as error:
        raise JobError(f"{origin}: {explain(error, Job)}") from error
    job._folder = folder.resolve()  # noqa: SLF001 - the one place that knows the folder
    return job
