"""`moirai finetune`: one command from a job file to a registered version, and what it says of it."""

import json
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from flows.cli import main
from moirai.training.finetune_settings import default_rate

RATE = default_rate("lora", 64)  # the width of the base that `job_file` names
pytestmark = pytest.mark.usefixtures("prefect_server")
TABLE = ["zero-shot", "fine-tuned", "seasonal_naive:24"]


def change(job_file, **settings):
    """Change the block `finetune` of a job file."""
    job = yaml.safe_load(job_file.read_text(encoding="utf-8"))
    job["finetune"] |= settings
    job_file.write_text(yaml.safe_dump(job), encoding="utf-8")


def run(job_file, *options):
    """Run the command in this process; returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["finetune", str(job_file), *options])
    return ended.value.code


def test_before_and_after_are_told_wherever_one_looks(job_file, capsys):
    """Console, JSON, Prefect, MLflow and the report have the same scores, and say how it was trained."""
    change(job_file, method="lora", learning_rate=None, batch_size=None)
    assert run(job_file) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for part in (*TABLE, "WQL", "MASE", "method lora", f"learning rate {RATE} (derived)", "of the weights"):
        assert part in shown, shown
    assert run(job_file, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    scores = {row["model"]: row for row in summary["held_out"]}
    assert list(scores) == TABLE
    assert summary["validation_loss"][1] <= summary["validation_loss"][0]

    keyed = ArtifactFilter(key=ArtifactFilterKey(any_=["shops-finetune-held-out"]))
    with get_client(sync_client=True) as client:
        table = json.loads(client.read_artifacts(artifact_filter=keyed, sort=ArtifactSort.CREATED_DESC)[0].data)
    assert {row["model"]: row["wql"] for row in table} == {name: row["wql"] for name, row in scores.items()}

    client = MlflowClient(tracking_uri=f"sqlite:///{job_file.parent / 'mlflow.db'}")
    (version,) = client.search_model_versions("name='shops'")
    tracked = client.get_run(version.run_id).data
    for model, row in zip(("zero_shot", "fine_tuned", "seasonal_naive:24"), scores.values(), strict=True):
        assert tracked.metrics[f"held_out/{model}/wql"] == row["wql"]
        assert tracked.metrics[f"held_out/{model}/mase"] == row["mase"]
    assert tracked.params["finetune.method"] == "lora"
    assert tracked.params["finetune.learning_rate"] == str(RATE)
    assert set(tracked.params["finetune.derived"].split(", ")) == {
        "lora_rank",
        "patch_size",
        "batch_size",
        "learning_rate",
        "context",
    }
    assert "zero-shot" in tracked.tags["mlflow.note.content"]

    report = Path(summary["places"]["report"]).read_text(encoding="utf-8")
    for part in ("Before and after", *TABLE, f"{scores['fine-tuned']['wql']:.4f}", f"{RATE} (derived)"):
        assert part in report


def test_what_training_refuses_is_one_line_and_exit_code_1(job_file, capsys):
    """The error arises in the process of the training and is told as if there were none; the run is on record."""
    change(job_file, validation_windows=60)
    assert run(job_file) == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error:")]
    assert "fewer finetune.validation_windows" in line
