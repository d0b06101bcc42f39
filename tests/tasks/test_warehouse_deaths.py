"""Writers that die, and writers that come at once: no row is lost, none is doubled, none is mixed."""

import os
import signal
import time

import pytest

from tasks.warehouse import RunRecord, open_warehouse

from .warehouse_processes import OBSERVE, WRITE, child, tell
from .warehouse_rows import NOW, forecasts, upsert

START = RunRecord(run_id="1", job="job", flow="forecast", started_at=NOW)


def test_two_processes_that_write_the_same_keys_at_once_both_succeed(new_url):
    """Each of the rows is from one of them as a whole, however often both write."""
    with child(WRITE, new_url, "go") as one, child(WRITE, new_url, "go") as other:
        for _ in range(3):
            assert one.stdout.readline() == "stored\n"
            assert other.stdout.readline() == "stored\n"
    assert_whole(new_url)


def test_two_processes_that_start_on_nothing_and_observe_the_same_add_it_once(new_url):
    """One makes the schema, the other finds it; the later one finds the rows, so that no value has two versions."""
    with child(OBSERVE, new_url) as one, child(OBSERVE, new_url) as other:
        for process in (one, other):
            assert process.stdout.readline() == "ready\n"
        jobs = [f"job-{number}" for number in range(5)]
        for job in jobs:
            tell(one, job)
            tell(other, job)
            assert {one.stdout.readline(), other.stdout.readline()} == {"2000\n", "0\n"}
    with open_warehouse(new_url) as warehouse:
        assert [warehouse.counts(job)["observations"] for job in jobs] == [2000] * 5


def test_a_writer_killed_before_its_commit_leaves_nothing(new_url):
    """No row of a write that was not committed is seen, and the same write works afterwards."""
    with open_warehouse(new_url) as warehouse:
        warehouse.record_run(START)
    with child(WRITE, new_url, "stop") as writer:
        assert writer.stdout.readline() == "written\n"
        os.kill(writer.pid, signal.SIGKILL)
    with open_warehouse(new_url) as warehouse:
        assert warehouse.counts("job") | {"runs": 1} == warehouse.counts("job")
        assert warehouse.counts("job")["forecasts"] == 0
        assert upsert(warehouse, forecasts(q50=1.0)) == 6
        assert warehouse.counts("job")["forecasts"] == 6


@pytest.mark.parametrize("pause", [0.05, 0.2])
def test_a_writer_killed_at_any_time_leaves_whole_writes(new_url, pause):
    """Wherever the kill falls, the rows are those of one write, and the next write works."""
    with child(WRITE, new_url, "go") as writer:
        assert writer.stdout.readline() == "stored\n"
        time.sleep(pause)
        os.kill(writer.pid, signal.SIGKILL)
    assert_whole(new_url)
    with open_warehouse(new_url) as warehouse:
        warehouse.record_run(START)
        assert warehouse.counts("job")["runs"] == 1


def assert_whole(url):
    """All rows stem from the same write and have its level only."""
    with open_warehouse(url) as warehouse:
        stored = warehouse.read_forecasts("job")
    assert len(stored) == 20_000
    assert stored["mean"].nunique() == stored["run_id"].nunique() == 1
    levels = stored[[name for name in stored.columns if name[0] == "q"]]
    assert levels.notna().sum(axis=1).eq(1).all()
