"""What a fine-tuning process is asked: plain settings as JSON, the series as arrays; no pickle.

In: a `Request` with the series of the training span, and a folder. Out: two files in the folder, and from them the same
again. Fails with `FileNotFoundError` where the folder holds no request.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

REQUEST_FILE, ARRAYS_FILE = "request.json", "series.npz"


class Request(BaseModel):
    """Everything that a fine-tuning is asked, besides the series."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str  # folder of the checkpoint that training starts from
    licence: str  # goes with the weights
    tuned: str | None = None  # a checkpoint that stands already and is only to be scored; None: it is to be made
    settings: dict[str, Any]  # of `moirai.training.finetune.FinetuneSettings`
    trainer: dict[str, Any]  # where it runs: accelerator, devices
    state: str  # folder of the state from which a killed run goes on
    item_ids: list[str]  # of the series
    context: int  # steps that the model sees when it forecasts
    season: int  # steps, of the scale of MASE and of seasonal naive
    frequency: str
    inference: dict[str, Any]  # how the model forecasts: options of `moirai.MoiraiForecast`


@dataclass(frozen=True)
class Series:
    """The series of a training span."""

    values: list[np.ndarray]  # NaN where missing
    covariates: list[np.ndarray] | None = None  # [variate, time] of every series; None: none


def write_request(folder: Path, request: Request, series: Series) -> None:
    """Write a request for the process to read."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "lengths": np.array([len(one) for one in series.values], dtype=np.int64),
        "values": np.concatenate(series.values).astype(np.float32),
    }
    if series.covariates is not None:
        arrays["covariate_lengths"] = np.array([one.shape[1] for one in series.covariates], dtype=np.int64)
        arrays["covariates"] = np.concatenate(series.covariates, axis=1).astype(np.float32)
    np.savez(folder / ARRAYS_FILE, **arrays)
    (folder / REQUEST_FILE).write_text(request.model_dump_json(indent=2), encoding="utf-8")


def read_request(folder: Path) -> tuple[Request, Series]:
    """Read what `write_request` wrote."""
    request = Request.model_validate_json((folder / REQUEST_FILE).read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
        values = _parted(arrays["values"], arrays["lengths"])
        if "covariates" not in arrays:
            return request, Series(values)
        return request, Series(values, _parted(arrays["covariates"], arrays["covariate_lengths"]))


def _parted(joined: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Arrays that were put one behind the other along their last axis."""
    return np.split(joined, np.cumsum(lengths)[:-1], axis=-1)
