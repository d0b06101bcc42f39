"""Secrets of settings: what may stand in a file, what a reference becomes, and what people get to see."""

import pytest

from tasks.errors import JobError
from tasks.secrets import SecretError, checked, redacted, reveal

from .shop import make_job


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:${PW}@host/db",
        "postgresql://${WHO}:${block:db-password}@host/db",
        "${block:whole-url}",
        "https://${TOKEN}@host",
        "postgresql://me:@/db?host=/run/postgresql",
        "postgresql://me@host/db?password=${PW}&sslmode=require",
        "sqlite:///a b:c@d.db",
        "duckdb:///warehouse.duckdb",
    ],
)
def test_texts_without_a_password_are_taken(text):
    """References, users without a password, and files with any sign in their name; they are shown as they are."""
    assert checked(text) == text
    if "$" in text:
        assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://host/db"),
        ("postgresql://me:s3cret-${PW}@host/db", "postgresql://host/db"),
        ("https://${WHO}:s3cret@host", "https://host"),
        ("postgresql://host/db?user=me&password=s3cret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("https://s3cret@host", "https://host"),
        ("https://host/?access_token=s3cret", "https://host/?access_token=***"),
    ],
)
def test_passwords_in_a_file_are_refused_and_never_shown(text, shown):
    """The error says where passwords belong, and does not repeat this one."""
    with pytest.raises(ValueError, match="a password does not belong into a file") as caught:
        checked(text)
    assert "s3cret" not in str(caught.value)
    assert redacted(f"no answer of {text} yet") == f"no answer of {shown} yet"


@pytest.mark.parametrize("text", ["${}", "${A B}", "${1A}", "${block:}", "${block:With_Score}", "${vault:x}"])
def test_references_that_cannot_be_meant_are_refused(text):
    """Before a run is half done, not when a connection is made."""
    with pytest.raises(ValueError, match="names no secret"):
        checked(f"postgresql://me:{text}@host/db")


def test_variables_are_filled_in_where_they_stand(monkeypatch):
    """Signs in a password cannot read as parts of the URL; a host, a folder or a whole URL is taken as it is."""
    monkeypatch.setenv("PW", "p@ss/w%rd?#:${HOST}")
    monkeypatch.setenv("HOST", "db.example:5433")
    monkeypatch.setenv("URL", "postgresql://me:a%40b@host/db")
    encoded = "p%40ss%2Fw%25rd%3F%23%3A%24%7BHOST%7D"
    assert reveal("postgresql://me:${PW}@${HOST}/db", "x") == f"postgresql://me:{encoded}@db.example:5433/db"
    assert reveal("postgresql://${HOST}/db?user=me&password=${PW}", "x").endswith(f"password={encoded}")
    assert reveal("${URL}", "x") == "postgresql://me:a%40b@host/db"
    assert reveal("duckdb:///${HOST}/w.duckdb", "x") == "duckdb:///db.example:5433/w.duckdb"
    assert reveal("duckdb:///w.duckdb", "x") == "duckdb:///w.duckdb"


def test_absent_variables_are_named_with_the_setting():
    """The error is one of the job file."""
    with pytest.raises(SecretError, match="warehouse needs the environment variable NO_SUCH, which is not set"):
        reveal("postgresql://me:${NO_SUCH}@host/db", "warehouse")


@pytest.mark.usefixtures("prefect_server")
def test_blocks_are_read_from_prefect():
    """A Secret block gives its value; one that is absent, or holds no text, is named."""
    from prefect.blocks.system import Secret  # noqa: PLC0415 - Prefect reads its settings when it is imported

    Secret(value="p@ss").save("db-password", overwrite=True)
    Secret(value={"password": "s3cret"}).save("no-text", overwrite=True)
    assert reveal("postgresql://me:${block:db-password}@host/db", "x") == "postgresql://me:p%40ss@host/db"
    with pytest.raises(SecretError, match="tracking needs the Prefect Secret block 'absent', which does not exist"):
        reveal("http://me:${block:absent}@host", "tracking")
    with pytest.raises(SecretError, match="'no-text' holds no text") as caught:
        reveal("http://me:${block:no-text}@host", "tracking")
    assert "s3cret" not in str(caught.value)


def test_a_prefect_that_does_not_answer_is_named():
    """Instead of the error of an HTTP library."""
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings  # noqa: PLC0415

    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}),
        pytest.raises(SecretError, match="block 'db-password', but Prefect does not answer"),
    ):
        reveal("postgresql://me:${block:db-password}@host/db", "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warehouse": "postgresql://me:s3cret@host/db"}, "warehouse: a password does not belong into a file"),
        ({"warehouse": "mysql://me:s3cret@host/db"}, "warehouse: 'mysql://host/db' is no warehouse URL; write duckdb:"),
        ({"warehouse": "duckdb:///"}, "is no warehouse URL"),
        ({"warehouse": "postgresql://me:${}@host/db"}, "warehouse: .* names no secret"),
        ({"tracking": "http://me:s3cret@host"}, "tracking: a password does not belong into a file"),
        ({"tracking": "ftp://me:s3cret@host"}, "tracking: 'ftp://host' is no tracking URI"),
        (
            {"source": {"url": "mysql://me:s3cret@host/db", "query": "SELECT 1"}},
            "source.url: a password does not belong",
        ),
    ],
)
def test_job_files_keep_no_passwords(tmp_path, changes, message):
    """Each of the settings that take a URL refuses; neither the error nor its cause shows the password."""
    with pytest.raises(JobError, match=message) as caught:
        make_job(tmp_path, **changes)
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"


def test_the_hash_of_a_job_does_not_follow_its_secrets(tmp_path, monkeypatch):
    """A password that changes makes no new settings; another name of it does."""
    hashes = []
    for name, value in (("PW_A", "1"), ("PW_A", "2"), ("PW_B", "2")):
        monkeypatch.setenv(name, value)
        hashes.append(make_job(tmp_path, warehouse=f"postgresql://me:${{{name}}}@host/db").config_hash())
    assert hashes[0] == hashes[1] != hashes[2]
