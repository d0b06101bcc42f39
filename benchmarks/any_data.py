"""From file to forecasts with `moirai init` and `moirai forecast` alone, on ten public data sets.

python -m benchmarks.any_data DATA_FOLDER [NAME ...]

Nothing is edited between the two commands. Printed per set: what was proposed, what was written, the seconds, and
whether the report names the defects that the README of the data folder lists, with the same counts.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.job import load_job


@dataclass(frozen=True)
class DataSet:
    """A file, and what its report must say."""

    file: str
    defects: tuple[str, ...] = ()  # numbers and dates of the README's "Known defects" and "Known traits"


SETS = {
    "etth1": DataSet("etth1/ETTh1.csv"),
    "ettm1": DataSet("ettm1/ETTm1.csv.gz"),
    "metro_traffic": DataSet(
        "metro_traffic/Metro_Interstate_Traffic_Volume.csv",
        ("7,629", "11,976", "2014-08-08", "2015-06-11", "temp", "10 of", "9831.3"),
    ),
    "pasta_sales": DataSet("pasta_sales/hierarchical_sales_data.csv", ("27",)),
    "beijing_pm25": DataSet("beijing_pm25/pollution.csv", ("2,067", "214", "155")),
    "us_gasoline": DataSet("us_gasoline/us_gasoline.csv"),
    "us_employment": DataSet("us_employment/US_employment_fpp3_Monthly.txt", ("2017-12",)),
    "tourism": DataSet("tourism/tourism.csv"),
    "global_economy": DataSet(
        "global_economy/global_economy.csv", ("3,322", "3,756", "7,480", "4,554", "4,563", "3 of")
    ),
    "m4_hourly": DataSet("m4_hourly/Hourly-train.csv"),
}


def run(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """Both commands on one set; returns the outcome of the second."""
    source, job_file = data / SETS[name].file, folder / "job.yaml"
    started = time.monotonic()
    _moirai("init", str(source), "--out", str(job_file), "--json")
    outcome = json.loads(_moirai("forecast", str(job_file), "--json"))
    job = load_job(job_file)
    return outcome | {
        "seconds": time.monotonic() - started,
        "proposed": f"{job.frequency}, horizon {job.horizon}, season {job.season_length}, "
        f"targets {', '.join(job.columns.target[:3])}{' …' if len(job.columns.target) > 3 else ''}, "  # noqa: PLR2004
        f"series by {job.columns.item_id}",
    }


def _moirai(*arguments: str) -> str:
    """What a command prints; what it complains about when it fails ends the benchmark."""
    code = "from flows.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"moirai {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Print the table; 1 when a defect is not told."""
    if not arguments:
        print(__doc__)
        return 2
    data, chosen = Path(arguments[0]), arguments[1:] or list(SETS)
    untold = 0
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(name, data, Path(folder))
            report = Path(outcome["places"]["report"]).read_text(encoding="utf-8")
        rows = ", ".join(f"{table} {count:,}" for table, count in outcome["rows"].items())
        missing = [text for text in SETS[name].defects if text not in report]
        untold += len(missing)
        told = f"NOT TOLD: {missing}" if missing else f"all {len(SETS[name].defects)} figures told"
        print(f"{name}: {outcome['seconds']:.0f} s; {outcome['proposed']}\n  {rows}; defects: {told}")
        for finding in outcome["findings"]:
            print(f"  - {finding}")
    return int(untold > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
