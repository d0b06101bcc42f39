"""The pages of docs/sources: every example is read as it stands and gives the panel that the page shows."""

import re
import runpy
from pathlib import Path

import pytest

from tasks.ingest import ingest_source
from tasks.job import load_job
from tasks.panel import read_panel
from tasks.transform import transform_panel
from tasks.validate import validate_panel

PAGES = sorted((Path(__file__).parents[1] / "docs" / "sources").glob("*.md"))
FILE = re.compile(r"^`([^`]+)`:\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PANEL = re.compile(r"^The clean panel:\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples():
    """Every example of a page: its files, and the panel that it shows."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        start = 0
        for number, shown in enumerate(PANEL.finditer(text)):
            files = FILE.findall(text[start : shown.start()])
            start = shown.end()
            yield pytest.param(dict(files), shown[1], id=f"{page.stem}-{number}")


@pytest.mark.parametrize(("files", "shown"), list(examples()))
def test_example_gives_the_panel_that_the_page_shows(files, shown, tmp_path, monkeypatch, request):
    """Files written, script or SQL run, then ingest, validation and transform as in every flow."""
    monkeypatch.chdir(tmp_path)
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        if path.suffix == ".py":
            runpy.run_path(str(path))
        if path.suffix == ".sql":
            fill(request.getfixturevalue("postgres_url"), content, monkeypatch)
    job = load_job(tmp_path / "job.yaml")
    raw = ingest_source(job)
    validated = validate_panel(job, raw, raw.end)
    assert validated.passed
    clean = read_panel(transform_panel(job, raw, [one.item_id for one in validated.quarantined]).panel)
    lines = [" ".join(line.split()) for line in clean.to_string(index=False).splitlines()]
    assert lines == shown.splitlines()


def fill(url, statements, monkeypatch):
    """Run the page's SQL, and name the database in the environment as the page does."""
    from sqlalchemy import create_engine  # noqa: PLC0415 - only one page needs it

    url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS orders")
        connection.exec_driver_sql(statements)
    engine.dispose()
    monkeypatch.setenv("ORDERS_URL", url)


def test_every_page_has_an_example():
    """A page that no test runs is a page that may lie."""
    assert len(PAGES) >= 5
    assert all(PANEL.search(page.read_text(encoding="utf-8")) for page in PAGES)
