"""What the tests of the fine-tuning process share: a job that trains long enough to be killed, and its processes."""

from pathlib import Path

import pytest


@pytest.fixture
def long_job(small_job):
    """A job whose training has time to be killed in its middle."""
    return small_job(
        finetune={"max_steps": 12, "batch_size": 4, "validate_every": 2, "validation_windows": 2, "patience": 99}
    )


@pytest.fixture
def processes():
    """Process ids of the fine-tunings that work in a folder."""

    def find(folder):
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = entry.read_bytes().decode(errors="replace")
            except OSError:  # it has just ended
                continue
            if "tasks.training.child" in command and str(folder) in command:
                found.append(int(entry.parent.name))
        return found

    return find
