"""Two pipelines of one job at once, as two schedulers would start them: real processes that share only files."""

import os
import subprocess
import sys

import pytest
import yaml

from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

SALES = "hour,sales\n" + "".join(
    f"2024-01-{1 + step // 24:02d} {step % 24:02d}:00:00,{10 + step % 24}\n" for step in range(300)
)


@pytest.mark.integration
def test_both_end_well_and_leave_one_version_and_one_set_of_rows(tmp_path):
    """From nothing: no database yet, no checkpoint yet; both make them, and every row is there once."""
    (tmp_path / "sales.csv").write_text(SALES, encoding="utf-8")
    settings = {
        "name": "shop",
        "source": {"path": "sales.csv"},
        "columns": {"timestamp": "hour", "target": ["sales"]},
        "frequency": "h",
        "horizon": 6,
        "context": 64,
        "backtest": {"windows": 2},
        "finetune": {"max_steps": 4, "batch_size": 4, "validate_every": 2, "validation_windows": 1},
    }
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    runs = [
        subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-c", "from flows.cli import main; main()", "pipeline", str(file), "--json"],
            env=os.environ | {"PREFECT_HOME": str(tmp_path / f"prefect-{number}")},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    ended = [(run.communicate(timeout=240), run.returncode) for run in runs]
    assert [code for _, code in ended] == [0, 0], "\n".join(errors[-3000:] for (_, errors), code in ended if code)
    with open_warehouse(warehouse_url(load_job(file)), read_only=True) as warehouse:
        counts, attempts = warehouse.counts("shop"), warehouse.read_runs("shop")
    assert (counts["observations"], counts["forecasts"], counts["runs"]) == (300, 6, 2)
    assert attempts["status"].tolist() == ["completed", "completed"]
    assert attempts["model_version"].nunique() == 1
