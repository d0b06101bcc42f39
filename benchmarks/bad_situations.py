"""The bad situations that must end well, many times in a row: what the suite runs once.

    python -m benchmarks.bad_situations [--kills N] [--others N] [--only WORD]

Kills and concurrent runs N times (20), the others N times (3); where a test strikes at a moment of chance, every round
has one of its own. Prints a line per test file and round, then a table; the exit code is 1 if any failed.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]


class Situation(NamedTuple):
    """Tests of one kind: a file, and an expression that chooses among its tests."""

    what: str
    file: str
    chosen: str = ""


KILLS = [
    Situation("killed, or two writers at once, in the middle of a write", "tests/tasks/test_warehouse_deaths.py"),
    Situation("worker killed in the middle of a forecast", "tests/integration/test_bad_situations.py", "killed"),
    Situation("training killed", "tests/tasks/training/test_process.py", "killed"),
    Situation("holder of a turn killed", "tests/tasks/test_turns.py", "killed"),
    Situation("two pipelines at once", "tests/integration/test_two_at_once.py"),
    Situation("two runs of one moment at once", "tests/flows/test_catch_up.py", "at_once"),
    Situation("two backfills at once", "tests/flows/test_backfill.py", "at_once"),
    Situation("two promotions at once", "tests/tasks/promotion/test_contest.py", "at_once"),
]
OTHERS = [
    Situation("database gone for a while", "tests/tasks/test_warehouse_absence.py"),
    Situation("server restarted, registry down", "tests/integration/test_bad_situations.py", "not killed"),
    Situation("versions deleted, alias moved meanwhile", "tests/tasks/promotion/test_contest.py", "not at_once"),
    Situation("job file changed before promotion", "tests/tasks/promotion/test_weights.py"),
    Situation("clocks changed", "tests/tasks/test_calendar.py"),
    Situation("series that vanish and appear, moments missed", "tests/flows/test_catch_up.py", "not at_once"),
    Situation("what was known when", "tests/tasks/test_recall.py"),
]


def passes(one: Situation, number: int) -> bool:
    """Run the tests once; what they say is shown where they fail."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", one.file]
    command += ["-k", one.chosen] if one.chosen else []
    environment = os.environ | {"MOIRAI_TEST_SEED": str(number)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-5000:], flush=True)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Run all of them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--others", type=int, default=3)
    parser.add_argument("--only", default="", help="situations whose description has this word")
    asked = parser.parse_args(arguments)
    rounds = [(one, asked.kills) for one in KILLS] + [(one, asked.others) for one in OTHERS]
    table = Table(title="Bad situations, in a row", title_justify="left")
    for title in ("situation", "tests", "passed", "seconds"):
        table.add_column(title, overflow="fold")
    failed = 0
    for one, times in rounds:
        if asked.only not in one.what:
            continue
        clock, won = time.monotonic(), 0
        for number in range(times):
            won += passes(one, number)
            print(f"{one.what}: {won} of {number + 1}", flush=True)
        failed += times - won
        place = f"{one.file}{f' -k {one.chosen!r}' if one.chosen else ''}"
        table.add_row(one.what, place, f"{won} of {times}", f"{time.monotonic() - clock:.0f}")
    Console(width=160).print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
