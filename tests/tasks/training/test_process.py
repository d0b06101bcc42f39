"""Fine-tuning in a process of its own: what it tells, how it fails, how it is killed and goes on."""

import logging
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from moirai.errors import CheckpointError, MoiraiError
from moirai.hub import resolve
from tasks.errors import TrainingError
from tasks.train import train_model
from tasks.training.process import fine_tune_apart

SECONDS = 60  # for a process to end
WAITING = """
import sys
from tasks.job import load_job
from tasks.model_reference import resolve_model
from tasks.panel import PanelRef
from tasks.train import train_model
from tasks.training.process import fine_tune_apart

job = load_job(sys.argv[1])
panel = PanelRef.model_validate_json(sys.argv[2])
train_model(job, panel, resolve_model(job, sys.argv[3]))
"""


def wait_until(asked, what):
    """Wait until something is so."""
    deadline = time.monotonic() + SECONDS
    while not asked():
        assert time.monotonic() < deadline, f"{what}: not within {SECONDS} s"
        time.sleep(0.1)


def test_a_killed_training_goes_on_and_equals_one_that_was_not(  # noqa: PLR0917 - fixtures
    long_job, small_job, clean_panel, tiny_model, processes, caplog
):
    """Killed with -9 after six of twelve steps: one clear error, then the same weights and the same curve."""
    points, kill = [], iter([True])

    def watch(point, total):
        points.append((point.step, total))
        if point.step >= 6 and next(kill, False):
            (process,) = processes(long_job.workspace_path)
            os.kill(process, signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"killed \(SIGKILL.*after step 6; the same command goes on"):
        train_model(long_job, clean_panel, tiny_model, on_step=watch)
    (state,) = (long_job.workspace_path / "checkpoints").glob("*.state")
    assert points == [(0, 12), (2, 12), (4, 12), (6, 12)]
    caplog.set_level(logging.INFO)
    resumed = train_model(long_job, clean_panel, tiny_model, on_step=watch)
    assert points[4:] == [(8, 12), (10, 12), (12, 12)], "what was done is not done again"
    assert any(one.name.startswith("moirai.training") and "going on" in one.message for one in caplog.records)
    assert any(one.message.startswith("step 8/12") for one in caplog.records), "its log lines arrive"
    assert not state.exists()

    elsewhere = small_job(finetune=long_job.finetune.model_dump(), workspace="elsewhere")
    whole = train_model(elsewhere, clean_panel, tiny_model, apart=False)
    assert whole.training_key == resumed.training_key
    assert resolve(whole.folder).digest == resolve(resumed.folder).digest
    pd.testing.assert_frame_equal(pd.read_parquet(whole.curve_path), pd.read_parquet(resumed.curve_path), rtol=1e-6)
    assert whole.held_out["fine_tuned"] == pytest.approx(resumed.held_out["fine_tuned"])


def test_what_the_process_refuses_is_the_same_error_here(long_job, clean_panel, tiny_model):
    """An error that a person can mend keeps its type and its one line, and leaves no state behind."""
    weights = tiny_model.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    told = []
    for apart in (True, False):
        with pytest.raises(CheckpointError) as refused:
            train_model(long_job, clean_panel, tiny_model, apart=apart)
        told.append(str(refused.value))
    assert told[0] == told[1]
    assert "model.safetensors is damaged" in told[0]
    assert "\n" not in told[0]
    assert not list((long_job.workspace_path / "checkpoints").glob("*.state"))


def test_a_defect_comes_with_its_traceback(tmp_path):
    """What no one can mend is no error of a person: what was raised in the process, and where, is told."""
    with pytest.raises(RuntimeError, match=r"FileNotFoundError: .*request\.json") as broken:
        fine_tune_apart(tmp_path, on_point=None)
    assert "in read_request" in str(broken.value)
    assert not isinstance(broken.value, MoiraiError)


def test_an_interrupted_caller_takes_the_process_with_it(long_job, clean_panel, tiny_model, processes):
    """Ctrl-C, or Prefect's cancellation, ends the training before it goes on its way."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_model(long_job, clean_panel, tiny_model, on_step=interrupt)
    assert processes(long_job.workspace_path) == []


def test_a_killed_caller_leaves_no_process_behind(long_job, clean_panel, tiny_model, processes, tmp_path):
    """Where the caller is killed with -9 the training ends by itself."""
    settings = long_job.model_copy(
        update={"finetune": long_job.finetune.model_copy(update={"max_steps": 100_000, "validate_every": 1_000})}
    )
    (tmp_path / "job.yaml").write_text(settings.model_dump_json(), encoding="utf-8")  # JSON is YAML
    arguments = [str(tmp_path / "job.yaml"), clean_panel.model_dump_json(), str(tiny_model.folder)]
    caller = subprocess.Popen([sys.executable, "-c", WAITING, *arguments])  # noqa: S603 - our own command
    try:
        wait_until(lambda: processes(long_job.workspace_path), "the start of the training")
    finally:
        caller.kill()
        caller.wait()
    wait_until(lambda: not processes(long_job.workspace_path), "the end of the training")


def test_several_devices_train_one_model(small_job, clean_panel, tiny_model, processes):
    """Two processes take batches of their own, also where one could take all; the first alone reports and writes."""
    finetune = {"max_steps": 2, "batch_size": 4, "validate_every": 1, "validation_windows": 2}
    job = small_job(finetune=finetune | {"accelerator": "cpu", "devices": 2})
    points = []
    trained = train_model(job, clean_panel, tiny_model, on_step=lambda point, _: points.append(point.step))
    assert points == [0, 1, 2]
    assert trained.best_step > 0
    one = train_model(small_job(finetune=finetune | {"accelerator": "cpu"}), clean_panel, tiny_model, apart=False)
    assert trained.zero_shot_loss == pytest.approx(one.zero_shot_loss), "each validated its share"
    assert resolve(trained.folder).digest != resolve(one.folder).digest, "a step sees twice as many windows"
    wait_until(lambda: not processes(job.workspace_path), "the end of the helpers")
