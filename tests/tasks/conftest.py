"""A job, a clean panel and a tiny model for the steps that train, backtest and forecast."""

import numpy as np
import pandas as pd
import pytest

HOURS = 240


@pytest.fixture
def small_job(tmp_path):
    """Makes a job of two hourly series; named settings replace its own."""

    def make(**changes):
        from tasks.job import job_from_settings  # noqa: PLC0415 - the import hook of the suite comes first

        settings = {
            "name": "shops",
            "source": {"path": "sales.csv"},
            "columns": {"timestamp": "hour", "item_id": "shop", "target": ["sales"]},
            "frequency": "h",
            "horizon": 6,
            "season": 24,
            "context": 64,
            "backtest": {"windows": 3, "baselines": ["naive", "seasonal_naive", "seasonal_naive:24"]},
            "finetune": {"max_steps": 4, "batch_size": 4, "validate_every": 2, "validation_windows": 2},
        }
        return job_from_settings(settings | changes, folder=tmp_path)

    return make


@pytest.fixture
def clean_frame():
    """Two series on the hourly grid, one shorter, with a gap and a missing label in the last window."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=HOURS, freq="h")
    wave = 20 + 5 * np.sin(2 * np.pi * np.arange(HOURS) / 24)
    frame = pd.concat(
        [
            pd.DataFrame({"item_id": "a", "timestamp": hours, "sales": wave + rng.normal(0, 1, HOURS)}),
            pd.DataFrame({"item_id": "b", "timestamp": hours[100:], "sales": 2 * wave[100:]}),
        ],
        ignore_index=True,
    )
    frame.loc[30:40, "sales"] = np.nan
    frame.loc[HOURS - 2, "sales"] = np.nan
    return frame


@pytest.fixture
def clean_panel(clean_frame, tmp_path):
    """The clean frame on disk."""
    from tasks.panel import write_panel  # noqa: PLC0415 - see above

    return write_panel(clean_frame, tmp_path / "panels", stage="clean")


@pytest.fixture
def tiny_model(tmp_path):
    """A reference to a tiny untrained checkpoint."""
    import torch  # noqa: PLC0415 - see above

    from moirai import Moirai2Config, Moirai2Module  # noqa: PLC0415
    from tasks.model_reference import ModelRef  # noqa: PLC0415

    torch.manual_seed(0)
    config = Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2)
    folder = Moirai2Module(config).save_pretrained(tmp_path / "tiny")
    return ModelRef(reference="tiny", name="tiny", version="v1", digest="d1", folder=folder, licence="Apache-2.0")


@pytest.fixture(params=["duckdb", "postgres"])
def new_url(request, tmp_path):
    """URL of a warehouse that is not there yet, nor is its folder; once for each database."""
    if request.param == "postgres":
        return request.getfixturevalue("make_postgres")()
    return f"duckdb:///{tmp_path}/deep/er/w.duckdb"


@pytest.fixture
def warehouse(new_url):
    """A warehouse that is new and open; once for each database."""
    from tasks.warehouse import open_warehouse  # noqa: PLC0415 - see above

    with open_warehouse(new_url) as warehouse:
        yield warehouse


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def shared(request, tmp_path_factory):
    """One open warehouse for tests that keep to a job of their own; once for each database."""
    from tasks.warehouse import open_warehouse  # noqa: PLC0415 - see above

    if request.param == "postgres":
        url = request.getfixturevalue("make_postgres")()
    else:
        url = f"duckdb:///{tmp_path_factory.mktemp('shared')}/w.duckdb"
    with open_warehouse(url) as warehouse:
        yield warehouse
