"""Watch over the fine-tuning process: start it, pass on what it tells, end it with whoever waits for it.

In: a folder that holds a request. Out: an `Outcome`; the checkpoint lies in the folder's subfolder `made`. Fails as the
process did: an error that a person can mend is raised again, with its type and text; `TrainingError` where the process
was killed, which says that another run goes on from where it was; `RuntimeError` with the traceback for a defect. When
the caller is interrupted (Ctrl-C, SIGTERM, a cancelled run) the process is ended before the interruption goes on, and
when the caller is killed it ends by itself.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import moirai.errors
import tasks.errors
from moirai.errors import MoiraiError
from tasks.errors import TrainingError
from tasks.training.child import FAILURE_FILE, OUTCOME_FILE, PACKAGES
from tasks.training.work import LossPoint, OnPoint, Outcome

ERRORS_FILE = "stderr.txt"
PATIENCE = 20.0  # seconds that a process gets to end by itself
NAMED_ERRORS = {  # what the process may raise, by name
    name: kind
    for module in (moirai.errors, tasks.errors)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, MoiraiError)
}

logger = logging.getLogger(__name__)


def fine_tune_apart(folder: Path, *, on_point: OnPoint | None) -> Outcome:
    """Fine-tune in a process of its own.

    Args:
        folder: holds the request; the process leaves its results there.
        on_point: called after every validation with the point of the curve and the number of steps in all.

    Raises:
        MoiraiError: what the process raised, see `tasks/training/work.py`.
        TrainingError: the process was killed.
        RuntimeError: the process failed in another way.
    """
    for left in (OUTCOME_FILE, FAILURE_FILE):
        (folder / left).unlink(missing_ok=True)
    with (folder / ERRORS_FILE).open("wb") as errors:
        child = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "tasks.training.child", str(folder)],
            stdin=subprocess.PIPE,  # stays open as long as this process lives
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            env=_environment(),
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the other
        )
    listener = _Listener(on_point)
    try:
        assert child.stdout is not None, "asked for above"
        for line in child.stdout:
            listener.hear(json.loads(line))
        child.wait()
    finally:
        _end(child)
    if (folder / FAILURE_FILE).is_file():
        raise _error(**json.loads((folder / FAILURE_FILE).read_text(encoding="utf-8")))
    if listener.failure is not None:
        raise listener.failure
    if child.returncode != 0 or not (folder / OUTCOME_FILE).is_file():
        raise _broken_off(folder, child.returncode, listener.step)
    return Outcome.model_validate_json((folder / OUTCOME_FILE).read_text(encoding="utf-8"))


class _Listener:
    """Turns what the process tells into log lines, progress and, at its end, an error."""

    def __init__(self, on_point: OnPoint | None) -> None:
        self._on_point = on_point
        self.step = 0  # last one it told
        self.failure: Exception | None = None

    def hear(self, event: dict[str, Any]) -> None:
        """One event."""
        match event.pop("kind"):
            case "log":
                _log(**event)
            case "point":
                self.step = event["step"]
                if self._on_point is not None:
                    total = event.pop("of")
                    self._on_point(LossPoint(**event), total)
            case "failed":
                self.failure = _error(**event)


def _log(name: str, level: int, text: str) -> None:
    """Log a record as if it had been made here; those of other packages in our name, so that they are seen."""
    if name.partition(".")[0] in PACKAGES:
        logging.getLogger(name).log(level, "%s", text)
    else:
        logger.log(level, "%s: %s", name, text)


def _error(error: str, text: str, trace: str) -> Exception:
    if error in NAMED_ERRORS:
        return NAMED_ERRORS[error](text)
    return RuntimeError(f"fine-tuning failed in its process with {error}: {text}\n{trace}")  # a defect of ours


def _broken_off(folder: Path, code: int, step: int) -> Exception:
    """What to say of a process that ended without a word."""
    again = f"after step {step}; the same command goes on from the last state it kept"
    if code == -signal.SIGKILL:
        return TrainingError(
            f"the process of fine-tuning was killed (SIGKILL, by the system where memory ran out) {again}; should it "
            "be killed again, lower finetune.batch_size or finetune.context"
        )
    if code < 0:
        return TrainingError(f"the process of fine-tuning was ended by {signal.Signals(-code).name} {again}")
    said = (folder / ERRORS_FILE).read_text(encoding="utf-8", errors="replace").strip()
    return RuntimeError(f"the process of fine-tuning ended with code {code} after step {step}:\n{said}")


def _environment() -> dict[str, str]:
    """That of this process, and the folder of our packages where they are not installed."""
    root = Path(tasks.errors.__file__).parents[1]
    if root.name == "site-packages":
        return dict(os.environ)
    known = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [known, str(root)]))}


def _end(child: "subprocess.Popen[str]") -> None:
    """End a process that still runs: asked first, then made to, with all that it has started."""
    try:
        if child.poll() is None:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for pipe in (child.stdin, child.stdout):  # the end of its input ends helpers of a process that is gone
            if pipe is not None:
                pipe.close()
