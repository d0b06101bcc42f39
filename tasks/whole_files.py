"""Files and folders that are there whole or not at all, also when two runs make the same one at once.

In: where the result belongs. Out: a place of the run's own to make it in, moved to where it belongs at the end. The
names of results say their ingredients, so whoever comes second has made the same: the first one stays, the second is
dropped.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(folder: Path, *, mark: str) -> Iterator[Path]:
    """A fresh folder to fill; it becomes `folder` when the block ends well, and goes when it fails.

    Args:
        folder: where the result belongs; its parent is made when missing.
        mark: a file that a whole result holds; a folder without it is a ruin and is replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield made
        made.chmod(0o755)  # a temporary folder is for its owner alone
        if folder.is_dir() and not (folder / mark).is_file():
            shutil.rmtree(folder)
        try:
            made.rename(folder)
        except OSError:
            if not (folder / mark).is_file():  # not because another run was first
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` when the block ends well, and goes when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        yield made
        made.replace(path)
