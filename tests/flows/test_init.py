"""`moirai init` on the command line: what it takes, what it prints, what it writes."""

import json
import sqlite3

import numpy as np
import pandas as pd
import pytest

from flows.cli import main
from tasks.job import load_job


@pytest.fixture
def sales():
    """Daily sales of two shops, in columns whose names look like markup."""
    days = pd.date_range("2024-01-01", periods=120)
    frames = [pd.DataFrame({"day": days, "[shop]": name, "[b]sold": np.arange(120) % 7 + 3}) for name in ("n", "s")]
    return pd.concat(frames)


def run(arguments, capsys):
    """What a successful call prints."""
    with pytest.raises(SystemExit) as ended:
        main(["init", *map(str, arguments)])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_folder(sales, tmp_path, capsys):
    """A folder of files is a source; names are printed as they stand; the job file loads."""
    (tmp_path / "data").mkdir()
    for shop, rows in sales.groupby("[shop]"):
        rows.to_csv(tmp_path / "data" / f"{shop}.csv", index=False)
    out = tmp_path / "job.yaml"
    shown = run([tmp_path / "data", "--out", out], capsys)
    assert "[b]sold" in shown.replace("\n", "")
    job = load_job(out)
    assert (job.source.path, job.columns.item_id, job.columns.target) == ("data", "[shop]", ["[b]sold"])


def test_a_query(sales, tmp_path, capsys):
    """--query asks a database; the findings are JSON for machines."""
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        sales.to_sql("sales", connection, index=False)
    connection.close()
    query, out = "SELECT * FROM sales ORDER BY day", tmp_path / "job.yaml"
    found = json.loads(run([f"sqlite:///{tmp_path}/shop.db", "--query", query, "--out", out, "--json"], capsys))
    assert found["job_file"] == str(out)
    assert {"setting": "source.query", "value": query}.items() <= found["findings"][2].items()
    assert load_job(out).source.query == query


def test_a_database_without_query(tmp_path, capsys):
    """One line says what is missing, the exit code is 1 and nothing is written."""
    with pytest.raises(SystemExit) as ended:
        main(["init", "sqlite:///shop.db", "--out", str(tmp_path / "job.yaml")])
    assert ended.value.code == 1
    assert "say with --query what it is to be asked" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
