"""MLflow's own server with a version of the registry: all kinds of requests, without network and repository."""

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from .served_rows import LEVELS, forecast, long_frame, register

UVICORN = "#!{python}\nfrom uvicorn.main import main\nmain()\n"
MEND = "which is no time that can be read; write ISO 8601 text, such as '2024-01-31T18:00:00'"
SECONDS = 60  # until the server answers; some five on an idle machine


@pytest.fixture(scope="module")
def version(mlflow_template, tmp_path_factory):
    """A champion in a registry of its own."""
    folder = tmp_path_factory.mktemp("registry")
    version = register(folder, mlflow_template)
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    client.set_registered_model_alias("shop", "champion", version.version)
    return version


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder with an interpreter that sees the installed packages, but not this repository.

    A .pth file, by which the repository is installed, counts only where an interpreter is at home.
    """
    folder = tmp_path_factory.mktemp("outside")
    venv.create(folder / "bare", symlinks=True, with_pip=False)
    program = folder / "bare" / "bin" / "uvicorn"  # which `mlflow models serve` starts by name
    program.write_text(UVICORN.format(python=folder / "bare" / "bin" / "python"))
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def environment(version, outside):
    """Of a server: another interpreter, this registry, and a log of its own of what it asks of the network."""
    folder = next(parent for parent in version.folder.parents if (parent / "mlflow.db").is_file())
    registry = f"sqlite:///{folder / 'mlflow.db'}"
    return os.environ | {
        "PATH": f"{outside / 'bare' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], sysconfig.get_path("purelib")]),
        "MLFLOW_TRACKING_URI": registry,
        "MLFLOW_REGISTRY_URI": registry,
    }


@pytest.fixture(scope="module")
def url(outside, environment):
    """Where `mlflow models serve` answers while the tests run; it is stopped by its process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["-m", "mlflow", "models", "serve", "--model-uri", "models:/shop@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    log = outside / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - our own arguments
            [outside / "bare" / "bin" / "python", *command],
            cwd=outside,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while not is_up(port):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        server.send_signal(signal.SIGTERM)  # its child, uvicorn, gets one when it ends
        server.wait(20)
        sys.stderr.write(f"--- server\n{log.read_text(errors='replace')[-5000:]}\n")


def is_up(port):
    """Whether the server's health check answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def ask(url, body, kind="application/json"):
    """Status and answer of a request."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - see above
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def records(frame):
    """Rows as a client without pandas would write them: null for what is missing."""
    return json.loads(frame.to_json(orient="records", date_format="iso"))


def answered(answer):
    """The forecast frame of an answer."""
    status, body = answer
    assert status == 200, body
    frame = pd.DataFrame(body["predictions"])
    return frame.assign(**{name: pd.to_datetime(frame[name]) for name in ("origin", "timestamp")})


def check_equal(answer, expected):
    """To float32 rounding: another process may lay its matrices otherwise."""
    widened = expected.astype({name: float for name in expected.columns if name.startswith("q")})
    pd.testing.assert_frame_equal(answered(answer), widened, rtol=1e-6, atol=1e-6)


def test_the_server_cannot_import_this_repository(outside, environment):
    """What it answers, it answers with the code inside the version."""
    code = "import importlib.util as u; print([name for name in ('moirai', 'tasks', 'flows') if u.find_spec(name)])"
    command = [outside / "bare" / "bin" / "python", "-c", code]
    done = subprocess.run(command, cwd=outside, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


def test_json_and_parquet_get_the_librarys_numbers(url, version):
    """Records, columns by their names and Parquet: the same forecast, the job's settings being the defaults."""
    expected = forecast(version, long_frame(), freq="30min", horizon=20, levels=LEVELS)
    check_equal(ask(url, {"dataframe_records": records(long_frame())}), expected)
    split = json.loads(long_frame().to_json(orient="split", date_format="iso"))
    check_equal(ask(url, {"dataframe_split": split}), expected)
    check_equal(ask(url, long_frame().to_parquet(), "application/vnd.apache.parquet"), expected)


def test_whole_numbers_and_unsorted_rows_are_taken(url, version):
    """JSON has no float for 7, and nobody sorts what an API sends."""
    frame = long_frame().assign(sales=np.arange(170) % 12)
    expected = forecast(version, frame, freq="30min", horizon=20, levels=LEVELS)
    check_equal(ask(url, {"dataframe_records": records(frame)[::-1]}), expected)


def test_parameters_of_requests_at_once_do_not_mix(url, version):
    """Every request gets its own horizon, levels and way of decoding, whatever runs beside it."""
    asked = [
        {"horizon": horizon, "quantiles": levels, "decoding": decoding, "seed": 3}
        for horizon, levels in [(4, [0.5]), (30, [0.1, 0.9])]
        for decoding in ("exact", "cached")
    ]
    bodies = [{"dataframe_records": records(long_frame()), "params": params} for params in asked] * 3
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: ask(url, body), bodies))
    for params, answer in zip(asked * 3, answers, strict=True):
        options = {"horizon": params["horizon"], "levels": params["quantiles"], "freq": "30min"}
        check_equal(answer, forecast(version, long_frame(), choices={"decoding": params["decoding"]}, **options))


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"horizon": 0}, "horizon must be between 1 and 10,000, not 0"),
        (
            {"quantiles": [0.95]},
            "quantile 0.95 is not among the model's trained levels (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)",
        ),
        ({"decoding": "fast"}, "decoding must be exact or cached, not 'fast'"),
    ],
    ids=str,
)
def test_wrong_parameters_are_answered_with_400_and_a_sentence(url, params, sentence):
    """Nothing else stands in the answer: neither the rows nor a traceback."""
    status, body = ask(url, {"dataframe_records": records(long_frame()), "params": params})
    assert (status, body) == (400, {"error_code": "BAD_REQUEST", "message": sentence})


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda rows: [*rows, rows[3]], "series 'a' has 2024-01-01 01:30:00 twice; keep one row for each time stamp"),
        (
            lambda rows: [{**rows[0], "sales": "many"}, *rows[1:]],
            "column 'sales' of series 'a' holds 'many', which is no number",
        ),
        (
            lambda rows: [{**row, "timestamp": 1704067200000} for row in rows],
            f"timestamp of series 'a' holds 1704067200000, {MEND}",
        ),
        (lambda rows: [{**row, "sales": None} for row in rows], "series 'a' has no value of 'sales' to forecast from"),
    ],
    ids=["twice", "text", "epoch", "nothing"],
)
def test_wrong_rows_are_answered_with_400_and_a_sentence(url, spoil, sentence):
    """It names column, series or time stamp."""
    status, body = ask(url, {"dataframe_records": spoil(records(long_frame()))})
    assert (status, body) == (400, {"error_code": "BAD_REQUEST", "message": sentence})


def test_a_missing_column_and_a_parameter_of_the_wrong_kind_are_named(url):
    """MLflow finds these itself, and ends its longer answer with the name."""
    renamed = {"dataframe_records": records(long_frame().rename(columns={"sales": "sale"}))}
    status, body = ask(url, renamed)
    assert status == 400
    assert body["message"].endswith("Model is missing inputs ['sales']. Note that there were extra inputs: ['sale'].")
    status, body = ask(url, {"dataframe_records": records(long_frame()), "params": {"horizon": "soon"}})
    assert status == 400
    assert "'horizon'" in body["message"].rpartition("\n")[2]


def test_what_is_no_request_does_not_stop_the_server(url, version):
    """Broken JSON and other content get a 4xx each; the next request is answered."""
    assert ask(url, b"{")[0] == 400
    assert ask(url, {"rows": []})[0] == 400
    with pytest.raises(json.JSONDecodeError):  # a sentence, as text
        ask(url, b"item_id", "text/plain")
    expected = forecast(version, long_frame(), freq="30min", horizon=1, levels=LEVELS)
    check_equal(ask(url, {"dataframe_records": records(long_frame()), "params": {"horizon": 1}}), expected)
