"""The model a version serves: the pipeline's forecasts, from files that need nothing else."""

import json
import subprocess
import sys
import sysconfig

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from moirai import MoiraiMoEConfig, MoiraiMoEModule
from tasks.forecast import forecast_panel
from tasks.model_reference import resolve_model
from tasks.panel import write_panel

from .served_rows import ENCODING, LEVELS, forecast, frame_with_covariates, long_frame, register, shop_job


@pytest.fixture(scope="module")
def register_tiny(mlflow_template, tmp_path_factory):
    """Registers a tiny model, each in a store of its own; with an encoding as one trained with covariates."""
    return lambda encoding=None: register(tmp_path_factory.mktemp("served"), mlflow_template, encoding)


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


@pytest.mark.usefixtures("socket_disabled")
def test_forecasts_equal_the_pipelines(version, served):
    """The defaults are the job's, every value is the same bit for bit, and no network is asked for."""
    expected = forecast(version, long_frame(), freq="30min", horizon=20, levels=LEVELS)
    pd.testing.assert_frame_equal(served.predict(long_frame()), expected, check_exact=True)


@pytest.mark.usefixtures("socket_disabled")
def test_the_pipeline_forecasts_the_same_from_the_registry_without_a_socket(version, served, root):
    """`models:/shop/1` is resolved, loaded and asked by the steps of `moirai forecast`."""
    folder = next(parent for parent in root.parents if (parent / "mlflow.db").is_file())
    job = shop_job(folder)
    panel = write_panel(long_frame(), folder / "panels", stage="clean")
    made = pd.read_parquet(forecast_panel(job, panel, resolve_model(job, "models:/shop/1")).path)
    assert set(made["model_version"]) == {version.version}
    expected = made.drop(columns=["model_name", "model_version"])
    pd.testing.assert_frame_equal(served.predict(long_frame()), expected, check_exact=True)


def test_parameters_replace_the_jobs_settings(version, served):
    """Horizon, quantiles and frequency can be asked for with every call."""
    params = {"horizon": 5, "quantiles": [0.2, 0.8], "frequency": "D"}
    expected = forecast(version, long_frame("D"), freq="D", horizon=5, levels=[0.2, 0.8])
    pd.testing.assert_frame_equal(served.predict(long_frame("D"), params=params), expected, check_exact=True)


def test_rows_are_taken_as_they_come(version, served):
    """Whole numbers, numbers as names of series, time stamps as text, and any order and index of rows."""
    frame = long_frame().assign(sales=np.arange(170) % 12)
    expected = forecast(version, frame, freq="30min", horizon=20, levels=LEVELS)
    given = frame.assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S"))[::-1]
    pd.testing.assert_frame_equal(served.predict(given), expected, check_exact=True)
    numbered = served.predict(given.assign(item_id=given["item_id"].map({"a": 1, "b": 2})))
    assert numbered["item_id"].tolist() == ["1"] * 20 + ["2"] * 20
    pd.testing.assert_frame_equal(numbered.drop(columns="item_id"), expected.drop(columns="item_id"), check_exact=True)


REFUSED_ROWS = {
    "no rows": (lambda frame: frame[:0], "the request has no rows"),
    "off the grid": (
        lambda frame: frame.drop(5),
        "series 'a': 2024-01-01 03:00:00 does not follow 2024-01-01 02:00:00 by one step of '30min'",
    ),
    "twice": (
        lambda frame: pd.concat([frame, frame[3:4]]),
        "series 'a' has 2024-01-01 01:30:00 twice; keep one row for each time stamp",
    ),
    "no item": (lambda frame: frame.assign(item_id=None), "row 1 has no item_id; every row names its series"),
    "no time": (
        lambda frame: frame.assign(timestamp=frame["timestamp"].where(frame["timestamp"] > "2024-01-02")),
        "timestamp of series 'a' holds NaT, which is no time that can be read; write ISO 8601 text, such as",
    ),
    "ambiguous time": (
        lambda frame: frame.assign(timestamp="01/02/2024"),
        "timestamp of series 'a' holds '01/02/2024', which is no time that can be read; write ISO 8601 text, such as",
    ),
    "time as a number": (
        lambda frame: frame.assign(timestamp=frame["timestamp"].astype("int64") // 1_000_000),
        "timestamp of series 'a' holds 1704067200000, which is no time that can be read; write ISO 8601 text, such as",
    ),
    "time zone": (
        lambda frame: frame.assign(timestamp=frame["timestamp"].dt.tz_localize("UTC")),
        "timestamp has the time zone UTC; send time stamps without one",
    ),
    "time zone as text": (
        lambda frame: frame.assign(timestamp="2024-01-01T00:00:00+01:00"),
        "timestamp '2024-01-01T00:00:00+01:00' has a time zone; send time stamps without one",
    ),
    "text as a number": (
        lambda frame: frame.assign(sales="many"),
        "column 'sales' of series 'a' holds 'many', which is no number",
    ),
    "infinite": (
        lambda frame: frame.assign(sales=np.inf),
        "column 'sales' of series 'a' holds inf, which is no number",
    ),
    "nothing known": (
        lambda frame: frame.assign(sales=frame["sales"].where(frame["item_id"] == "a")),
        "series 'b' has no value of 'sales' to forecast from",
    ),
}


@pytest.mark.parametrize("case", REFUSED_ROWS)
def test_rows_that_cannot_be_forecast_are_refused(served, case):
    """One sentence says where, with column, series or time stamp."""
    spoil, sentence = REFUSED_ROWS[case]
    with pytest.raises(MlflowException) as caught:
        served.predict(spoil(long_frame()))
    assert str(caught.value).startswith(sentence)
    assert caught.value.get_http_status_code() == 400


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"horizon": 0}, "horizon must be between 1 and 10,000, not 0"),
        ({"horizon": 10_001}, "horizon must be between 1 and 10,000, not 10001"),
        ({"horizon": None}, "horizon is null; leave it out for the job's own"),
        ({"quantiles": [0.95]}, "quantile 0.95 is not among the model's trained levels (0.1, "),
        ({"quantiles": []}, "quantiles is empty; name at least one level, such as 0.5"),
        ({"quantiles": [0.5, 0.1, 0.5]}, "quantiles names 0.5 twice; name each level once"),
        ({"frequency": "often"}, "'often' is no frequency; write a pandas offset"),
        ({"seed": -1}, "seed must be between 0 and 2**63 - 1, not -1"),
        ({"num_samples": 0}, "num_samples must be between 1 and 10,000, not 0"),
    ],
    ids=str,
)
def test_parameters_that_cannot_work_are_refused(served, params, sentence):
    """One sentence names the parameter and what it may be."""
    with pytest.raises(MlflowException) as caught:
        served.predict(long_frame(), params=params)
    assert str(caught.value).startswith(sentence)
    assert caught.value.get_http_status_code() == 400


def test_targets_keep_their_names(mlflow_template, tmp_path, load):
    """A job of two targets is served with both columns, each forecast as in the pipeline."""
    columns = {"timestamp": "time", "target": ["sales", "visits"]}
    version = register(tmp_path, mlflow_template, columns=columns)
    served = load(version.folder.parents[1])
    frame = long_frame().assign(visits=lambda frame: 3 * frame["sales"])
    expected = forecast(version, frame, target=["sales", "visits"], freq="30min", horizon=20, levels=LEVELS)
    pd.testing.assert_frame_equal(served.predict(frame), expected, check_exact=True)
    assert len(served.predict(served.metadata.load_input_example(str(version.folder.parents[1])))) == 40
    with pytest.raises(MlflowException, match="series 'a' has no value of 'visits'"):
        served.predict(frame.assign(visits=np.nan))


def test_what_is_drawn_follows_the_seed_of_the_request(mlflow_template, tmp_path, load):
    """Sample paths of a mixture of experts: one seed, one forecast, and that of the library; two seeds, two."""
    module = MoiraiMoEModule(MoiraiMoEConfig(d_model=64, d_ff=16, num_layers=1, patch_sizes=(16,)))
    version = register(tmp_path, mlflow_template, module=module)
    served = load(version.folder.parents[1])
    choices = {"seed": 7, "num_samples": 20, "decoding": "cached"}
    expected = forecast(version, long_frame(), choices=choices, freq="30min", horizon=20, levels=LEVELS)
    pd.testing.assert_frame_equal(served.predict(long_frame(), params=choices), expected, check_exact=True)
    other = served.predict(long_frame(), params=choices | {"seed": 8})
    assert not np.allclose(other["q90"], expected["q90"])


def test_the_signature_says_what_goes_in_and_comes_out(version, served):
    """Names and defaults are those of the job."""
    signature = served.metadata.signature
    assert signature.inputs.input_names() == ["item_id", "timestamp", "sales"]
    assert signature.outputs.input_names() == list(served.predict(long_frame()).columns)
    defaults = {one.name: one.default for one in signature.params.params}
    inference = {"seed": 0, "num_samples": 100, "decoding": "exact"}
    assert defaults == {"horizon": 20, "quantiles": LEVELS, "frequency": "30min", **inference}
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
    assert request["dataframe_split"]["columns"] == ["item_id", "timestamp", "sales"]


@pytest.fixture(scope="module")
def version_with_covariates(register_tiny):
    """A version that was trained with a promotion, a holiday's name and a temperature."""
    return register_tiny(ENCODING)


def test_a_version_with_covariates_takes_their_columns_and_the_rows_of_the_horizon(version_with_covariates, load):
    """Its signature names them, its example runs, and its forecasts are the pipeline's."""
    root = version_with_covariates.folder.parents[1]
    served = load(root)
    assert served.metadata.signature.inputs.input_names() == ["item_id", "timestamp", "sales", "promo", "day", "temp"]
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
    with pytest.raises(
        MlflowException,
        match=r"^known covariate 'promo' of series 'a' has no value at 2024-01-03 11:30:00; all 20 steps",
    ):
        served.predict(frame_with_covariates(19))
    with pytest.raises(MlflowException, match="known covariates 20 steps ahead; a horizon of 21 is too long"):
        served.predict(frame_with_covariates(), params={"horizon": 21})
    with pytest.raises(MlflowException, match=r"missing inputs \['temp'\]"):  # MLflow checks the signature first
        served.predict(frame_with_covariates().drop(columns="temp"))
    with pytest.raises(MlflowException, match=r"column 'day' of series 'a' holds \['Easter'\], which is no name"):
        served.predict(frame_with_covariates().assign(day=[["Easter"]] * 210))
