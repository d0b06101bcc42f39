"""Which files a source is: a file, a folder, a glob or a list of these -> files in the order of their paths.

In: the job. Out: absolute paths, each once, sorted, whatever order the system lists them in. Fails with `SourceError`
where an entry leads to no file. A folder gives the text and Parquet files that stand in it, not those of folders below;
a glob with ** also goes down. Hidden files are left out of both, and a glob does not find what the job itself wrote.
"""

import glob
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tasks.errors import SourceError
from tasks.job import Job

TABLES = re.compile(r"\.(csv|tsv|tab|txt|parquet|pq)(\.(gz|bz2|xz|zip))?$", re.IGNORECASE)


def list_files(job: Job) -> list[Path]:
    """The files of a job's source.

    Args:
        job: source.path, and the folder that relative paths start at.

    Returns:
        At least one file; two entries that lead to the same one give it once.

    Raises:
        SourceError: an entry leads to no file.
    """
    entries = [job.source.path] if isinstance(job.source.path, str) else list(job.source.path or [])
    if not entries:
        raise SourceError("source.path is an empty list; name at least one file")
    return sorted({path for entry in entries for path in _files_of(entry, job)}, key=str)


def _files_of(entry: str, job: Job) -> list[Path]:
    path = job.resolve(entry)
    try:
        if path.is_dir():
            found = [one for one in path.iterdir() if TABLES.search(one.name) and not one.name.startswith(".")]
            problem = f"source {path} is a folder without CSV, TSV or Parquet files; set source.path"
        elif path.exists() or not glob.has_magic(entry):  # a name may have brackets in it
            found = [path]
            problem = f"source {path} does not exist; set source.path"
        else:
            pattern = str(Path(entry).expanduser())
            names = glob.glob(pattern, root_dir=job.folder, recursive=True)  # noqa: PTH207 - a folder may have brackets
            found = [one for one in map(job.resolve, names) if not one.is_relative_to(job.workspace_path)]
            problem = f"source {path} matches no file; set source.path"
    except PermissionError as error:
        raise SourceError(f"source {path} may not be read; check its permissions") from error
    files = [one for one in found if one.is_file()]
    if not files and path.exists() and not path.is_dir():
        return [path]  # a pipe, say
    if not files:
        raise SourceError(problem)
    return files


def short_names(paths: Sequence[Path], folder: Path) -> list[str]:
    """Names for reports: that of the file where no two share it, otherwise its path from the job's folder."""
    count = Counter(path.name for path in paths)
    inside = [path.relative_to(folder) if path.is_relative_to(folder) else path for path in paths]
    return [path.name if count[path.name] == 1 else one.as_posix() for path, one in zip(paths, inside, strict=True)]
