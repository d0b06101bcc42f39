"""Bad input, one row each: one line that names the place and the mend, exit code 1, and nothing stored is touched."""

import http.server
import os
import shutil
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import yaml

from flows.cli import main
from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import small_data, small_settings, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")
TABLES = ("observations", "forecasts", "scores", "quarantine")


@pytest.fixture(scope="module")
def used(tmp_path_factory, mlflow_template, request):
    """A folder in which the small job has forecast once."""
    request.getfixturevalue("prefect_server")
    folder = tmp_path_factory.mktemp("used")
    shutil.copy(mlflow_template, folder / "mlflow.db")
    with pytest.raises(SystemExit) as ended:
        main(["forecast", str(write_job(folder))])
    assert ended.value.code == 0
    return folder


@pytest.fixture
def folder(used, tmp_path):
    """A copy of that folder, to be spoilt."""
    return shutil.copytree(used, tmp_path / "job")


def stored(folder):
    """Everything that the job has in its warehouse, attempts apart."""
    job = load_job(folder / "good.yaml")
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        counts = warehouse.counts(job.name)
        return {table: counts[table] for table in TABLES}, warehouse.read_forecasts(job.name).to_csv()


def settings_with(folder, **changes):
    """Write the job file again with other settings; dots lead into blocks."""
    settings = small_settings()
    for name, value in changes.items():
        *blocks, key = name.split("__")
        block = settings
        for one in blocks:
            block = block.setdefault(one, {})
        block[key] = value
    if settings["source"].get("path") is None:
        settings["source"].pop("path")
    (folder / "job.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def data_with(folder, change):
    """Write the data again, changed."""
    frame = small_data().astype({"sales": object, "hour": str})
    change(frame).to_csv(folder / "sales.csv", index=False)


def cell(row, column, value):
    """A change of one cell; line = row + 2."""

    def change(frame):
        frame.loc[row, column] = value
        return frame

    return lambda folder: data_with(folder, change)


def text(content):
    """Another content of the file."""
    return lambda folder: (folder / "sales.csv").write_bytes(content)


def job(**changes):
    """Other settings."""
    return lambda folder: settings_with(folder, **changes)


def both(*steps):
    """Several changes."""
    return lambda folder: [step(folder) for step in steps]


def half_a_parquet(folder):
    """A Parquet file of which the second half did not arrive."""
    small_data().to_parquet(folder / "sales.parquet")
    whole = (folder / "sales.parquet").read_bytes()
    (folder / "sales.parquet").write_bytes(whole[: len(whole) // 2])
    settings_with(folder, source__path="sales.parquet")


def database(query):
    """The data in an SQLite file, and a query of it."""

    def change(folder):
        with sqlite3.connect(folder / "sales.db") as connection:
            small_data().to_sql("sales", connection, index=False)
        connection.close()
        settings_with(folder, source={"path": None, "url": f"sqlite:///{folder / 'sales.db'}", "query": query})

    return change


def swapped(folder):
    """A column of values named as the one that tells series apart."""
    frame = pd.DataFrame(
        {"hour": pd.date_range("2024-01-01", periods=2000, freq="h"), "shop": np.arange(2000) + 0.5, "sales": 1.0}
    )
    frame["temp"] = 290.0
    frame.to_csv(folder / "sales.csv", index=False)


def conflict(frame):
    """A second row for one series and hour, with another value."""
    second = frame.iloc[[0]].assign(sales=99.0)
    return pd.concat([second, frame])


CASES = {
    "file missing": (lambda folder: (folder / "sales.csv").unlink(), ["sales.csv does not exist", "source.path"]),
    "glob without match": (job(source__path="sales-*.csv"), ["sales-*.csv", "no file"]),
    "empty file": (text(b""), ["sales.csv is empty"]),
    "header only": (text(b"shop,hour,sales,temp\n"), ["sales.csv", "no rows"]),
    "column absent": (job(columns__target=["revenue"]), ["'revenue'", "shop, hour, sales, temp"]),
    "time stamp that does not parse": (cell(7, "hour", "soon"), ["'hour'", "line 9", "'soon'", "ISO 8601"]),
    "mixed time zones": (cell(7, "hour", "2024-01-01 06:00:00+02:00"), ["'hour'", "line 9", "zone"]),
    "number that is none": (cell(7, "sales", "many"), ["'sales'", "line 9", "'many'"]),
    "infinite value": (cell(7, "sales", "inf"), ["'sales'", "line 9", "'inf'", "finite"]),
    "contradicting rows": (
        both(lambda folder: data_with(folder, conflict), job(transform__duplicates="error")),
        ["transform.duplicates is error", "line"],
    ),
    "every series too short": (
        lambda folder: data_with(folder, lambda frame: frame.groupby("shop").head(20)),
        ["fewer than 30 observed steps", "2 of 2"],
    ),
    "unknown key": (job(horizont=3), ["horizont", "unknown setting", "horizon"]),
    "wrong type": (job(horizon="two days"), ["horizon", "'two days'"]),
    "horizon of 0": (job(horizon=0), ["horizon", "0"]),
    "quantile outside": (job(quantiles=[0.5, 1.0]), ["quantiles", "1.0"]),
    "quantiles unsorted": (job(quantiles=[0.9, 0.5]), ["quantiles", "rising"]),
    "warehouse not writable": (job(warehouse="duckdb:///sales.csv/w.duckdb"), ["warehouse", "sales.csv"]),
    "tracking not writable": (
        job(tracking="sqlite:///sales.csv/mlflow.db", model="models:/shops@champion"),
        ["tracking", "sales.csv"],
    ),
    "model folder missing": (job(model="./nowhere"), ["nowhere"]),
    "model offline": (job(model="Salesforce/moirai-2.0-R-none"), ["Salesforce/moirai-2.0-R-none", "HF_HUB_OFFLINE"]),
    "model not registered": (job(model="models:/shops@champion"), ["no registered model 'shops'", "moirai finetune"]),
    "wrong encoding": (text("shop,hour,sales,temp\nKöln,2024-01-01,1,1\n".encode("latin-1")), ["utf-8", "encoding"]),
    "half a Parquet file": (half_a_parquet, ["sales.parquet", "damaged"]),
    "query that fails": (database("SELECT sales FROM nowhere"), ["source.query", "nowhere"]),
    "query without rows": (database("SELECT * FROM sales WHERE sales < 0"), ["source.query", "no rows"]),
    "database variable not set": (
        job(source={"path": None, "url": "postgresql+psycopg://me:${NO_SUCH_PASSWORD}@db/x", "query": "SELECT 1"}),
        ["NO_SUCH_PASSWORD"],
    ),
    "password in the file": (
        job(source={"path": None, "url": "postgresql+psycopg://me:secret@db/x", "query": "SELECT 1"}),
        ["source", "password", "${NAME}"],
    ),
    "every row a series": (swapped, ["'shop'", "2,000", "columns.item_id"]),
    "known covariate ends with the target": (
        job(columns={"timestamp": "hour", "item_id": "shop", "target": ["sales"], "known": ["temp"]}),
        ["temp", "horizon", "past"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_leaves_the_warehouse_alone(name, folder, capsys):
    """The line names what is wrong and where; the exit code is 1; no row is added, changed or lost."""
    (folder / "good.yaml").write_bytes((folder / "job.yaml").read_bytes())
    before = stored(folder)
    spoil, parts = CASES[name]
    spoil(folder)
    with pytest.raises(SystemExit) as ended:
        main(["forecast", str(folder / "job.yaml")])
    shown = capsys.readouterr().err
    message = shown[shown.rindex("error: ") :].strip()
    assert ended.value.code == 1
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message
    assert "Traceback" not in shown
    assert "secret" not in shown
    assert stored(folder) == before


class _NotFound(http.server.BaseHTTPRequestHandler):
    """A hub that knows no model."""

    def do_GET(self):
        """Answer as the hub does for a repository that is not there."""
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()

    def do_HEAD(self):
        """The same without a body, which there is none of."""
        self.do_GET()

    def log_message(self, *_):
        """Keep quiet."""


def test_a_model_the_hub_does_not_know_is_one_line(folder):
    """Online, the hub is asked; its refusal becomes one line that names the model."""
    settings_with(folder, model="Salesforce/moirai-2.0-R-none")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}"}
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", "from flows.cli import main; main()", "forecast", str(folder / "job.yaml")],
            env=os.environ | hub | {"PREFECT_HOME": str(folder / "prefect")},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 1
    message = done.stderr[done.stderr.rindex("error: ") :].strip()
    assert "Salesforce/moirai-2.0-R-none" in message
    assert "\n" not in message


STRANGE = ["sales ($)", 'the "best" shop', "Uhrzeit; DROP TABLE forecasts;--", "气温 °C"]


def test_strange_column_names_work(folder, capsys):
    """Quotes, spaces, SQL and other scripts in column names are names like any other."""
    value, item, hour, temp = STRANGE
    named = {"sales": value, "shop": item, "hour": hour, "temp": temp}
    small_data().rename(columns=named).to_csv(folder / "sales.csv", index=False)
    settings_with(
        folder,
        columns={"timestamp": hour, "item_id": item, "target": [value], "checked": [temp]},
        validation__ranges={temp: {"min": 200, "max": 330}},
    )
    with pytest.raises(SystemExit) as ended:
        main(["forecast", str(folder / "job.yaml")])
    assert ended.value.code == 0, capsys.readouterr().err
    made = load_job(folder / "job.yaml")
    with open_warehouse(warehouse_url(made), read_only=True) as warehouse:
        assert set(warehouse.read_forecasts(made.name)["target_name"]) >= {value}
