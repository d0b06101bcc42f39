"""`moirai evaluate`: tables for a person, JSON for a machine, one line on failure."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.cli import main

PASTA = Path(__file__).parents[1] / "data"


def run(*arguments):
    """Run the command in this process; returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    return ended.value.code


@pytest.fixture
def data(tmp_path):
    """Weekly gasoline, and published scores beside it."""
    weeks = pd.date_range("2005-01-03", periods=300, freq="W-MON").strftime("%G W%V")
    (tmp_path / "us_gasoline").mkdir()
    frame = pd.DataFrame({"Week": weeks, "Barrels": 8 + np.random.default_rng(0).normal(0, 0.1, 300)})
    frame.to_csv(tmp_path / "us_gasoline" / "us_gasoline.csv", index=False)
    rows = "task,model,MASE,WQL\nus_gasoline,AutoETS,0.8,0.02\n"
    (tmp_path / "baselines.csv").write_text(rows, encoding="utf-8")
    return tmp_path


def test_the_table_shows_scores_ratios_and_published_rows(data, capsys):
    """A model, a baseline and AutoETS on a task; progress goes to stderr."""
    assert run("starter", "naive", "--data", data, "--tasks", "us_gasoline", "--context", 128) == 0
    shown = capsys.readouterr()
    for part in ("us_gasoline", "starter", "naive", "AutoETS", "0.0200", "ratio", "below AutoETS in WQL on"):
        assert part in shown.out
    assert "us_gasoline: starter MASE" in shown.err
    assert "Geometric mean" not in shown.out, "this task is none of the marked ones"


def test_marked_tasks_have_a_geometric_mean(capsys):
    """Published seasonal naive scores are met on real data."""
    assert run("seasonal_naive", "--data", PASTA, "--tasks", "pasta_sales_D, pasta_sales_W") == 0
    shown = capsys.readouterr().out
    for part in ("pasta_sales_D*", "1.1348", "1.7365", "pasta_sales_W*", "0.8322", "Geometric mean", "1.000"):
        assert part in shown


def test_json_holds_all_of_it(data, tmp_path, capsys):
    """Scores, ratios, settings, tasks won; in a file beside the tables, or alone on stdout."""
    asked = ("seasonal_naive", "--data", data, "--tasks", "us_gasoline", "--json")
    assert run(*asked, tmp_path / "out" / "scores.json") == 0
    assert "seasonal_naive" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    assert run(*asked, "-") == 0
    printed = json.loads(capsys.readouterr().out)
    for outcome in (written, printed):
        (score,) = outcome["scores"]
        assert score["ratios"] == {"mase": 1.0, "wql": 1.0}
        assert outcome["settings"]["context_length"] == 2048
        assert outcome["published"] == [{"task": "us_gasoline", "model": "AutoETS", "mase": 0.8, "wql": 0.02}]
        assert outcome["wins"][0]["with_auto_ets"] == 1


def test_scores_of_nothing_are_null_in_json(tmp_path, capsys):
    """A series of zeros has no WQL, and JSON no NaN."""
    weeks = pd.date_range("2005-01-03", periods=300, freq="W-MON").strftime("%G W%V")
    (tmp_path / "us_gasoline").mkdir()
    frame = pd.DataFrame({"Week": weeks, "Barrels": 0.0})
    frame.to_csv(tmp_path / "us_gasoline" / "us_gasoline.csv", index=False)
    assert run("naive", "--data", tmp_path, "--tasks", "us_gasoline", "--json", "-") == 0
    (score,) = json.loads(capsys.readouterr().out)["scores"]
    assert score["values"] == {"mase": None, "wql": None}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tasks", "gasolin"], "unknown task 'gasolin'; known: etth1"),
        (["--tasks", "etth1"], "ETTh1.csv, which does not exist; put the published file there"),
        (["--protocol", "lsf", "--tasks", "ETTm1-96"], "ETTm1.csv, which does not exist"),
        (["--tasks", "us_gasoline", "--json", "/dev/null/scores.json"], "name another file with --json"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments, told, data, capsys):
    """The line names the task or the file, and the mend."""
    assert run("naive", "--data", data, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line
