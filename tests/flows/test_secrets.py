"""A run whose URLs name secrets: it works, and none of them is in anything that the run leaves or says."""

import json
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine, make_url

from tasks.errors import SourceError, WarehouseError
from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url
from tasks.warehouse.schema import KEYS

from .conftest import small_data, write_job

PASSWORDS = {"WAREHOUSE_PW": "wh-s3cret/@1", "source-pw": "so-s3cret/@2"}
pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def make_job_file(tmp_path, mlflow_template, make_postgres, monkeypatch):
    """Writes the small job with source and warehouse in PostgreSQL; both passwords are references."""
    from prefect.blocks.system import Secret  # noqa: PLC0415 - Prefect reads its settings when it is imported

    monkeypatch.setenv("WAREHOUSE_PW", PASSWORDS["WAREHOUSE_PW"])
    Secret(value=PASSWORDS["source-pw"]).save("source-pw", overwrite=True)
    url = make_postgres()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    small_data().to_sql("sales", engine, index=False)
    engine.dispose()

    def make(**changes):
        shutil.copy(mlflow_template, tmp_path / "mlflow.db")
        source = {"url": url.replace("postgres:@", "postgres:${block:source-pw}@"), "query": "SELECT * FROM sales"}
        warehouse = url.replace("postgres:@", "postgres:${WAREHOUSE_PW}@")
        return write_job(tmp_path, **{"source": source, "warehouse": warehouse} | changes)

    return make


def leaks(texts):
    """Where a password, as it is or as URLs encode it, stands in any of the named texts."""
    forms = [form for password in PASSWORDS.values() for form in (password, quote(password, safe=""))]
    return [name for name, text in texts.items() if any(form.encode() in text for form in forms)]


def left_behind(folder, summary=""):
    """Everything that a run leaves: files beside the job, Prefect's database, rows, its result."""
    from prefect.settings import get_current_settings  # noqa: PLC0415 - see above

    prefect = make_url(get_current_settings().server.database.connection_url.get_secret_value()).database
    paths = [*folder.rglob("*"), *Path(prefect).parent.glob(f"{Path(prefect).name}*")]
    texts = {str(path): path.read_bytes() for path in paths if path.is_file()}
    assert any(b"moirai" in text for name, text in texts.items() if name.startswith(prefect))
    job = load_job(folder / "job.yaml")
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        for table in KEYS:
            rows = warehouse._engine.query(f'SELECT * FROM "{table}"')  # noqa: S608 - our own tables
            texts[table] = rows.to_csv().encode()
    return texts | {"summary": summary.encode()}


def test_a_run_leaves_no_secret(make_job_file, caplog, capfd):
    """Logs, Prefect's and MLflow's databases, artifacts, the report, the rows and the result name secrets only."""
    from flows.backtest import backtest  # noqa: PLC0415 - see above

    caplog.set_level("DEBUG")
    job_file = make_job_file()
    summary = backtest(str(job_file))
    said = capfd.readouterr()
    texts = left_behind(job_file.parent, summary.model_dump_json())
    texts |= {"log": caplog.text.encode(), "stdout": said.out.encode(), "stderr": said.err.encode()}
    assert leaks(texts) == []
    kept = [text for name, text in texts.items() if name.endswith("artifacts/job.yaml")]
    assert len(kept) == 1
    assert b"postgres:${WAREHOUSE_PW}@" in kept[0]
    assert b"postgres:${block:source-pw}@" in kept[0]
    assert "${WAREHOUSE_PW}" in json.loads(texts["summary"])["places"]["warehouse"]
    with open_warehouse(warehouse_url(load_job(job_file)), read_only=True) as warehouse:
        counts = warehouse.counts("shops")
    assert counts["scores"] > 0
    assert counts["runs"] == 1


def test_a_run_that_fails_says_no_secret(make_job_file, caplog, capfd):
    """A source, then a warehouse, that lets nobody in: error, its traceback, logs and the record of the run."""
    from flows.ingest import ingest as ingest_flow  # noqa: PLC0415 - see above

    caplog.set_level("DEBUG")
    job_file = make_job_file()
    settings = job_file.read_text()
    job_file.write_text(settings.replace("SELECT * FROM sales", "SELECT * FROM absent"))
    with pytest.raises(SourceError, match="absent"):
        ingest_flow(str(job_file))
    job_file.write_text(settings.replace("postgres:${WAREHOUSE_PW}@/postgres", "postgres:${WAREHOUSE_PW}@/absent"))
    with pytest.raises(WarehouseError, match='database "absent" does not exist'):
        ingest_flow(str(job_file))
    job_file.write_text(settings)
    said = capfd.readouterr()
    texts = left_behind(job_file.parent)
    assert b"absent" in texts["runs"]
    texts |= {"log": caplog.text.encode(), "stdout": said.out.encode(), "stderr": said.err.encode()}
    assert b"absent" in texts["log"] + texts["stderr"]
    assert leaks(texts) == []
