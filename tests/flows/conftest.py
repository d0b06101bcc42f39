"""A small job with everything real: dirty hourly data of two series, a tiny checkpoint, its own stores."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

HORIZON, WINDOWS, STEPS = 6, 2, 300
FIRST_TEST_STEP = STEPS - WINDOWS * HORIZON


def small_data():
    """Two daily-seasonal series: a repeated row, missing hours and one impossible value."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=STEPS, freq="h")
    frames = []
    for item, level in (("north", 20.0), ("south", 50.0)):
        sales = level + 5 * np.sin(2 * np.pi * np.arange(STEPS) / 24) + rng.normal(0, 0.5, STEPS)
        frames.append(pd.DataFrame({"shop": item, "hour": hours, "sales": sales.round(3), "temp": 290.0}))
    frame = pd.concat(frames, ignore_index=True).drop(index=range(40, 50))
    frame.loc[5, "temp"] = 0.0
    return pd.concat([frame.iloc[:6], frame.iloc[5:]], ignore_index=True)


def small_settings():
    """Settings of the small job; the checkpoint is a folder beside the job file."""
    return {
        "name": "shops",
        "source": {"path": "sales.csv"},
        "columns": {"timestamp": "hour", "item_id": "shop", "target": ["sales"], "checked": ["temp"]},
        "frequency": "h",
        "horizon": HORIZON,
        "season": 24,
        "context": 64,
        "model": "tiny",
        "validation": {"ranges": {"temp": {"min": 200, "max": 330}}},
        "backtest": {"windows": WINDOWS, "baselines": ["naive", "seasonal_naive", "seasonal_naive:12"]},
        "finetune": {
            "base": "tiny",
            "max_steps": 6,
            "batch_size": 4,
            "learning_rate": 1e-3,
            "validate_every": 2,
            "validation_windows": 2,
        },
        "promotion": {"max_loss": 10, "coverage": None},  # the tiny model need not be better than a baseline
    }


def write_job(folder, frame=None, **changes):
    """Write data, checkpoint and job file into a folder; returns the path of the job file."""
    import torch  # noqa: PLC0415 - the import hook of the suite comes first

    from moirai import Moirai2Config, Moirai2Module  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    (small_data() if frame is None else frame).to_csv(folder / "sales.csv", index=False)
    torch.manual_seed(0)
    config = Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2)
    Moirai2Module(config).save_pretrained(folder / "tiny")
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(small_settings() | changes), encoding="utf-8")
    return file


@pytest.fixture
def job_file(tmp_path, mlflow_template) -> Path:
    """The small job in a folder of its own, with a migrated tracking database."""
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    return write_job(tmp_path)


@pytest.fixture
def writer_limit(prefect_server):  # noqa: ARG001 - the limit is one of the server's
    """The limit of writers that runs of deployments share, for one test."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - Prefect reads its settings when imported
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="warehouse-writer", limit=1))
        yield
        client.delete_global_concurrency_limit_by_name("warehouse-writer")
