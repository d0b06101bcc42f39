"""What the test of a whole operation stands on: a source that grows, MLflow's server, and questions to Prefect."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pandas as pd
import yaml

from .conftest import BIN, Place, wait_for

STEP, HISTORY = timedelta(seconds=10), timedelta(hours=2)
HORIZON = 6
RUN = 240  # seconds that a run may take here, beside all else


class Source:
    """A CSV file that always ends now: a noisy wave of one minute, a value every ten seconds."""

    def __init__(self, file: Path) -> None:
        start = datetime.now(UTC).replace(tzinfo=None, microsecond=0, second=0) - HISTORY
        stamps = pd.date_range(start, start + 2 * HISTORY, freq=STEP, name="moment")
        wave = 20 + 2 * np.sin(2 * np.pi * np.arange(len(stamps)) / 6)
        noise = np.random.default_rng(0).normal(0, 3, len(stamps))
        self.all = pd.Series((wave + noise).round(3), stamps, name="load")
        self.file, self._stop = file, threading.Event()
        self._write()

    def _write(self) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        whole = self.file.with_suffix(".partial")
        self.all[self.all.index <= now].to_csv(whole)
        whole.replace(self.file)

    def _grow(self) -> None:
        while not self._stop.wait(0.5):
            self._write()

    @contextlib.contextmanager
    def growing(self) -> Iterator[None]:
        """Let values arrive while the block runs."""
        thread = threading.Thread(target=self._grow)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


@dataclass
class Operation:
    """One job, its server of Prefect, and how its runs are asked for and looked at."""

    place: Place
    job_file: Path
    settings: dict = field(default_factory=dict)

    def write(self, **changes) -> None:
        """Change the job file."""
        self.settings |= changes
        self.job_file.write_text(yaml.safe_dump(self.settings), encoding="utf-8")

    def moirai(self, *arguments: str) -> str:
        """Run a command of ours against the server; returns what it printed."""
        done = self.place.run("moirai", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, deployment: str, **parameters):
        """Have a worker run a deployment for the job, to its end."""
        command = ["deployment", "run", deployment, "--param", f"job_file={self.job_file}"]
        for name, value in parameters.items():
            command += ["--param", f"{name}={value}"]
        asked = self.place.run("prefect", *command)
        assert asked.returncode == 0, asked.stdout + asked.stderr
        (run,) = [one for one in self.runs(deployment) if str(one.id) in asked.stdout]
        return self.ended(run.id)

    def runs(self, deployment: str) -> list:
        """All runs of a deployment."""
        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId  # noqa: PLC0415 - see conftest

        found = self.place.client.read_deployment_by_name(deployment)
        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[found.id]))
        return self.place.client.read_flow_runs(deployment_filter=chosen)

    def ended(self, run_id):
        """The run, once it has ended well."""

        def final():
            run = self.place.client.read_flow_run(run_id)
            return run if run.state.is_final() else None

        run = wait_for(final, seconds=RUN, what=f"the end of run {run_id}")
        assert run.state.is_completed(), run.state
        return run

    def promoted(self, number: int):
        """The `number`-th run that judged a challenger, started by the event of its fine-tuning; it has ended well."""

        def started():
            runs = sorted(self.runs("promote/on-demand"), key=lambda run: run.created)
            return runs[number - 1 : number]

        (run,) = wait_for(started, seconds=60, what=f"promotion {number}, by the event of a fine-tuning")
        return self.ended(run.id)


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """MLflow's server on a free port of the loopback interface, as docs/operations.md starts it; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    folder.mkdir()
    command = [BIN / "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", folder / "files"]
    with (folder / "log.txt").open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            cwd=folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(f"{url}/health"), seconds=120, what="the start of MLflow's server")
        yield url
    finally:
        child.terminate()
        child.wait(30)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:  # noqa: S310 - loopback
            return answer.status == 200
    except (URLError, OSError):
        return False


def sleep_until(moment: datetime) -> None:
    """Wait until a moment, given as the data tell time."""
    time.sleep(max(0.0, (moment - datetime.now(UTC).replace(tzinfo=None)).total_seconds()))
