"""Series for the tests of served versions, and how a version is registered that serves them."""

import shutil

import numpy as np
import pandas as pd
import torch

from moirai import Moirai2Config, Moirai2Module, MoiraiForecast
from moirai.forecasting.covariates import CovariateEncoding
from tasks.job import job_from_settings
from tasks.panel import write_panel
from tasks.register import register_model, resolve_model

LEVELS = [0.1, 0.5, 0.9]
ENCODING = CovariateEncoding(known=("promo", "day"), past=("temp",), lead=20, names={"day": ("Easter", "none")})


def shop_job(folder, **changes):
    """A job of half-hourly series with its registry in a folder; named settings replace its own."""
    settings = {
        "name": "shop",
        "source": {"path": "shop.csv"},
        "columns": {"timestamp": "time", "target": ["sales"]},
        "frequency": "30min",
        "horizon": 20,
        "context": 48,
        "quantiles": LEVELS,
    }
    return job_from_settings(settings | changes, folder=folder)


def register(folder, mlflow_template, encoding=None, module=None, **changes):
    """Register a tiny model for the job; with an encoding as one trained with covariates."""
    shutil.copy(mlflow_template, folder / "mlflow.db")
    job = shop_job(folder, **changes)
    torch.manual_seed(0)
    if module is None:
        module = Moirai2Module(Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2))
    module.save_pretrained(folder / "tuned")
    if encoding is not None:
        encoding.write(folder / "tuned")
    panel = write_panel(long_frame(), folder / "panels", stage="clean")
    base = resolve_model(job, "tuned")
    return register_model(
        job, folder=folder / "tuned", training_key="key", panel=panel, base=base, metrics={"wql": 0.1}
    )


def long_frame(frequency="30min"):
    """Two series of different lengths with a gap."""
    times = pd.date_range("2024-01-01", periods=100, freq=frequency)
    values = np.random.default_rng(0).normal(10, 2, 100)
    values[40:43] = np.nan
    long = pd.DataFrame({"item_id": "a", "timestamp": times, "sales": values})
    return pd.concat([long, long.iloc[30:].assign(item_id="b")], ignore_index=True)


def frame_with_covariates(steps=20):
    """The two series with covariates and, without targets, the steps behind their ends."""
    times = pd.date_range("2024-01-01", periods=100 + steps, freq="30min")
    rng = np.random.default_rng(1)
    beside = pd.DataFrame(
        {
            "timestamp": times,
            "promo": rng.integers(0, 2, len(times)).astype(float),
            "day": np.where(rng.random(len(times)) < 0.1, "Easter", "none"),
            "temp": rng.normal(size=len(times)),
        }
    )
    later = pd.concat([pd.DataFrame({"item_id": item, "timestamp": times[100:]}) for item in "ab"])
    return pd.concat([long_frame(), later], ignore_index=True).merge(beside, on="timestamp")


def forecast(version, frame, *, target="sales", choices=None, **options):
    """What the pipeline forecasts with the same checkpoint."""
    model = MoiraiForecast.from_pretrained(version.folder, context_length=48, **(choices or {}))
    return model.predict_frame(frame, target=target, **options)
