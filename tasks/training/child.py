"""`python -m tasks.training.child FOLDER`: the process in which fine-tuning runs.

In: a folder that holds a request; standard input, whose end says that the parent is gone. Out: in the folder's
subfolder `made` the checkpoint, in `outcome.json` what was found; on standard output one JSON object a line: points of
the curve, log records, and, last, an error. With several devices the processes beside the first one say nothing, and
leave an error that a person can mend in `failure.json`. Everything that others print goes to standard error. Exit code
1 after an error that was told.
"""

import json
import logging
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

from moirai.errors import MoiraiError
from tasks.training.work import LossPoint, fulfil, is_first_process

OUTCOME_FILE, FAILURE_FILE = "outcome.json", "failure.json"
PACKAGES = ("tasks", "moirai")


class Line:
    """The line to the parent."""

    def __init__(self, to: IO[str]) -> None:
        self._to, self._lock = to, threading.Lock()

    def tell(self, kind: str, **what: Any) -> None:
        """Send one event; a parent that is gone hears nothing, and this process is about to end."""
        with self._lock:
            self._to.write(json.dumps({"kind": kind, **what}) + "\n")
            self._to.flush()


class _ToParent(logging.Handler):
    """Sends log records to the parent, where they take the way of its own."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        self._line.tell("log", name=record.name, level=record.levelno, text=record.getMessage())


def main(folder: Path) -> int:
    """Fine-tune what the folder asks for; returns the exit code."""
    line = _claim_output()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if is_first_process():
        _log_to(line)

    def report(point: LossPoint, total: int) -> None:
        line.tell("point", of=total, **point._asdict())

    try:
        outcome = fulfil(folder, on_point=report if is_first_process() else None)
        if outcome is not None:
            (folder / OUTCOME_FILE).write_text(outcome.model_dump_json(indent=2), encoding="utf-8")
    except Exception as error:  # the parent raises it again
        trace = "" if isinstance(error, MoiraiError) else traceback.format_exc()
        failure = {"error": type(error).__name__, "text": str(error), "trace": trace}
        if is_first_process():
            line.tell("failed", **failure)
        elif isinstance(error, MoiraiError):  # what the first process then fails with only says that this one is gone
            (folder / FAILURE_FILE).write_text(json.dumps(failure), encoding="utf-8")
        else:
            raise
        return 1
    return 0


def _claim_output() -> Line:
    """Standard output for events alone; what others print goes to standard error from here on."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return Line(own)


def _log_to(line: Line) -> None:
    """Send what our packages log, and warnings of others."""
    handler = _ToParent(line)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    for name in PACKAGES:
        logging.getLogger(name).setLevel(logging.INFO)


def _end_with_parent() -> None:
    """Wait for the end of standard input and end at once: without a parent nobody would take the result."""
    while os.read(sys.stdin.fileno(), 1):  # not sys.stdin: the interpreter would wait for its lock when it ends
        pass
    os._exit(1)  # not sys.exit: this is not the main thread


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
