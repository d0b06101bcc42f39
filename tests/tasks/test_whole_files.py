"""Results are whole or absent, and two runs that make the same one do not harm each other."""

import pytest

from tasks.whole_files import whole_file, whole_folder


def fill(folder, text):
    """A whole result with some content."""
    (folder / "data").write_text(text)
    (folder / "mark").write_text("done")


def test_a_folder_appears_whole(tmp_path):
    """Nothing stands where the result belongs until it is complete; no scratch folder stays."""
    target = tmp_path / "made" / "result"
    with whole_folder(target, mark="mark") as made:
        fill(made, "first")
        assert not target.exists()
    assert (target / "data").read_text() == "first"
    assert [one.name for one in target.parent.iterdir()] == ["result"]


def test_the_first_of_two_runs_stays_and_the_second_is_no_error(tmp_path):
    """Two that overlap both end well, whichever comes first."""
    target = tmp_path / "result"
    with whole_folder(target, mark="mark") as slow:
        fill(slow, "slow")
        with whole_folder(target, mark="mark") as fast:
            fill(fast, "fast")
    assert (target / "data").read_text() == "fast"
    assert [one.name for one in tmp_path.iterdir()] == ["result"]


def test_a_ruin_is_replaced(tmp_path):
    """A folder without its mark is no result."""
    target = tmp_path / "result"
    target.mkdir()
    (target / "data").write_text("half")
    with whole_folder(target, mark="mark") as made:
        fill(made, "whole")
    assert (target / "data").read_text() == "whole"


def test_a_failure_leaves_what_was_there(tmp_path):
    """An interrupted write changes neither folder nor file, and leaves no scratch."""
    (tmp_path / "file.txt").write_text("before")

    def fail_in_a_folder():
        with whole_folder(tmp_path / "result", mark="mark") as made:
            fill(made, "new")
            raise RuntimeError

    def fail_in_a_file():
        with whole_file(tmp_path / "file.txt") as path:
            path.write_text("half")
            raise RuntimeError

    for failing in (fail_in_a_folder, fail_in_a_file):
        with pytest.raises(RuntimeError):
            failing()
    assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "before"
