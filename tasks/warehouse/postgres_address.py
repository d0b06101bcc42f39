"""Where a PostgreSQL is and what its errors mean.

In: a URL, or an error of psycopg. Out: the parameters of a connection, the name that people see,
whether another try may help. Fails with `WarehouseError`, which never shows user or password.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.errors import WarehouseError

if TYPE_CHECKING:
    import psycopg

SCHEME = re.compile(r"postgres(?:ql)?(?:\+psycopg)?://")
PORTS = re.compile(r"[0-9,]*")  # anything else is part of a password that has signs in it
EXTRA = "pip install 'moirai-flows[postgres]'"
DEFAULTS = {  # unless the URL says otherwise; a server that vanishes is noticed within a minute
    "application_name": "moirai",
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
CONFLICTS = {"40001", "40P01", "55P03"}  # serialisation, deadlock, a lock that was not to be had in time
ABSENCES = {"57P01", "57P02", "57P03", "53300"}  # stops, crashes, starts; has no connection left
FOR_GOOD = re.compile(  # what a server answers, in English, to one that may not come in; no code comes with it
    r"authentication failed|no password supplied|no pg_hba\.conf entry|does not exist|is not permitted to log in"
    r"|permission denied|does not support SSL"
)
LONGEST_REASON = 300  # characters of the database's own words


@dataclass(frozen=True)
class Address:
    """How a database is reached, and what it is called in errors."""

    parameters: dict[str, Any]
    shown: str


def driver() -> Any:
    """The module psycopg; raises `WarehouseError` where it is not installed."""
    try:
        import psycopg  # noqa: PLC0415 - an extra, and only warehouses in PostgreSQL need it
    except ImportError as error:
        raise WarehouseError(f"a warehouse in PostgreSQL needs psycopg, which is not installed; {EXTRA}") from error
    return psycopg


def is_postgres(url: str) -> bool:
    """Whether a URL is one of PostgreSQL."""
    return SCHEME.match(url) is not None


def parse(url: str) -> Address:
    """Parameters and name of a database.

    Raises:
        WarehouseError: psycopg is not installed, or the URL cannot be read.
    """
    psycopg = driver()
    try:
        given = psycopg.conninfo.conninfo_to_dict(SCHEME.sub("postgresql://", url, count=1))
    except psycopg.ProgrammingError:
        given = {}
    if not given or not PORTS.fullmatch(str(given.get("port", ""))) or "@" in str(given.get("dbname", "")):
        raise WarehouseError(  # without what libpq said: it may show parts of a password
            "warehouse: the URL of PostgreSQL cannot be read; write postgresql://USER:${PASSWORD}@HOST:PORT/DATABASE, "
            "and signs such as @ / % in a name as %40 %2F %25"
        )
    host = str(given.get("host", ""))
    port = f":{given['port']}" if "port" in given else ""
    place = f" in {host}" if host.startswith("/") else ""  # a socket
    shown = f"postgresql://{'' if place else host}{port}/{given.get('dbname', '')}{place}"
    return Address({**DEFAULTS, **given}, shown)


def may_pass(error: "psycopg.Error", *, is_connected: bool) -> bool:
    """Whether doing the same again may succeed: another writer was in the way, or the database is away."""
    code = error.sqlstate
    if code is not None:
        return code in CONFLICTS | ABSENCES or code.startswith("08")
    return not is_connected and FOR_GOOD.search(str(error)) is None


def in_words(error: Exception) -> str:
    """What the database said, on one line."""
    said = getattr(getattr(error, "diag", None), "message_primary", None) or str(error) or type(error).__name__
    return " ".join(said.split())[:LONGEST_REASON]
