"""The documents: commands, options, names, links, paths and snippets in them are real, and none of ours is missing."""

import io
import re
import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from typer.main import get_command

import moirai
from flows.cli import app
from tasks.warehouse import open_warehouse

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "moirai" / "starter" / "README.md"])
PAGES += sorted((ROOT / "deployments").rglob("*.md"))
TEXTS = {path: path.read_text(encoding="utf-8") for path in PAGES}
GUIDES = {path: text for path, text in TEXTS.items() if path.name == "README.md" or path.parent == ROOT / "docs"}
COMMANDS = get_command(app).commands
HELP = "--help"  # every command has it
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CALL = re.compile(r"(?:\S*/)?moirai ([a-z][a-z-]*)([^#]*)")
MACHINE = re.compile(r"(?<![\w.])/(?:work|tmp|root|home|opt|Users)/|/\.cache/")
SNIPPET_ROWS = 24  # of the forecast that the README reads


def name_of(path):
    """Path inside the repository, for messages."""
    return path.relative_to(ROOT).as_posix()


def blocks(language):
    """Every code block of a language in the documents, with its page and place in it."""
    return [
        pytest.param(body, id=f"{name_of(path)}-{index}")
        for path, text in TEXTS.items()
        for index, (kind, body) in enumerate(FENCE.findall(text))
        if kind == language
    ]


def options(command):
    """The long options of a command."""
    return {name for one in COMMANDS[command].params for name in one.opts if name.startswith("--")} - {HELP}


def console_lines():
    """Every line that a reader is told to type, with its page."""
    return [
        (name_of(path), line)
        for path, text in TEXTS.items()
        for kind, body in FENCE.findall(text)
        if kind == "console"
        for line in body.splitlines()
        if line
    ]


def calls():
    """Every `moirai COMMAND ...` that is written in code, with its page."""
    inline = [(name_of(path), code) for path, text in TEXTS.items() for code in re.findall(r"`([^`\n]+)`", text)]
    return [
        (page, *called.groups())
        for page, line in [*console_lines(), *inline]
        if (called := CALL.match(line)) is not None
    ]


def test_documented_commands_exist_with_their_options():
    """What the documents tell a reader to type is accepted by the command line."""
    wrong = [
        f"{page}: moirai {command}{rest}"
        for page, command, rest in calls()
        if command not in COMMANDS or not set(re.findall(r"--[a-z-]+", rest)) <= options(command) | {HELP}
    ]
    assert wrong == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command):
    """A command that README and guides do not show is one that nobody finds; the same holds for its options."""
    shown = "\n".join(GUIDES.values())
    assert any(found == command for _, found, _ in calls())
    assert {name for name in options(command) if f"`{name}`" not in shown} == set()


@pytest.mark.parametrize("name", moirai.__all__)
def test_every_public_name_is_documented(name):
    """The public names of the library are those that the guides explain."""
    assert f"`{name}" in (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def test_documented_make_targets_exist():
    """`make X` in the documents is a target of the Makefile, and every target is documented."""
    code = [*(line for _, line in console_lines()), *re.findall(r"`([^`\n]+)`", "\n".join(TEXTS.values()))]
    named = {found[1] for line in code if (found := re.match(r"(?:\w+=\S+ )*make ([a-z]+)", line))}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named - {"setup"} == targets - {"setup"}  # the others do it first


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", "\n".join(TEXTS.values())))))
def test_documented_modules_run(module):
    """`python -m X` in the documents names a module of ours that can be run."""
    path = ROOT.joinpath(*module.split("."))
    source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert '__name__ == "__main__"' in source.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_relative_links_lead_somewhere(path):
    """Links between files of the repository resolve, pictures included, and so do their anchors."""
    broken = []
    for link in LINK.findall(FENCE.sub("", TEXTS[path])):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_picture_is_shown():
    """A picture that no page shows is out of date without anyone noticing."""
    shown = {(path.parent / link).resolve() for path, text in TEXTS.items() for link in LINK.findall(text)}
    assert set((ROOT / "docs" / "images").iterdir()) - shown == set()


def test_the_file_tree_of_the_readme_names_what_there_is():
    """Every line of the README's file tree is a file or folder."""
    (tree,) = [body for _, body in FENCE.findall(TEXTS[ROOT / "README.md"]) if body.startswith("moirai/ ")]
    folder, missing = ROOT, []
    for line in tree.splitlines():
        name = line.split()[0]
        place = (folder if line.startswith(" ") else ROOT) / name
        folder = folder if line.startswith(" ") else place
        missing += [] if place.exists() else [name]
    assert missing == []


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_no_page_names_a_place_on_somebodys_machine(path):
    """A path of the machine that a page was written on helps no reader."""
    assert MACHINE.findall(TEXTS[path]) == []


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    """A folder in which the demo's warehouse has a forecast."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / ".demo").mkdir()
    hours = pd.date_range("2018-10-01", periods=SNIPPET_ROWS, freq="h")
    forecasts = pd.DataFrame({"item_id": "metro", "target_name": "traffic_volume", "timestamp": hours})
    forecasts["origin"] = hours[0] - pd.Timedelta(hours=1)
    forecasts = forecasts.assign(model_name="metro", model_version="1", mean=5.0, q10=1.0, q50=5.0, q90=9.0)
    with open_warehouse(f"duckdb:///{folder}/.demo/warehouse.duckdb") as warehouse:
        warehouse.upsert_forecasts("metro", forecasts, issued_at=datetime(2018, 10, 1, tzinfo=UTC), run_id="run")
    return folder


@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run_and_print(code, demo_folder, monkeypatch):
    """A snippet that is copied from the documents runs as it stands and shows something."""
    monkeypatch.chdir(demo_folder)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})  # noqa: S102 - that is the test
    assert printed.getvalue().strip()


@pytest.mark.parametrize("sql", blocks("sql"))
def test_sql_snippets_run(sql, demo_folder):
    """A query that is copied from the documents fits the schema of the warehouse."""
    with duckdb.connect(str(demo_folder / ".demo" / "warehouse.duckdb"), read_only=True) as warehouse:
        rows = warehouse.execute(sql).fetchall()
    assert len(rows) == SNIPPET_ROWS if "FROM forecasts" in sql else rows == []


def test_the_model_card_describes_the_weights():
    """Parameters, size and digest in the model card are those of the bundled files."""
    from moirai.hub import load_module, resolve  # noqa: PLC0415 - the import hook of the suite comes first

    card = TEXTS[ROOT / "moirai" / "starter" / "README.md"]
    checkpoint = resolve("starter")
    weights = (checkpoint.folder / "model.safetensors").stat().st_size
    parameters = sum(one.numel() for one in load_module(checkpoint).parameters())
    for fact in (checkpoint.digest, f"{parameters:,} parameters", f"{weights / 1e6:.1f} MB", checkpoint.licence):
        assert fact in card


def test_the_rows_of_the_model_card_are_the_tasks_of_the_evaluation():
    """The score table has a row per task, in order, and marks those of GIFT-Eval."""
    from moirai.evaluation.tasks import TASKS  # noqa: PLC0415 - see above

    card = TEXTS[ROOT / "moirai" / "starter" / "README.md"]
    rows = re.findall(r"^\| `(\w+)`( \*)? \|", card, re.MULTILINE)
    assert rows == [(task.name, " *" if task.gift_eval else "") for task in TASKS]


def test_every_program_that_is_called_is_there():
    """Console blocks call what the environment brings, the shell or `make`."""
    beside = Path(sys.executable).parent
    called = {line.split()[0] for _, line in console_lines()} - {"source", "export", "cd", "git", "make"}
    assert {name for name in called if not (beside / name).exists() and not name.startswith(".venv/")} == set()
