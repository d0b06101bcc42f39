"""What is wrong with a job file, in words: each setting, its value, and what it should be."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Every problem on one line: setting, problem, value and what the setting means.

    Args:
        error: what pydantic found.
        model: the model that was checked; its descriptions are the mends.
    """
    lines = []
    for problem in error.errors():
        location, message = problem["loc"], problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown setting; known here: {', '.join(_settings(model, location[:-1]))}"
        elif problem["type"] != "value_error":
            message = message.replace("dictionary or instance of", "block of settings, see")
            message += "" if problem["type"] == "missing" else f" (it is {problem['input']!r})"
            message += _meaning(model, location)
        setting = ".".join(str(part) for part in location)
        lines.append(f"{setting}: {message}" if setting else message)
    return "; ".join(lines)


def _meaning(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """What the setting at a place means, as the tail of a message."""
    names = [part for part in location if isinstance(part, str)]
    field = _settings(model, tuple(names[:-1])).get(names[-1]) if names else None
    return f" - {field.description}" if field and field.description else ""


def _settings(model: type[BaseModel], location: tuple[int | str, ...]) -> Mapping[str, FieldInfo]:
    """The settings of the block at a place in the job file; none where there is no block."""
    kind: Any = model
    for part in location:
        fields = getattr(kind, "model_fields", {})
        kind = fields[part].annotation if part in fields else kind
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        if get_origin(kind) is UnionType:  # a block that may be absent
            kind = get_args(kind)[0]
    return getattr(kind, "model_fields", {})
