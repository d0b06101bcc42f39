"""Promotion and rollback as flows: from a fine-tuning to what serves, and what is left to read of the decision."""

import json
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from moirai.errors import MoiraiError
from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import FIRST_TEST_STEP, HORIZON, WINDOWS, small_data, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")
LAST_TRAINED = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=FIRST_TEST_STEP - 1)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, mlflow_template, prefect_server):  # noqa: ARG001 - a flow needs the server
    """A folder with the small job and one fine-tuned version; tests work on copies of it."""
    from flows.finetune import finetune  # noqa: PLC0415 - Prefect reads its settings when it is imported

    folder = tmp_path_factory.mktemp("tuned")
    (folder / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    frame = small_data()
    frame["state"] = frame["shop"].map({"north": "cold", "south": "warm"})
    columns = {"timestamp": "hour", "item_id": "shop", "target": ["sales"], "checked": ["temp"], "static": ["state"]}
    file = write_job(folder, frame, columns=columns)
    change(file, "promotion", segments=["state"], horizon_ranges=[[1, 2], [3, 6]])
    change(file, "finetune", max_steps=40, learning_rate=3e-3)
    finetune(str(file))
    return file


@pytest.fixture
def job_file(tuned):
    """The job file, with registry and warehouse as they were after the fine-tuning when the test is over."""
    kept = {name: (tuned.parent / name).read_bytes() for name in ("mlflow.db", "warehouse.duckdb", "job.yaml")}
    yield tuned
    for name, content in kept.items():
        (tuned.parent / name).write_bytes(content)


def change(file, block=None, **settings):
    """Change settings of a job file, or those of a block."""
    job = yaml.safe_load(file.read_text(encoding="utf-8"))
    (job if block is None else job.setdefault(block, {})).update(settings)
    file.write_text(yaml.safe_dump(job), encoding="utf-8")


def registry(file):
    """A client of the job's registry, and its aliases."""
    client = MlflowClient(tracking_uri=f"sqlite:///{file.parent / 'mlflow.db'}")
    return client, {name: str(version) for name, version in client.get_registered_model("shops").aliases.items()}


def counts(file):
    """How many rows the warehouse has per table, and how many runs MLflow has."""
    job = load_job(file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        rows = warehouse.counts(job.name)
    client, _ = registry(file)
    return rows | {"tracked": len(client.search_runs([client.get_experiment_by_name("shops").experiment_id]))}


def run_promote(file, **settings):
    """The flow in this process."""
    from flows.promote import promote  # noqa: PLC0415 - see above

    return promote(str(file), **settings)


def test_a_fine_tuning_makes_a_challenger_that_says_where_it_comes_from(job_file):
    """Settings, data, code, base, licence, and the last time stamp that its training may have seen."""
    client, aliases = registry(job_file)
    assert aliases == {"challenger": "1"}
    tags, job = client.get_model_version("shops", "1").tags, load_job(job_file)
    assert pd.Timestamp(tags["trained_until"]) == LAST_TRAINED
    assert tags["config_hash"] == job.config_hash()
    assert json.loads(tags["settings"])["horizon"] == HORIZON
    assert {"panel_digest", "package_version", "licence", "settings_hash", "weights_digest"} <= set(tags)
    assert (tags["base_model"], tags["root_model"]) == ("tiny", "tiny")


def test_a_new_challenger_is_announced(job_file):
    """With job file, version and moment, as whoever promotes needs them."""
    asked = {"filter": {"event": {"name": ["moirai.challenger.registered"]}}}
    deadline = time.monotonic() + 60
    while True:  # events reach the server behind the run
        with get_client(sync_client=True) as prefect:
            found = prefect.request("POST", "/events/filter", json=asked).json()["events"]
        mine = [one for one in found if one["payload"]["job_file"] == str(job_file)]
        if mine or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    (event,) = [one for one in mine if one["payload"]["version"] == "1"]
    assert event["payload"] == {"job_file": str(job_file), "version": "1", "as_of": None}
    assert event["resource"] == {"prefect.resource.id": "moirai.job.shops", "prefect.resource.name": "shops"}


def test_a_dry_run_judges_and_writes_nothing(job_file):
    """The decision is the one of a real run; registry, runs and warehouse stay as they are."""
    before = counts(job_file)
    tried = run_promote(job_file, dry_run=True)
    assert counts(job_file) == before
    assert registry(job_file)[1] == {"challenger": "1"}
    assert (tried.outcome, tried.champion, tried.dry_run) == ("promoted", None, True)
    done = run_promote(job_file)
    assert done.decision == tried.decision
    assert (done.champion, done.dry_run) == ("1", False)


def test_a_decision_can_be_read_wherever_one_looks(job_file, capsys):
    """Registry, MLflow run, Prefect, page, JSON and terminal tell the same."""
    from flows.promote import show  # noqa: PLC0415 - see above

    done = run_promote(job_file)
    assert done.outcome == "promoted"
    assert done.decision.evidence.windows == 2 * WINDOWS
    client, aliases = registry(job_file)
    assert aliases == {"challenger": "1", "champion": "1"}
    version = client.get_model_version("shops", "1")
    assert version.tags["decision"] == "promoted"
    assert float(version.tags["gain"]) == pytest.approx(done.decision.standing("zero-shot base").gain, rel=1e-5)
    assert "becomes champion" in version.description
    run = client.get_run(version.tags["promotion_run"])
    assert (run.data.tags["stage"], run.data.tags["decision"]) == ("promotion", "promoted")
    assert run.data.metrics["challenger/wql"] == done.decision.standing("challenger").wql
    kept = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"decision.html", "decision.md", "decision.json", "tables", "figures"} <= kept
    told = json.loads(Path(done.places["as JSON"]).read_text(encoding="utf-8"))
    assert told["headline"] == done.headline
    page = Path(done.places["decision"]).read_text(encoding="utf-8")
    keyed = ArtifactFilter(key=ArtifactFilterKey(any_=["shops-promote-decision"]))
    with get_client(sync_client=True) as prefect:
        text = prefect.read_artifacts(artifact_filter=keyed, sort=ArtifactSort.CREATED_DESC)[0].data
    show(done)
    shown = capsys.readouterr().out
    for part in ("Version 1 becomes champion", "zero-shot base", "seasonal naive", "steps 1 to 2", "cold"):
        assert part in page
        assert part in text
        assert part in shown


def test_promoting_the_champion_changes_nothing_and_says_so(job_file):
    """The second promotion is no run of a decision; only the attempt is on record."""
    run_promote(job_file)
    before = counts(job_file)
    again = run_promote(job_file)
    assert (again.outcome, again.champion) == ("unchanged", "1")
    assert "the champion already" in again.headline
    assert counts(job_file) == before | {"runs": before["runs"] + 1}


def test_a_job_that_changed_since_the_fine_tuning_is_refused_by_name(job_file):
    """A setting the weights depend on is named with both values; another one lets the promotion go on."""
    change(job_file, horizon=4, promotion={"max_loss": 10, "coverage": None})
    done = run_promote(job_file)
    assert (done.outcome, done.champion) == ("kept", None)
    assert "horizon (was 6, is 4)" in done.reason
    assert done.decision.evidence is None, "nothing was scored"
    client, _ = registry(job_file)
    assert client.get_model_version("shops", "1").tags["decision"] == "kept"
    assert Path(done.places["decision"]).is_file()
    change(job_file, horizon=HORIZON, quantiles=[0.1, 0.5, 0.9])
    assert run_promote(job_file).outcome == "promoted"


def test_windows_that_the_training_saw_are_left_out(job_file):
    """With more windows than at the fine-tuning the older ones lie in its span: counted here, flagged in a backtest."""
    from flows.backtest import backtest  # noqa: PLC0415 - see above

    change(job_file, "backtest", windows=WINDOWS + 3)
    done = run_promote(job_file, dry_run=True)
    assert (done.decision.evidence.windows, done.decision.evidence.left_out) == (2 * WINDOWS, 2 * 3)
    assert done.decision.evidence.first > LAST_TRAINED
    tested = backtest(str(job_file), models=["models:/shops/1", "tiny"])
    (found,) = [one for one in tested.findings if "may have seen" in one]
    assert f"may have seen 6 of {2 * (WINDOWS + 3)} windows" in found
    report = Path(tested.places["report"]).read_text(encoding="utf-8")
    assert "seen in training" in report
    assert str(LAST_TRAINED) in report
    keyed = ArtifactFilter(key=ArtifactFilterKey(any_=["shops-backtest-report"]))
    with get_client(sync_client=True) as prefect:
        assert (
            "seen in training" in prefect.read_artifacts(artifact_filter=keyed, sort=ArtifactSort.CREATED_DESC)[0].data
        )


def test_without_a_clean_window_the_champion_stays(job_file):
    """A version trained to the end of the data has seen every window; the reason says until when."""
    client, _ = registry(job_file)
    client.set_model_version_tag("shops", "1", "trained_until", "2030-01-01T00:00:00")
    done = run_promote(job_file)
    assert (done.outcome, done.champion) == ("kept", None)
    assert f"0 of {2 * WINDOWS} windows are ones that none of the models has seen" in done.reason
    assert "2030-01-01" in done.reason
    assert "Nothing was scored" in Path(done.places["decision"]).read_text(encoding="utf-8")


def test_weights_that_forbid_commercial_use_stay_out_of_service(job_file):
    """Unless the job says that there is none."""
    client, _ = registry(job_file)
    client.set_model_version_tag("shops", "1", "licence", "CC-BY-NC-4.0")
    done = run_promote(job_file)
    assert done.outcome == "kept"
    assert "CC-BY-NC-4.0 (version 1)" in done.reason
    change(job_file, non_commercial=True)
    assert run_promote(job_file).outcome == "promoted"


def test_a_forecast_of_a_deleted_champion_is_one_clear_error(job_file):
    """It names the mend, and a promotion of the next challenger says what it was judged against instead."""
    from flows.finetune import finetune  # noqa: PLC0415 - see above
    from flows.forecast import forecast  # noqa: PLC0415 - see above

    run_promote(job_file)
    change(job_file, "finetune", seed=1)
    finetune(str(job_file))
    client, aliases = registry(job_file)
    assert aliases == {"challenger": "2", "champion": "1"}
    client.delete_model_version("shops", "1")
    change(job_file, model="models:/shops@champion")
    with pytest.raises(
        MoiraiError, match=r"the champion, version 1, was deleted.*`moirai promote` judges the challenger"
    ):
        forecast(str(job_file))
    done = run_promote(job_file, dry_run=True)
    assert done.decision.notes == [
        "The champion, version 1, was deleted; the challenger is judged against the zero-shot base."
    ]
    assert done.decision.evidence.against == "zero-shot base"


def test_a_rollback_brings_back_the_version_before(job_file, capsys):
    """The next forecast carries its number; a second rollback undoes the first; without `previous` it is an error."""
    from flows.finetune import finetune  # noqa: PLC0415 - see above
    from flows.forecast import forecast  # noqa: PLC0415 - see above
    from flows.promote import rollback, show  # noqa: PLC0415 - see above

    run_promote(job_file)
    with pytest.raises(MoiraiError, match="has no `previous` to go back to: its champion is version 1"):
        rollback(str(job_file))
    change(job_file, "finetune", seed=1)
    change(job_file, "promotion", min_gain=-0.9, max_loss=10)
    change(job_file, model="models:/shops@champion")
    finetune(str(job_file))
    done = run_promote(job_file)
    assert (done.outcome, done.champion, done.decision.champion) == ("promoted", "2", "1")
    assert [one.part for one in done.decision.evidence.standings] == [
        "challenger",
        "champion",
        "zero-shot base",
        "seasonal naive",
    ]
    served = [forecast(str(job_file)).model]
    for _ in range(2):
        back = rollback(str(job_file), reason="too low on Sundays")
        served.append(forecast(str(job_file)).model)
        assert back.reason == "too low on Sundays"
    assert served == [f"shops version {number}" for number in ("2", "1", "2")]
    show(back)
    assert "Version 2 is champion again" in capsys.readouterr().out


def test_the_pipeline_judges_by_the_same_rule(job_file):
    """A new version that gains too little stays a challenger, and the champion forecasts; the decision is on record."""
    from flows.pipeline import pipeline  # noqa: PLC0415 - see above

    run_promote(job_file)
    change(job_file, "finetune", seed=1)
    change(job_file, "promotion", min_gain=0.9)
    summary = pipeline(str(job_file))
    assert summary.model == "shops version 1"
    assert summary.decision.startswith("Version 2 is not promoted; version 1 stays champion: its WQL is")
    client, aliases = registry(job_file)
    assert aliases == {"challenger": "2", "champion": "1"}
    assert {"shops (1)", "shops (2)", "tiny", "seasonal_naive:24"} <= set(summary.scores)
    tags = client.get_model_version("shops", "2").tags
    assert (tags["decision"], tags["judged_against"]) == ("kept", "version 1")
    assert client.get_run(tags["promotion_run"]).data.tags["flow"] == "pipeline"
    keyed = ArtifactFilter(key=ArtifactFilterKey(any_=["shops-pipeline-decision"]))
    with get_client(sync_client=True) as prefect:
        assert (
            "Version 2 is not promoted"
            in prefect.read_artifacts(artifact_filter=keyed, sort=ArtifactSort.CREATED_DESC)[0].data
        )


def test_series_of_zeros_keep_the_champion(tmp_path, mlflow_template):
    """A loss of nothing is no number: there is nothing to compare, and that is said."""
    from flows.finetune import finetune  # noqa: PLC0415 - see above

    file = write_job(tmp_path, small_data().assign(sales=0.0))
    shutil.copyfile(mlflow_template, tmp_path / "mlflow.db")
    finetune(str(file))
    done = run_promote(file)
    assert (done.outcome, done.champion) == ("kept", None)
    assert "there is no WQL to compare" in done.reason
    assert Path(done.places["decision"]).is_file()


def test_without_a_challenger_the_error_names_the_mend(job_file):
    """Before any data are read."""
    client, _ = registry(job_file)
    client.delete_registered_model_alias("shops", "challenger")
    with pytest.raises(MoiraiError, match=r"there is no challenger.*`moirai finetune` makes one"):
        run_promote(job_file)
