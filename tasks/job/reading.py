"""A YAML file of settings -> the mapping in it. Fails with `JobError`, which names the file and the mend."""

from pathlib import Path
from typing import Any

import yaml

from tasks.errors import JobError


def read_mapping(file: Path, *, kind: str, mend: str) -> dict[str, Any]:
    """The settings of a file.

    Args:
        file: a YAML file.
        kind: what messages call it.
        mend: where a right one comes from.

    Raises:
        JobError: the file is missing, or no YAML mapping.
    """
    if not file.is_file():
        raise JobError(f"{kind} {file} does not exist; {mend}")
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())  # a YAML error draws a picture
        raise JobError(f"{kind} {file} is not valid YAML: {reason}") from error
    if not isinstance(settings, dict):
        raise JobError(f"{kind} {file} holds no settings; {mend}")
    return settings
