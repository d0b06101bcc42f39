"""The model a version serves: the pipeline's forecasts, from files that need nothing else."""

import json
import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import pandas as pd
import pytest
import torch

from moirai import Moirai2Config, Moirai2Module, MoiraiForecast
from moirai.errors import ConfigError, DataError
from moirai.forecasting.covariates import CovariateEncoding
from tasks.job import job_from_settings
from tasks.panel import write_panel
from tasks.register import register_model, resolve_model

LEVELS = [0.1, 0.5, 0.9]


ENCODING = CovariateEncoding(known=("promo", "day"), past=("temp",), lead=20, names={"day": ("Easter", "none")})


@pytest.fixture(scope="module")
def register_tiny(mlflow_template, tmp_path_factory):
    """Registers a tiny model for a job of half-hourly series; with an encoding as one trained with covariates."""

    def register(encoding=None):
        folder = tmp_path_factory.mktemp("served")
        shutil.copy(mlflow_template, folder / "mlflow.db")
        settings = {
            "name": "shop",
            "source": {"path": "shop.csv"},
            "columns": {"timestamp": "time", "target": ["sales"]},
            "frequency": "30min",
            "horizon": 20,
            "context": 48,
            "quantiles": LEVELS,
        }
        job = job_from_settings(settings, folder=folder)
        torch.manual_seed(0)
        config = Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2)
        Moirai2Module(config).save_pretrained(folder / "tuned")
        if encoding is not None:
            encoding.write(folder / "tuned")
        panel = write_panel(long_frame().rename(columns={"target": "sales"}), folder / "panels", stage="clean")
        base = resolve_model(job, "tuned")
        return register_model(
            job, folder=folder / "tuned", training_key="key", panel=panel, base=base, metrics={"wql": 0.1}
        )

    return register


@pytest.fixture(scope="module")
def version(register_tiny):
    """A registered version of a tiny model."""
    return register_tiny()


@pytest.fixture(scope="module")
def root(version):
    """The folder MLflow keeps the version in."""
    return version.folder.parents[1]


@pytest.fixture
def load(monkeypatch):
    """Loads a version from the folder MLflow keeps it in."""
    import mlflow.pyfunc  # noqa: PLC0415 - warns when first imported; registering has kept that quiet

    monkeypatch.setattr(sys, "path", sys.path.copy())  # MLflow puts the version's code in front
    return lambda root: mlflow.pyfunc.load_model(str(root))


@pytest.fixture
def served(root, load):
    """The version as MLflow loads it."""
    return load(root)


def long_frame(frequency="30min"):
    """Two series of different lengths with a gap."""
    times = pd.date_range("2024-01-01", periods=100, freq=frequency)
    values = np.random.default_rng(0).normal(10, 2, 100)
    values[40:43] = np.nan
    long = pd.DataFrame({"item_id": "a", "timestamp": times, "target": values})
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


def forecast(version, frame, **options):
    """What the pipeline forecasts with the same checkpoint."""
    return MoiraiForecast.from_pretrained(version.folder, context_length=48).predict_frame(frame, **options)


@pytest.mark.usefixtures("socket_disabled")
def test_forecasts_equal_the_pipelines(version, served):
    """The defaults are the job's, every value is the same bit for bit, and no network is asked for."""
    expected = forecast(version, long_frame(), freq="30min", horizon=20, levels=LEVELS)
    pd.testing.assert_frame_equal(served.predict(long_frame()), expected, check_exact=True)


def test_parameters_replace_the_jobs_settings(version, served):
    """Horizon, quantiles and frequency can be asked for with every call."""
    params = {"horizon": 5, "quantiles": [0.2, 0.8], "frequency": "D"}
    expected = forecast(version, long_frame("D"), freq="D", horizon=5, levels=[0.2, 0.8])
    pd.testing.assert_frame_equal(served.predict(long_frame("D"), params=params), expected, check_exact=True)


def test_what_the_model_cannot_do_is_said_in_its_own_words(served):
    """MLflow passes on the errors of the model library."""
    with pytest.raises(DataError, match="does not follow"):
        served.predict(long_frame("D"))
    with pytest.raises(ConfigError, match=r"quantile 0\.95"):
        served.predict(long_frame(), params={"quantiles": [0.95]})


def test_the_signature_says_what_goes_in_and_comes_out(version, served):
    """Names and defaults are those of the job."""
    signature = served.metadata.signature
    assert signature.inputs.input_names() == ["item_id", "timestamp", "target"]
    assert signature.outputs.input_names() == list(served.predict(long_frame()).columns)
    defaults = {one.name: one.default for one in signature.params.params}
    assert defaults == {"horizon": 20, "quantiles": LEVELS, "frequency": "30min"}
    assert served.metadata.metadata["weights_digest"] == version.digest


def test_the_stored_example_can_be_forecast(root, served):
    """It is made up, so that no data leave with the model, and serves as it is."""
    example = served.metadata.load_input_example(str(root))
    assert set(example["item_id"]) == {"example"}
    assert len(served.predict(example)) == 20


def test_nothing_stored_is_a_pickle(root):
    """Weights are safetensors, everything else is text; the bundled checkpoint is not shipped along."""
    stored = [path for path in root.rglob("*") if path.is_file()]
    kinds = {".json", ".py", ".safetensors", ".txt", ".typed", ".yaml", ""}
    assert {path.suffix for path in stored} <= kinds
    for path in stored:
        if path.suffix != ".safetensors":
            path.read_text(encoding="utf-8")
    assert [path.name for path in stored if path.suffix == ".safetensors"] == ["model.safetensors"]
    assert (root / "code" / "moirai" / "hub.py").is_file()


def test_a_version_runs_without_this_repository(version, root, tmp_path):
    """Another process, another folder, only third-party packages: the version brings its own code.

    To float32 rounding: where another process lays its matrices, their products may round the last bit otherwise.
    """
    code = """
import sys
sys.path.append(sys.argv[1])
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[2])
model.predict(pandas.read_parquet("frame.parquet")).to_parquet("forecast.parquet")
import moirai
print(moirai.__file__)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"tasks", "flows", "prefect"}))
"""
    long_frame().to_parquet(tmp_path / "frame.parquet")
    packages = sysconfig.get_path("purelib")  # -S: without the link to this repository that lies there
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", code, packages, str(root)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == [str(root / "code" / "moirai" / "__init__.py"), "[]"]
    expected = forecast(version, long_frame(), freq="30min", horizon=20, levels=LEVELS)
    written = pd.read_parquet(tmp_path / "forecast.parquet")
    pd.testing.assert_frame_equal(written, expected, rtol=1e-6, atol=1e-6)


def test_requirements_are_pinned_and_installable(root):
    """Exact versions, without the local part of a build that no index knows."""
    requirements = (root / "requirements.txt").read_text().split()
    names = {line.partition("==")[0] for line in requirements}
    assert names == {"mlflow", "torch", "numpy", "pandas", "safetensors", "jaxtyping"}
    assert not [line for line in requirements if "+" in line or "==" not in line]


def test_an_answer_can_be_read_by_a_client(root):
    """The request MLflow stores for its server holds the example as JSON."""
    request = json.loads((root / "serving_input_example.json").read_text())
    assert request["dataframe_split"]["columns"] == ["item_id", "timestamp", "target"]


@pytest.fixture(scope="module")
def version_with_covariates(register_tiny):
    """A version that was trained with a promotion, a holiday's name and a temperature."""
    return register_tiny(ENCODING)


def test_a_version_with_covariates_takes_their_columns_and_the_rows_of_the_horizon(version_with_covariates, load):
    """Its signature names them, its example runs, and its forecasts are the pipeline's."""
    root = version_with_covariates.folder.parents[1]
    served = load(root)
    assert served.metadata.signature.inputs.input_names() == ["item_id", "timestamp", "target", "promo", "day", "temp"]
    assert len(served.predict(served.metadata.load_input_example(str(root)))) == 20
    frame = frame_with_covariates()
    is_history = frame["timestamp"] < "2024-01-03 02:00"
    options = {"freq": "30min", "horizon": 20, "levels": LEVELS, "encoding": ENCODING, "future": frame[~is_history]}
    expected = forecast(version_with_covariates, frame[is_history], **options)
    pd.testing.assert_frame_equal(served.predict(frame), expected, check_exact=True)
    changed = frame.assign(promo=frame["promo"].where(is_history, 1 - frame["promo"]))
    assert not np.allclose(served.predict(changed)["q50"], expected["q50"])


def test_a_version_with_covariates_says_what_a_frame_lacks(version_with_covariates, load):
    """The steps of the horizon, its length, and a column: each by name."""
    served = load(version_with_covariates.folder.parents[1])
    with pytest.raises(DataError, match=r"'promo' of series 'a' has no value at 2024-01-03 11:30:00; all 20 steps"):
        served.predict(frame_with_covariates(19))
    with pytest.raises(ConfigError, match="known covariates 20 steps ahead; a horizon of 21 is too long"):
        served.predict(frame_with_covariates(), params={"horizon": 21})
    with pytest.raises(Exception, match="temp"):  # by MLflow, which checks the signature first
        served.predict(frame_with_covariates().drop(columns="temp"))
