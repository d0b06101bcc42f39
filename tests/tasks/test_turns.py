"""Turns: who works on a moment of a job while the others wait; once for each database."""

import os
import signal
import time

import pandas as pd
import pytest

from tasks.errors import WarehouseError
from tasks.warehouse import turn

from .shop import make_job
from .warehouse_processes import child, tell

MOMENT = pd.Timestamp("2024-01-10 05:00")
HOLD = """
import sys
from pathlib import Path
import pandas as pd
from tasks.job import job_from_settings
from tasks.warehouse import turn
job = job_from_settings(eval(sys.argv[1]), folder=Path("."))
print("asks", flush=True)
with turn(job, pd.Timestamp(sys.argv[2])):
    print("has it", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def job(new_url, tmp_path):
    """A job in a warehouse that is not there yet."""
    return make_job(tmp_path, warehouse=new_url)


def holder(job, moment=MOMENT):
    """Another process that takes the turn and keeps it until it is told."""
    return child(HOLD, repr(job.model_dump(mode="json")), str(moment))


def test_a_second_process_waits_until_the_first_is_done(job):
    """It says that it asks, and has the turn only after the first gave it up."""
    with holder(job) as first:
        assert [first.stdout.readline() for _ in range(2)] == ["asks\n", "has it\n"]
        with holder(job) as second:
            assert second.stdout.readline() == "asks\n"
            time.sleep(0.5)
            os.set_blocking(second.stdout.fileno(), False)
            assert second.stdout.readline() == ""
            os.set_blocking(second.stdout.fileno(), True)
            tell(first)
            assert second.stdout.readline() == "has it\n"


def test_a_turn_is_free_when_its_holder_is_killed(job):
    """By kill -9, and at once."""
    with holder(job) as first:
        assert [first.stdout.readline() for _ in range(2)] == ["asks\n", "has it\n"]
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        begun = time.monotonic()
        with turn(job, MOMENT):
            assert time.monotonic() - begun < 5


def test_another_job_of_the_warehouse_does_not_wait(job, new_url, tmp_path):
    """Only the moments of one job wait for each other."""
    other = make_job(tmp_path, warehouse=new_url, name="other")
    with turn(job, MOMENT), turn(other, MOMENT):
        pass


def test_a_turn_that_cannot_be_had_says_why(tmp_path, monkeypatch):
    """A folder that cannot be made, a database that does not answer: the error names the moment and the place."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    blocked = make_job(tmp_path, warehouse="duckdb:///file/w.duckdb")
    with pytest.raises(WarehouseError, match="no turn for shop at 2024-01-10 05:00:00"), turn(blocked, MOMENT):
        pass
    monkeypatch.setattr("tasks.warehouse.turns.PATIENCE", 0.0)
    absent = make_job(tmp_path, warehouse=f"postgresql://user@/none?host={tmp_path}")
    with pytest.raises(WarehouseError, match="no turn for shop at 2024-01-10 05:00:00"), turn(absent, MOMENT):
        pass
