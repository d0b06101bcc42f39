"""Services for real: a Prefect server, a work pool and a worker, each a process, and a job small enough for them.

Everything lies in a temporary folder; every process is stopped by its own handle.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml

if TYPE_CHECKING:  # Prefect reads its settings when it is imported
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
POOL = "moirai"  # named by deployments/prefect.yaml
KNOWN_LOOK_UP = "raw.githubusercontent.com"  # the server asks for worker metadata, in vain, and uses its own copy
QUIET = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"  # left in the environment by commands that tests ran in this process
HOURS, HORIZON = 400, 6


@dataclass(frozen=True)
class Place:
    """A running server, the environment that leads to it, and the one job of its deployments."""

    folder: Path
    environment: dict[str, str]
    client: "SyncPrefectClient"
    job_file: Path

    def run(self, program: str, *arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment in the root of the repository; None takes a variable away."""
        environment = {name: value for name, value in (self.environment | changes).items() if value is not None}
        return subprocess.run(  # noqa: S603 - our own arguments
            [BIN / program, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    def deploy(self, file: str = "deployments/prefect.yaml", **changes: str | None) -> subprocess.CompletedProcess[str]:
        """Deploy as docs/operations.md says."""
        return self.run("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", file, **changes)


def write_job(folder: Path, **changes: Any) -> Path:
    """Write an hourly series, a tiny checkpoint and a job file into a folder; returns the path of the job file."""
    import torch  # noqa: PLC0415 - the import hook of the suite comes first

    from moirai import Moirai2Config, Moirai2Module  # noqa: PLC0415

    hours = pd.date_range("2024-01-01", periods=HOURS, freq="h", name="hour")
    load = 20 + 5 * np.sin(2 * np.pi * np.arange(HOURS) / 24) + np.random.default_rng(0).normal(0, 0.5, HOURS)
    folder.mkdir()
    pd.Series(load.round(3), hours, name="load").to_csv(folder / "load.csv")
    torch.manual_seed(0)
    config = Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2)
    Moirai2Module(config).save_pretrained(folder / "tiny")
    settings = {
        "name": "load",
        "source": {"path": "load.csv"},
        "columns": {"timestamp": "hour", "target": ["load"]},
        "frequency": "h",
        "horizon": HORIZON,
        "context": 64,
        "model": "tiny",
        "backtest": {"windows": 1},
        "finetune": {"base": "tiny", "max_steps": 2, "batch_size": 4, "validate_every": 1},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(settings | changes), encoding="utf-8")
    return folder / "job.yaml"


def wait_for(ask: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Ask until the answer is something; fails when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)
    return answer


@contextlib.contextmanager
def process(
    folder: Path, name: str, *arguments: str, program: str = "prefect", **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Prefect, or of another program, while the block runs; a test that fails shows what it said."""
    log = folder / f"{name}.log"
    # A SIGINT that is ignored here would be ignored there, too, and Prefect stops by sending itself SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with log.open("wb") as output:
            child = subprocess.Popen(  # noqa: S603 - our own arguments
                [BIN / program, *arguments], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        sys.stderr.write(f"--- {name}\n{log.read_text(encoding='utf-8', errors='replace')[-5000:]}\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    """A server of its own with a work pool and all deployments, but no worker yet."""
    from prefect.client.orchestration import SyncPrefectClient  # noqa: PLC0415 - see above

    folder = tmp_path_factory.mktemp("place")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    job_file = write_job(folder / "job")
    environment = {name: value for name, value in os.environ.items() if name != QUIET} | {
        "MOIRAI_JOB": str(job_file),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(folder / "prefect"),
    }
    asked = folder / "asked.txt"
    arguments = ("server", "start", "--host", "127.0.0.1", "--port", port)
    with (
        process(folder, "server", *arguments, **environment | {"MOIRAI_REFUSED_CONNECTIONS": str(asked)}),
        SyncPrefectClient(environment["PREFECT_API_URL"]) as client,
    ):
        wait_for(lambda: client.api_healthcheck() is None, seconds=60, what="the server's start")
        place = Place(folder, environment, client, job_file)
        made = place.run("prefect", "work-pool", "create", POOL, "--type", "process")
        assert made.returncode == 0, made.stdout + made.stderr
        for limit in ("warehouse-writer", "gpu"):
            made = place.run("prefect", "gcl", "create", limit, "--limit", "1")
            assert made.returncode == 0, made.stdout + made.stderr
        deployed = place.deploy()
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        yield place
    others = [line for line in asked.read_text().splitlines() if KNOWN_LOOK_UP not in line] if asked.exists() else []
    assert not others, f"the server asked for the network: {others}"


@pytest.fixture
def worker(place) -> Iterator[None]:
    """A process worker that stands in a folder without any code of ours."""
    seconds = {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    with process(place.folder, "worker", "worker", "start", "--pool", POOL, **place.environment | seconds):
        yield
