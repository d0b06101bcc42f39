"""The commands of docker/compose.yaml, run without containers: the same words and settings, other ports and places.

Databases are SQLite here; with PostgreSQL everything was run by hand, see docs/containers.md.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tasks.limits import LIMITS

from .docker_files import DOCKER, ROOT, SECRETS, environment_of, read_compose, read_dockerfile

BIN = Path(sys.executable).parent
COMPOSE = read_compose(dict.fromkeys(SECRETS, "secret"))
IMAGE = environment_of(read_dockerfile(), "cpu")
KNOWN_LOOK_UP = "raw.githubusercontent.com"  # the Prefect server asks for worker metadata, in vain
SECONDS = 180  # until a service is well; some ten on an idle machine


class Stack:
    """The services as processes of this machine: ports and folders are mapped to free and temporary ones."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {}
        for port in ("4200", "5000", "8080"):
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.ports[port] = str(free.getsockname()[1])

    def mapped(self, text):
        """A word of a command or setting as it must be here."""
        for inside, outside in self.ports.items():
            text = re.sub(rf"(?<=127\.0\.0\.1:){inside}\b|(?<=prefect:){inside}\b|^{inside}$", outside, text)
        text = text.replace("//prefect:", "//127.0.0.1:").replace("/tmp/prefect-ui", str(self.folder / "ui"))  # noqa: S108
        return str(self.folder / "home") + text.removeprefix(IMAGE["HOME"]) if text.startswith(IMAGE["HOME"]) else text

    def command(self, name):
        """The command of a service; 0.0.0.0 would open it to others here."""
        everywhere, here = "0.0.0.0", "127.0.0.1"  # noqa: S104 - taken away
        words = [self.mapped(str(word)).replace(everywhere, here) for word in COMPOSE["services"][name]["command"]]
        return [str(BIN / words[0]) if (BIN / words[0]).exists() else words[0], *words[1:]]

    def environment(self, name, **changes):
        """What image and service set, databases apart, beside what the suite needs itself."""
        own = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        given = {key: value for key, value in IMAGE.items() if key not in ("PATH", "HOME", "MPLCONFIGDIR")}
        given |= COMPOSE["services"][name].get("environment", {})
        given = {key: self.mapped(value) for key, value in given.items() if "DATABASE" not in key}
        return own | given | {"PREFECT_WORKER_WEBSERVER_PORT": self.ports["8080"]} | changes

    def run(self, name):
        """Run a service that ends."""
        environment = self.environment(name)
        return subprocess.run(  # noqa: S603 - our own arguments
            self.command(name), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    def is_well(self, name):
        """Whether the health check of a service, its very command, ends with 0."""
        kind, program, *words = COMPOSE["services"][name]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        check = [sys.executable, *map(self.mapped, words)]
        return subprocess.run(check, capture_output=True, check=False).returncode == 0  # noqa: S603

    @contextlib.contextmanager
    def started(self, name, **changes):
        """A service while the block runs, stopped by its process id; what it said is shown with a test that fails."""
        log = self.folder / f"{name}.log"
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored here, it would be ignored there
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(  # noqa: S603 - our own arguments
                    self.command(name),
                    cwd=self.folder,
                    env=self.environment(name, **changes),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
        finally:
            signal.signal(signal.SIGINT, before)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            sys.stderr.write(f"--- {name}\n{log.read_text(encoding='utf-8', errors='replace')[-5000:]}\n")

    def wait_for(self, name, process):
        """Until the health check says that a service is well."""
        deadline = time.monotonic() + SECONDS
        while not self.is_well(name):
            assert process.poll() is None, f"{name} ended: {(self.folder / f'{name}.log').read_text()}"
            assert time.monotonic() < deadline, f"{name}: not well within {SECONDS} s"
            time.sleep(0.5)


def get(url, **headers):
    """Status and body of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope="module")
def servers(mlflow_template, tmp_path_factory):
    """A Prefect server that is well, and an MLflow server that may not be yet."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    (stack.folder / "home").mkdir()
    shutil.copy(mlflow_template, stack.folder / "mlflow.db")
    asked = stack.folder / "asked.txt"
    with (
        stack.started("prefect", MOIRAI_REFUSED_CONNECTIONS=str(asked)) as prefect,
        stack.started("mlflow", MLFLOW_BACKEND_STORE_URI=f"sqlite:///{stack.folder / 'mlflow.db'}") as mlflow,
    ):
        assert not stack.is_well("prefect")  # a check that is always content would say nothing
        stack.wait_for("prefect", prefect)
        yield stack, mlflow  # which goes on starting meanwhile
    others = [line for line in asked.read_text().splitlines() if KNOWN_LOOK_UP not in line] if asked.exists() else []
    assert not others, f"the Prefect server asked for the network: {others}"


@pytest.fixture
def stack(servers):
    """The services, with a Prefect server that is well."""
    return servers[0]


def test_prefect_shows_its_pages_and_finds_its_own_server(stack):
    """The pages are unpacked where the image's user may write, and ask the address that the browser can reach."""
    url = f"http://127.0.0.1:{stack.ports['4200']}"
    status, page = get(f"{url}/v2")
    assert (status, b"<html" in page.lower()) == (200, True)
    assert (stack.folder / "ui").is_dir()
    assert json.loads(get(f"{url}/ui-settings")[1])["api_url"] == f"{url}/api"


def test_deploying_twice_makes_everything_once(stack):
    """The service that deploys can run at every start: pool, limits and deployments are there once."""

    def made():
        url = f"http://127.0.0.1:{stack.ports['4200']}/api"
        pools = post(f"{url}/work_pools/filter")
        limits = post(f"{url}/v2/concurrency_limits/filter")
        deployments = post(f"{url}/deployments/filter")
        return (
            {pool["name"]: (pool["id"], pool["type"]) for pool in pools},
            sorted((one["name"], one["id"], one["work_pool_name"]) for one in deployments),
            {one["name"]: (one["id"], one["limit"]) for one in limits if one["name"] in LIMITS},
        )

    first = stack.run("deploy")
    assert first.returncode == 0, first.stdout + first.stderr
    pools, deployments, limits = made()
    assert [(name, kind) for name, (_, kind) in pools.items()] == [("moirai", "process")]
    assert {pool for _, _, pool in deployments} == {"moirai"}
    assert {name: places for name, (_, places) in limits.items()} == LIMITS
    second = stack.run("deploy")
    assert second.returncode == 0, second.stdout + second.stderr
    assert made() == (pools, deployments, limits)


def test_a_worker_says_that_it_is_well(stack):
    """The worker's own health check, asked as Docker would ask it."""
    with stack.started("worker") as worker:
        stack.wait_for("worker", worker)
    assert not stack.is_well("worker")


def test_mlflow_answers_to_its_names_alone(servers):
    """The worker's name for it and this machine's are allowed; a request with another Host is refused."""
    stack, mlflow = servers
    stack.wait_for("mlflow", mlflow)
    url = f"http://127.0.0.1:{stack.ports['5000']}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert get(url)[0] == 200
    assert get(url, Host="mlflow:5000")[0] == 200
    assert get(url, Host="localhost:7000")[0] == 200
    assert get(url, Host="example.org")[0] == 403
    assert json.loads(get(url)[1])["experiment"]["experiment_id"] == "0"


def post(url):
    """The answer of Prefect's API to a question without conditions."""
    request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - see above
        return json.load(answer)


def test_the_scripts_are_shell_without_errors():
    """Both are read by the shells that run them."""
    for shell, script in [("sh", "deploy.sh"), ("bash", "databases.sh")]:
        done = subprocess.run([shell, "-n", DOCKER / script], capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr
