"""List the benchmarks and, given the folder of the data sets, run the comparison of the baselines.

python -m benchmarks [DATA_FOLDER]
"""

import ast
import sys
from pathlib import Path

from benchmarks import baselines

FOLDER = Path(__file__).parent


def scripts() -> dict[str, str]:
    """Module and first line of the docstring of every script in this folder."""
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        source = path.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in source:  # others are read by the scripts
            summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
            found[f"benchmarks.{path.stem}"] = summary
    return found


def main(arguments: list[str]) -> int:
    """Print what there is; with a folder also run the baselines and return their status."""
    for module, summary in scripts().items():
        print(f"python -m {module:24} {summary}")
    if not arguments:
        print("\nGive the folder of the data sets to compare the baselines: python -m benchmarks DATA")
        return 0
    return baselines.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
