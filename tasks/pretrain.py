"""Pretrain: a network from nothing, as a YAML file says, into a checkpoint folder.

In: a `Pretraining`. Out: the checkpoint folder, that of the averaged weights where they were asked for, states to go on
from, and an MLflow run with settings and curves. Fails with `ConfigError` where settings cannot work together or the
state folder holds another run, with `DataError` where values, a loss or a gradient are not finite, with `TrackingError`
before anything is trained, with `TrainingError` where the processes of a run on several devices ended badly. A run that
is asked to end (`request_stop`, SIGTERM, Ctrl-C) saves, writes the weights as they are then, and says so.
"""

import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.errors import JobError, TrainingError
from tasks.limits import training
from tasks.pretraining import Pretraining
from tasks.pretraining.curves import tracked
from tasks.progress import progress

if TYPE_CHECKING:
    from moirai.training.pretrain_callbacks import LogPoint

REQUEST_FILE, ERRORS_FILE = "request.json", "stderr.txt"  # of a run in processes of its own, beside the states

logger = logging.getLogger(__name__)

OnLog = Callable[["LogPoint"], None]


class Pretrained(BaseModel):
    """What a pretraining, or a part of one, left behind."""

    model_config = ConfigDict(frozen=True)

    name: str
    message: str  # how it ended
    step: int
    steps: int
    stopped_by: str | None  # what asked for the end before the last step
    folders: list[str]  # of the checkpoint and, where there is one, of the averaged one
    state: str  # folder
    loss: float | None  # of the last point of the curve
    tokens_per_second: float | None
    run_id: str | None = None  # in MLflow

    @property
    def is_complete(self) -> bool:
        """Whether the last step was made."""
        return self.stopped_by is None


def pretrain_model(settings: Pretraining, *, on_log: OnLog | None = None) -> Pretrained:
    """Train, and write the checkpoint.

    Args:
        settings: of the whole pretraining.
        on_log: called with every point of the curve.
    """
    plain = settings.plain()
    parameters = "" if settings.run.devices == 1 else f" on {settings.run.devices} devices"
    logger.info("pretraining %s for %d steps%s", settings.name, settings.run.steps, parameters)

    def log(point: "LogPoint") -> None:
        logger.info(
            "step %d/%d: loss %.4f, %.0f tokens/s, rows %.0f %% full",
            point.step,
            settings.run.steps,
            point.loss,
            point.tokens_per_second,
            100 * point.fill,
        )
        if on_log is not None:
            on_log(point)

    found = _here(plain, log) if settings.run.devices == 1 else _apart(settings, plain, log)
    logger.info("%s", found["message"])
    return Pretrained(name=settings.name, steps=settings.run.steps, state=str(settings.state_path), **found)


def _here(plain: dict[str, Any], on_log: OnLog) -> dict[str, Any]:
    """Train in this process."""
    from moirai.training.plain_run import carry_out, make_run  # noqa: PLC0415 - torch waits until needed

    return carry_out(make_run(plain), on_log=on_log)


def _apart(settings: Pretraining, plain: dict[str, Any], on_log: OnLog) -> dict[str, Any]:
    """Train in processes of their own: Lightning starts those of the other devices by running the command again."""
    from moirai.training.pretrain_callbacks import LogPoint  # noqa: PLC0415 - see above

    folder = settings.state_path
    folder.mkdir(parents=True, exist_ok=True)
    request, errors = folder / REQUEST_FILE, folder / ERRORS_FILE
    request.write_text(json.dumps(plain, indent=2), encoding="utf-8")
    found: dict[str, Any] = {}
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "moirai.training.plain_run", str(request)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
        ) as child,
        _signals_passed_to(child),
    ):
        assert child.stdout is not None, "asked for above"
        for line in child.stdout:
            said = json.loads(line)
            if "message" in said:
                found = said
            else:
                on_log(LogPoint(**said))
        code = child.wait()
    if code or not found:
        last = (errors.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no word"])[-1]
        raise TrainingError(f"pretraining {settings.name} ended with code {code}: {last.removeprefix('error: ')}")
    return found


@contextmanager
def _signals_passed_to(child: "subprocess.Popen[str]") -> Iterator[None]:
    """Let a request to end reach the child, which saves first; an interrupt of the terminal reaches it by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {
        signal.SIGTERM: lambda *_: child.terminate(),
        signal.SIGINT: lambda *_: None,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if child.poll() is None:
            child.terminate()
            child.wait()


def request_stop(settings: Pretraining) -> Path:
    """Ask the run of this configuration to save and end; returns the file that asks.

    Raises:
        JobError: no run of it is under way.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only this needs it

    from moirai.training.pretrain import LOCK_FILE  # noqa: PLC0415 - see above
    from moirai.training.pretrain_callbacks import STOP_FILE  # noqa: PLC0415

    folder = settings.state_path
    try:
        if folder.is_dir():
            with FileLock(folder / LOCK_FILE, timeout=0):
                pass
    except Timeout:
        (folder / STOP_FILE).touch()
        return folder / STOP_FILE
    raise JobError(f"no pretraining of {settings.name} is under way in {folder}; there is nothing to stop")


def pretrain_tracked(settings: Pretraining, *, on_log: OnLog | None = None) -> Pretrained:
    """As `pretrain_model`, with settings and curves in MLflow."""
    with tracked(settings) as curves:

        def log(point: "LogPoint") -> None:
            curves.add(point)
            if on_log is not None:
                on_log(point)

        done = pretrain_model(settings, on_log=log)
        status = "FINISHED" if done.is_complete else "KILLED"
        curves.end(status, {"ended": done.message, "checkpoint": done.folders[0]})
    return done.model_copy(update={"run_id": curves.run_id})


@task(name="pretrain", task_run_name="pretrain {settings.name}", cache_policy=NO_CACHE)
def pretrain(settings: Pretraining) -> Pretrained:
    """Pretrain with a progress artifact."""
    with training(settings.run.accelerator), progress(settings, "pretraining") as report:
        return pretrain_tracked(settings, on_log=lambda point: report(point.step, settings.run.steps))
