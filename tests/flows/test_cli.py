"""The command line: what it prints, what it returns, how fast it answers."""

import json
import subprocess
import sys

import pytest

from flows.cli import app, main
from tasks.job import load_job

pytestmark = pytest.mark.usefixtures("prefect_server")
WITH_JOB = ["ingest", "finetune", "backtest", "forecast", "pipeline"]
OPERATE = ["backfill", "promote", "rollback", "schedule", "serve"]
COMMANDS = ["init", *WITH_JOB, *OPERATE, "models", "evaluate", "pretrain"]
SPAN = {"backfill": ["--from", "2024-01-01", "--to", "2024-01-02"]}


def test_every_flow_has_its_command():
    """The commands are those of the flows, `init`, `schedule`, `serve`, `models`, `evaluate` and `pretrain`."""
    assert [one.name or one.callback.__name__ for one in app.registered_commands] == COMMANDS


def test_help_imports_nothing_heavy():
    """`--help` answers before torch, pandas, Prefect or MLflow are imported."""
    heavy = {"torch", "pandas", "numpy", "prefect", "mlflow", "great_expectations", "lightning", "duckdb"}
    code = (
        "import sys\nfrom flows.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stderr.strip() == "[]"
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", [*WITH_JOB, *OPERATE])
def test_a_missing_job_file_is_one_line_and_exit_code_1(command, tmp_path, capsys):
    """The error names the file and the mend; nothing is made."""
    with pytest.raises(SystemExit) as ended:
        main([command, str(tmp_path / "none.yaml"), *SPAN.get(command, [])])
    assert ended.value.code == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error:")]
    assert "none.yaml does not exist; `moirai init DATA` writes one" in line
    assert list(tmp_path.iterdir()) == []


def test_json_is_all_that_stands_on_stdout(job_file, capsys):
    """With `--json` the outcome is one JSON object; progress goes to stderr."""
    main_returns(["forecast", str(job_file), "--json"])
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["flow"] == "forecast"
    assert outcome["rows"]["forecasts"] == 12
    assert outcome["model"].startswith("tiny version ")


def test_a_failure_is_json_too_when_asked_for(tmp_path, capsys):
    """Machines get the reason as JSON, and exit code 1."""
    with pytest.raises(SystemExit) as ended:
        main(["init", str(tmp_path / "none.csv"), "--out", str(tmp_path / "job.yaml"), "--json"])
    assert ended.value.code == 1
    assert "none.csv" in json.loads(capsys.readouterr().out)["error"]


def test_tables_say_scores_rows_places_and_next_commands(job_file, capsys):
    """A person reads scores, rows written, where everything lies, and what to do next."""
    main_returns(["backtest", str(job_file)])
    shown = capsys.readouterr().out
    for part in ("MASE", "WQL", "seasonal_naive:24", "observations", "report", "warehouse", "Next", "forecast"):
        assert part in shown


def test_init_writes_a_job_that_loads_and_forecasts(job_file, tmp_path, capsys):
    """`moirai init` says how sure it is, and what it writes runs as it is."""
    made = tmp_path / "made.yaml"
    main_returns(["init", str(job_file.parent / "sales.csv"), "--out", str(made), "--target", "sales"])
    shown = capsys.readouterr().out
    assert "sure" in shown
    assert "how sure" in shown
    job = load_job(made)
    assert (job.columns.timestamp, job.columns.item_id, job.frequency, job.season) == ("hour", "shop", "h", 24)
    main_returns(["forecast", str(made), "--json"])
    assert json.loads(capsys.readouterr().out)["rows"]["forecasts"] == 2 * job.horizon


def test_models_are_listed_with_size_licence_and_place(capsys):
    """The bundled one is there; published ones say what they weigh and that they are not for commercial use."""
    main_returns(["models", "--json"])
    listed = {one["reference"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["starter"]["licence"] == "Apache-2.0"
    assert listed["starter"]["parameters"] == 4_546_848
    assert listed["Salesforce/moirai-2.0-R-small"] | {"folder": None} == {
        "reference": "Salesforce/moirai-2.0-R-small",
        "family": "Moirai 2.0",
        "parameters": 11_387_208,
        "megabytes": 45.5,
        "licence": "CC-BY-NC-4.0",
        "folder": None,
    }
    main_returns(["models"])
    shown = capsys.readouterr().out
    assert "not for commercial use" in shown
    assert "935.1 M" in shown


def test_init_does_not_replace_a_job_file_unasked(job_file, capsys):
    """An existing job file stays as it is unless --force is given."""
    before = job_file.read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["init", str(job_file.parent / "sales.csv"), "--out", str(job_file)])
    assert "--force" in capsys.readouterr().err
    assert job_file.read_text(encoding="utf-8") == before


def main_returns(arguments):
    """Run the command line in this process; it must end with exit code 0."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
