"""Pretraining as a step: the checkpoint, the run in MLflow, requests to stop, several processes, failures."""

import json
import os
import shutil
import signal

import pytest
import torch
from filelock import FileLock
from mlflow import MlflowClient

from moirai.errors import ConfigError, DataError
from tasks.errors import JobError, TrackingError, TrainingError
from tasks.pretrain import pretrain_model, pretrain_tracked, request_stop
from tasks.pretraining import Pretraining
from tasks.pretraining.curves import RUN_ID_FILE


@pytest.fixture
def settings(tmp_path, tracking_uri):
    """Make the settings of a tiny run in the test's folder; named ones replace those of `run`."""

    def make(uri=tracking_uri, **changes):
        run = {"steps": 6, "save_every": 2, "log_every": 1, "accelerator": "cpu"} | changes
        made = Pretraining.model_validate(
            {
                "name": "small",
                "architecture": {"family": "moirai2", "d_model": 64, "num_layers": 1, "max_seq_len": 24},
                "data": {"rows": 2, "sources": [{"kind": "synthetic", "lengths": [64, 128]}]},
                "optimizer": {"warmup": 1, "ema_decay": 0.9},
                "storage": "fp32",
                "run": run,
                "tracking": uri,
            }
        )
        made._folder = tmp_path
        return made

    return make


@pytest.fixture
def client(tracking_uri):
    """A client of the test's MLflow."""
    return MlflowClient(tracking_uri=tracking_uri)


def stop_at(step, number):
    """A listener that sends a signal at a step."""
    return lambda point: os.kill(os.getpid(), number) if point.step == step else None


def test_a_checkpoint_and_its_average_are_written(settings):
    """Both lie where the settings say, load, and carry the licence."""
    from moirai.hub import load_module, resolve  # noqa: PLC0415 - the import hook of the suite comes first

    done = pretrain_model(settings())
    assert (done.step, done.steps, done.message, done.is_complete) == (6, 6, "pretrained for 6 steps", True)
    folder = settings().out_path
    assert done.folders == [str(folder), f"{folder}-ema"]
    for one in done.folders:
        checkpoint = resolve(one)
        assert checkpoint.licence == "Apache-2.0"
        assert load_module(checkpoint).config.max_seq_len == 24
    assert done.loss > 0
    assert done.tokens_per_second > 0


def test_settings_and_curves_are_tracked(settings, client):
    """The run in MLflow holds every setting, the curves, and how it ended."""
    done = pretrain_tracked(settings())
    run = client.get_run(done.run_id)
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "small"
    assert run.data.params["architecture.family"] == "moirai2"
    assert run.data.params["run.steps"] == "6"
    assert run.data.params["optimizer.ema_decay"] == "0.9"
    assert json.loads(run.data.params["data.sources"])[0]["lengths"] == [64, 128]
    assert run.data.tags["ended"] == "pretrained for 6 steps"
    assert run.data.tags["checkpoint"] == done.folders[0]
    for name in ("loss", "learning_rate", "tokens_per_second", "fill", "gradient_norm"):
        assert [point.step for point in client.get_metric_history(done.run_id, name)] == [1, 2, 3, 4, 5, 6]
    assert client.get_metric_history(done.run_id, "loss")[-1].value == done.loss


def test_a_run_that_goes_on_goes_on_in_mlflow(settings, client):
    """What was stopped is KILLED there, and the same run is FINISHED by the attempt that ends it."""
    part = pretrain_tracked(settings(), on_log=stop_at(3, signal.SIGTERM))
    assert (part.step, part.stopped_by, part.is_complete) == (3, "SIGTERM", False)
    assert client.get_run(part.run_id).info.status == "KILLED"
    whole = pretrain_tracked(settings())
    assert whole.run_id == part.run_id
    assert client.get_run(whole.run_id).info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(whole.run_id, "loss")] == [1, 2, 3, 4, 5, 6]


def test_a_run_unknown_to_the_store_begins_another(settings, client):
    """Where the noted run is gone, or was in another store, a new one is made."""
    first = pretrain_tracked(settings(), on_log=stop_at(2, signal.SIGINT))
    mark = settings().state_path / RUN_ID_FILE
    noted = json.loads(mark.read_text())
    for wrong in ({"run_id": "0" * 32}, {"tracking": "sqlite:///other.db"}):
        mark.write_text(json.dumps(noted | wrong))
        other = pretrain_tracked(settings())
        assert client.get_run(other.run_id).info.status == "FINISHED"
        assert other.run_id != first.run_id


def test_a_failed_run_is_marked(settings, client):
    """An error ends the run as FAILED, with the reason."""

    def fail(point):
        raise DataError(f"a value of step {point.step} is wrong")

    with pytest.raises(DataError):
        pretrain_tracked(settings(), on_log=fail)
    mark = json.loads((settings().state_path / RUN_ID_FILE).read_text())
    run = client.get_run(mark["run_id"])
    assert (run.info.status, run.data.tags["ended"]) == ("FAILED", "a value of step 1 is wrong")


def test_a_store_that_cannot_be_used_is_told_before_training(settings, tmp_path):
    """Nothing is trained where MLflow would lose it from the start."""
    (tmp_path / "text.db").write_text("no database, but a text that is long enough to be one " * 40)
    with pytest.raises(TrackingError, match=r"text\.db cannot be used"):
        pretrain_tracked(settings(uri=f"sqlite:///{tmp_path / 'text.db'}"))
    assert not settings().state_path.exists()


def test_a_store_that_fails_later_does_not_end_the_run(settings, tmp_path, caplog, monkeypatch):
    """Training ends well, a warning says what was not sent, and the points stay in the run's folder."""
    monkeypatch.setattr("tasks.pretraining.curves.SEND_EVERY", 0.0)

    def spoil(point):
        if point.step == 2:
            (tmp_path / "mlflow.db").write_text("gone " * 100_000)

    done = pretrain_tracked(settings(), on_log=spoil)
    assert done.is_complete
    assert "the curves are sent again later" in caplog.text
    assert len((settings().state_path / "log.jsonl").read_text().splitlines()) == 6


def test_stop_is_asked_of_a_run_under_way_only(settings):
    """The file is laid where a run holds the folder; otherwise the message says that none does."""
    with pytest.raises(JobError, match=r"no pretraining of small is under way in .*; there is nothing to stop"):
        request_stop(settings())
    folder = settings().state_path
    folder.mkdir(parents=True)
    with FileLock(folder / "run.lock"):
        asked = request_stop(settings())
    assert asked.exists()
    assert asked.parent == folder
    with pytest.raises(JobError, match="nothing to stop"):
        request_stop(settings())


def test_another_run_in_the_folder_is_refused(settings):
    """Changed settings do not go on from the state of others."""
    pretrain_model(settings())
    with pytest.raises(ConfigError, match=r"holds another run: its settings.seed is 0, this one's 1"):
        pretrain_model(settings(seed=1))


def test_two_devices_train_as_one_that_accumulates(settings):
    """Each of two processes takes every second batch, their gradients are averaged; points and outcome arrive here."""
    from moirai.hub import load_module, resolve  # noqa: PLC0415 - see above

    steps = []
    done = pretrain_model(settings(devices=2, steps=2), on_log=lambda point: steps.append(point.step))
    assert steps == [1, 2]
    assert (done.step, done.is_complete) == (2, True)
    both = load_module(resolve(done.folders[0])).state_dict()
    with pytest.raises(
        TrainingError, match=r"pretraining small ended with code 1: .*another run: its settings.seed is 0"
    ):
        pretrain_model(settings(devices=2, steps=2, seed=4))
    shutil.rmtree(settings().state_path)
    alone = pretrain_model(settings(accumulate=2, steps=2))
    assert alone.loss == pytest.approx(done.loss, rel=1e-4)
    for name, tensor in load_module(resolve(alone.folders[0])).state_dict().items():
        torch.testing.assert_close(both[name], tensor, rtol=1e-3, atol=1e-4)
