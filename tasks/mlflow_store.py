"""Where MLflow keeps runs and models: the job's `tracking`, opened once it is known to be usable.

In: the job, or whatever else leaves runs (`Tracked`). Out: a client. Fails with `TrackingError`,
which names the setting: no place MLflow can use, no MLflow database, a server that refuses.
`UnreachableError` is its branch for a server that does not answer: the one failure that another
attempt may mend.
"""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tasks.errors import TrackingError
from tasks.secrets import redacted, reveal

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_DELAYS = [5.0, 30.0]  # seconds: long enough for a server to start again
SQLITE = "sqlite:///"
LOCK_WAIT = 120  # seconds; the longest locked step copies a checkpoint
ENVIRONMENT = {  # what MLflow reads; values already set win
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # a lock file in the working directory is none of the model's
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its default, 7, keeps a task waiting for minutes
}
LONGEST_REASON = 300  # characters of MLflow's own words in an error


class Tracked(Protocol):
    """What leaves runs in MLflow: a job, a pretraining."""

    @property
    def name(self) -> str:
        """Name of its experiment."""

    @property
    def tracking(self) -> str:
        """MLflow tracking URI."""

    @property
    def workspace_path(self) -> Path:
        """Folder for its artifacts."""

    def resolve(self, path: str) -> Path:
        """Absolute form of a path of it."""


class UnreachableError(TrackingError):
    """The tracking server does not answer; it may do so later."""


def tracking_uri(job: Tracked) -> str:
    """The job's tracking URI as MLflow takes it, for nobody else; a relative SQLite path starts at the job's folder.

    Raises:
        SecretError: a secret that it names is not there.
        TrackingError: neither SQLite nor a server.
    """
    uri = reveal(job.tracking, "tracking")
    if re.match(r"https?://[^/]", uri):
        return uri
    if uri.startswith(SQLITE) and len(uri) > len(SQLITE):
        return f"{SQLITE}{job.resolve(uri.removeprefix(SQLITE))}"
    raise TrackingError(
        f"tracking: {redacted(job.tracking)!r} is no tracking URI (MLflow no longer keeps runs in "
        "folders); write sqlite:///FILE, or the http:// URL of an MLflow server"
    )


def tracking_place(job: Tracked) -> str:
    """The job's tracking URI as people see it: secrets stay names, passwords are left out."""
    place = redacted(job.tracking)
    return f"{SQLITE}{job.resolve(place.removeprefix(SQLITE))}" if place.startswith(SQLITE) else place


def connect(job: Tracked) -> "MlflowClient":
    """A client of the job's runs and registry; a new SQLite file takes seconds to set up.

    Raises:
        TrackingError: see the module's docstring.
    """
    uri = tracking_uri(job)
    if uri.startswith(SQLITE):
        _check_database(Path(uri.removeprefix(SQLITE)))
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient  # noqa: PLC0415 - takes two seconds, and reads the environment

    for name in ("mlflow", "alembic"):
        if logging.getLogger(name).getEffectiveLevel() < logging.WARNING:
            logging.getLogger(name).setLevel(logging.WARNING)
    with one_at_a_time(job), explained(job):  # the first client of a new database makes its tables
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def one_at_a_time(job: Tracked) -> Iterator[None]:
    """Hold the lock of the job's MLflow store on this machine: for steps that look first and write then.

    Raises:
        TrackingError: another run holds it for longer than such a step takes.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only runs that track need it

    uri = tracking_uri(job)
    place = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else job.workspace_path / "mlflow"
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{place}.lock", timeout=LOCK_WAIT, is_singleton=True):
            yield
    except Timeout as error:
        raise TrackingError(f"tracking: another run holds {place}.lock for over {LOCK_WAIT} s; end it first") from error


@contextmanager
def explained(job: Tracked) -> Iterator[None]:
    """Turn what MLflow raises into one sentence that names the setting."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see `connect`
    from requests import RequestException  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    try:
        yield
    except (MlflowException, SQLAlchemyError, RequestException) as error:
        place, said = tracking_place(job), str(error)
        cause = error if redacted(said) == said else None  # MLflow shows the URL that it asked, password and all
        if _is_out_of_reach(error):
            raise UnreachableError(
                f"tracking: {place} does not answer; start the server, or set tracking to another"
            ) from cause
        reason = redacted(" ".join(said.split())).partition(" [SQL")[0]
        raise TrackingError(f"tracking: {place} refused: {reason[:LONGEST_REASON]}") from cause


def is_worth_a_retry(task: Any, run: Any, state: Any) -> bool:  # noqa: ARG001 - Prefect's signature
    """A server may come back; a wrong setting stays wrong."""
    return isinstance(state.result(raise_on_failure=False), UnreachableError)


def _check_database(path: Path) -> None:
    """A file MLflow can open, or none yet: it would retry for a minute and then say less."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        if path.stat().st_size == 0:
            return
        with closing(sqlite3.connect(path)) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except OSError as error:
        raise TrackingError(f"tracking: {path} cannot be written ({error.strerror})") from error
    except sqlite3.DatabaseError as error:
        raise TrackingError(f"tracking: {path} cannot be used as an SQLite file ({error})") from error
    tables = {name for (name,) in rows}
    if tables and not {"experiments", "alembic_version"} <= tables:
        raise TrackingError(f"tracking: {path} is a database, but not MLflow's; name another file")


def _is_out_of_reach(error: BaseException) -> bool:
    """Whether the network is somewhere behind an error."""
    from requests import exceptions  # noqa: PLC0415 - comes with MLflow

    network = (exceptions.ConnectionError, exceptions.Timeout, exceptions.RetryError)
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, network):
            return True
        behind = behind.__cause__ or behind.__context__
    return False
