"""Rules of the house, as tests: where imports point, what files are called, how long they may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["moirai", "tasks", "flows"]
CODE = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
EVERYTHING = sorted([*CODE, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])

MOST_FILE_LINES = 300
MOST_FUNCTION_LINES = 80  # of code: without docstring, comments and blank lines
LONGER_FILES: dict[str, str] = {}
LONGER_FUNCTIONS: dict[str, str] = {}
NAMED_FOR_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "nodes"}
HEAVY = ["lightning", "gluonts", "prefect", "mlflow", "great_expectations", "duckdb", "torch", "pandas"]


def name_of(path):
    """Path inside the repository, for messages."""
    return path.relative_to(ROOT).as_posix()


def run_python(*arguments):
    """A fresh interpreter in the repository."""
    return subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_imports_point_down():
    """The contracts in pyproject.toml hold: flows -> tasks -> moirai, and inside moirai."""
    lint = run_python("-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache")
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_importing_the_library_is_light():
    """`import moirai` loads none of the big libraries: they come when a name is used."""
    code = f"import sys, moirai; print([name for name in {HEAVY} if name in sys.modules])"
    child = run_python("-c", code)
    assert child.stdout.strip() == "[]", child.stdout + child.stderr


def test_importing_the_job_model_is_light():
    """Reading a job file starts neither orchestrator nor tracker nor torch."""
    heavy = [name for name in HEAVY if name != "pandas"]
    code = f"import sys, tasks.job; print([name for name in {heavy} if name in sys.modules])"
    child = run_python("-c", code)
    assert child.stdout.strip() == "[]", child.stdout + child.stderr


def test_public_names():
    """The names that users of the library rely on exist, all of them, and nothing else is promised."""
    import moirai  # noqa: PLC0415 - late, as a user's first access

    assert moirai.__all__ == [
        "Moirai2Config",
        "Moirai2Module",
        "MoiraiConfig",
        "MoiraiError",
        "MoiraiFinetuneModule",
        "MoiraiForecast",
        "MoiraiMoEConfig",
        "MoiraiMoEModule",
        "MoiraiModule",
    ]
    assert all(getattr(moirai, name).__name__ == name for name in moirai.__all__)
    assert (ROOT / "moirai" / "py.typed").exists()


def test_unknown_public_name_says_what_there_is():
    """A wrong name is answered with the right ones."""
    import moirai  # noqa: PLC0415 - late, as a user's first access

    with pytest.raises(AttributeError, match="MoiraiForecast"):
        _ = moirai.MoiraiForecaster


def test_tests_are_no_package():
    """tests/moirai/__init__.py would shadow moirai itself."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_no_package_shadows_a_library():
    """A folder like docker/ with an __init__.py would hide the library of that name."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {*PACKAGES, "benchmarks"}


def test_files_are_named_for_what_they_know():
    """No file is called utils, helpers or common."""
    assert [name_of(path) for path in EVERYTHING if path.stem in NAMED_FOR_NOTHING] == []


@pytest.mark.parametrize("path", [path for path in CODE if path.parts[len(ROOT.parts)] == "moirai"], ids=name_of)
def test_annotations_are_real(path):
    """The tests run the library's annotations, which strings would hide from them."""
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8")


def test_files_are_short():
    """A file has one purpose and fits in a head; each exception has a reason and is still needed."""
    longer = {name_of(path) for path in CODE if path.read_text().count("\n") > MOST_FILE_LINES}
    assert longer == set(LONGER_FILES)


def test_functions_are_short():
    """A reader sees a whole function at once."""
    longer = {
        f"{name_of(path)}:{node.name}"
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > MOST_FUNCTION_LINES
    }
    assert longer == set(LONGER_FUNCTIONS)


def code_lines(function):
    """Lines of a function that hold code: those a statement or expression begins or ends on."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    nodes = [node for part in body for node in ast.walk(part) if hasattr(node, "lineno")]
    return len({line for node in nodes for line in (node.lineno, node.end_lineno)})
