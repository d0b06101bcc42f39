"""What `import moirai` offers, and what it costs."""

import subprocess
import sys

import pytest

import moirai

HEAVY = ("torch", "numpy", "pandas", "lightning", "gluonts", "huggingface_hub", "safetensors")


def test_import_is_light():
    """Importing the package imports none of the heavy libraries."""
    code = f"import sys, moirai; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", moirai.__all__)
def test_public_names_exist(name):
    """Every name of `__all__` is there, and carries its own name."""
    assert getattr(moirai, name).__name__ == name


def test_dir_lists_public_names():
    """`dir` shows the public names, as completion needs them."""
    assert dir(moirai) == sorted(moirai.__all__)


def test_unknown_name():
    """A name that does not exist is answered with those that do."""
    with pytest.raises(AttributeError, match=r"'Moirai3'; it offers .*MoiraiForecast"):
        _ = moirai.Moirai3
