"""The suite keeps to itself: these tests hold `conftest.py` to what it promises."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

OUTSIDE = "192.0.2.1"  # reserved for documentation: nobody's address


@pytest.fixture(autouse=True)
def _own_record(monkeypatch, tmp_path):
    """What is refused here is meant to be and must not fail the session."""
    monkeypatch.setenv("MOIRAI_REFUSED_CONNECTIONS", str(tmp_path / "refused.txt"))


def test_connection_outside_is_refused():
    """A socket reaches no address outside this machine."""
    with socket.socket() as connection, pytest.raises(RuntimeError, match="without a network"):
        connection.connect((OUTSIDE, 80))


def test_look_up_is_refused():
    """No name is looked up: that alone would tell a server about us."""
    with pytest.raises(RuntimeError, match="example"):
        socket.getaddrinfo("example.org", 443)


def test_asyncio_is_guarded():
    """Connections of an event loop, which bypass Python's socket methods, are refused as well."""
    with pytest.raises(RuntimeError, match="without a network"):
        asyncio.run(asyncio.open_connection(OUTSIDE, 80))


def test_child_processes_are_guarded():
    """A Python that a test starts has no network either, and what it tried is on record."""
    code = f"import socket; socket.create_connection(({OUTSIDE!r}, 80))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert child.returncode == 1
    assert "without a network" in child.stderr
    assert OUTSIDE in Path(os.environ["MOIRAI_REFUSED_CONNECTIONS"]).read_text()


def test_loopback_and_unix_sockets_work():
    """Services on this machine are reached, by address and by path."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        path = Path(tempfile.mkdtemp()) / "s"  # a short path: these are limited to 108 characters
        server.bind(str(path))
        server.listen()
        client.connect(str(path))


def test_nothing_goes_home():
    """Home, temporary files and the services' folders all lie in the session's own folder."""
    home = Path.home()
    folders = [tempfile.gettempdir(), os.environ["PREFECT_HOME"], os.environ["HF_HOME"], os.environ["MPLCONFIGDIR"]]
    assert home.parent.name.startswith("moirai-tests-")
    assert {Path(folder).parent for folder in folders} == {home.parent}


def test_tracking_databases_are_separate(tracking_uri, mlflow_template):
    """Each test has an MLflow database of its own, ready to use."""
    assert Path(tracking_uri.removeprefix("sqlite:///")).stat().st_size == mlflow_template.stat().st_size
    assert str(mlflow_template) not in tracking_uri
