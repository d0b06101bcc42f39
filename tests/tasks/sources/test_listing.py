"""Listing: which files a path, folder, glob or list is, and in what order."""

import os

import pytest

from tasks.errors import SourceError
from tasks.sources.listing import list_files, short_names

from .sold import make_job


@pytest.fixture
def folder(tmp_path):
    """Files of every kind, made in no particular order."""
    for name in [
        "data/b.parquet",
        "data/a.csv",
        "data/c.TSV.gz",
        "data/notes.md",
        "data/.hidden.csv",
        "data/below/z.csv",
        "data/d [old].csv",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def names(folder, path):
    """The files of a path, relative to the folder of the job."""
    return [file.relative_to(folder).as_posix() for file in list_files(make_job(folder, path))]


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("data/a.csv", ["data/a.csv"]),
        ("data/notes.md", ["data/notes.md"]),
        ("data", ["data/a.csv", "data/b.parquet", "data/c.TSV.gz", "data/d [old].csv"]),
        ("data/*.csv", ["data/a.csv", "data/d [old].csv"]),
        ("data/**/*.csv", ["data/a.csv", "data/below/z.csv", "data/d [old].csv"]),
        ("data/d [old].csv", ["data/d [old].csv"]),
        (["data/below", "data/b.parquet", "data/a.csv"], ["data/a.csv", "data/b.parquet", "data/below/z.csv"]),
        (["data/a.csv", "data/*.csv", "./data/a.csv"], ["data/a.csv", "data/d [old].csv"]),
    ],
)
def test_what_a_path_is(folder, path, files):
    """A file is itself; folders and globs give what is in them but hidden files; each once, by name."""
    assert names(folder, path) == files


def test_a_folder_with_brackets_in_its_name(tmp_path):
    """Only source.path is a pattern, not the folder that the job file happens to lie in."""
    inside = tmp_path / "job [1]"
    inside.mkdir()
    (inside / "a.csv").write_text("")
    assert names(inside, "*.csv") == ["a.csv"]


def test_absolute_patterns(folder):
    """A pattern may start at the root."""
    assert names(folder, f"{folder}/data/a*") == ["data/a.csv"]


def test_a_glob_does_not_find_the_panels_of_the_job(folder):
    """A pattern wide enough for the job's workspace does not feed the job with its own results."""
    (folder / "moirai-work/panels").mkdir(parents=True)
    (folder / "moirai-work/panels/raw-0.parquet").write_text("")
    assert names(folder, "**/*.parquet") == ["data/b.parquet"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.csv", r"source .*absent.csv does not exist; set source.path"),
        ("data/*.xlsx", r"source .*data/\*.xlsx matches no file; set source.path"),
        ("empty", r"source .*empty is a folder without CSV, TSV or Parquet files"),
        (["data/a.csv", "absent.csv"], r"source .*absent.csv does not exist"),
        ([], "source.path is an empty list"),
    ],
)
def test_paths_that_lead_nowhere(folder, path, message):
    """An entry that leads to no file is named, also in a list where others do."""
    (folder / "empty").mkdir()
    with pytest.raises(SourceError, match=message):
        list_files(make_job(folder, path))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_forbidden_folder(folder):
    """A folder that may not be read is not the same as an empty one."""
    (folder / "data").chmod(0)
    try:
        with pytest.raises(SourceError, match="may not be read; check its permissions"):
            list_files(make_job(folder, "data"))
    finally:
        (folder / "data").chmod(0o755)


def test_files_of_one_name_are_told_apart(folder):
    """In reports a file is called by its name, and by its path where several bear it."""
    (folder / "data/below/a.csv").write_text("")
    paths = list_files(make_job(folder, ["data/a.csv", "data/below"]))
    assert short_names(paths, folder) == ["data/a.csv", "data/below/a.csv", "z.csv"]
