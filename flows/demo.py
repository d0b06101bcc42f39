"""`make demo`: the whole pipeline on real, dirty data, into the folder `.demo`.

The example job and its data are copied there, so that everything it makes lies in one place and can be deleted with it.
"""

import os
import shutil
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "deployments" / "examples" / "metro_traffic"
FOLDER = Path(".demo")


def main() -> None:
    """Copy the example and run the pipeline on it."""
    FOLDER.mkdir(exist_ok=True)
    for file in EXAMPLE.iterdir():
        shutil.copy(file, FOLDER / file.name)
    os.environ.setdefault("PREFECT_HOME", str((FOLDER / "prefect").resolve()))
    from flows.cli import main as moirai  # noqa: PLC0415 - Prefect reads its home when it is imported

    moirai(["pipeline", str(FOLDER / "job.yaml")])


if __name__ == "__main__":
    main()
