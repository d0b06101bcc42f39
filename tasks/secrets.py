"""Secrets in settings: where a URL needs one, the job file names it and something else keeps it.

`${NAME}` stands for the environment variable NAME, `${block:NAME}` for the Prefect Secret block NAME. The text with
these references is what is hashed, stored, shown and passed on; `reveal` fills it in at the moment a connection is
made, and what it returns goes to the driver and nowhere else.

In: the text of a setting. Out: text. `checked` fails with `ValueError`, for use in the models of the job file; `reveal`
fails with `SecretError`, which names setting and reference, never a value.
"""

import os
import re
from typing import Any
from urllib.parse import quote

from tasks.errors import JobError

REFERENCE = re.compile(r"\$\{(block:)?([^{}]*)\}")
ONE_REFERENCE = r"\$\{[^{}/@\s]*\}"
NAMES = {"": re.compile(r"[A-Za-z_]\w*"), "block:": re.compile(r"[a-z0-9][a-z0-9-]*")}
USER = re.compile(r"(?<=://)[^/?#\s]+@")  # name and password of a URL
REFERS = re.compile(rf"(?:{ONE_REFERENCE}|[^:@$]*:{ONE_REFERENCE}|{ONE_REFERENCE}:{ONE_REFERENCE})@")
PARAMETER = re.compile(
    rf"(?<=[?&])((?:\w*password|\w*token|\w*secret)=)(?!{ONE_REFERENCE}(?:[&#\s]|$))[^&#\s]+", re.IGNORECASE
)


class SecretError(JobError):
    """A secret that a setting refers to is not there."""


def checked(text: str) -> str:
    """A text without a password of its own, whose references can be read.

    Raises:
        ValueError: it has a password, or a `${…}` that names neither a variable nor a block.
    """
    for kind, name in REFERENCE.findall(text):
        if not NAMES[kind].fullmatch(name):
            msg = f"${{{kind}{name}}} names no secret; write ${{NAME}} (environment) or ${{block:NAME}} (Prefect)"
            raise ValueError(msg)
    if any(_is_secret(user) for user in USER.finditer(text)) or PARAMETER.search(text):
        msg = "a password does not belong into a file; write ${NAME} in its place and set the environment variable"
        raise ValueError(msg)
    return text


def reveal(text: str, setting: str) -> str:
    """A text with its references filled in; for a driver, never for people.

    A value that stands for user or password of a URL, or for a parameter, is encoded: signs in it cannot read as parts
    of the URL. Anywhere else, also as the whole text, it is taken as it is.

    Args:
        text: of the job file.
        setting: that has it, for errors.

    Raises:
        SecretError: a variable is not set, a block does not exist or holds no text.
    """
    user = USER.search(text)

    def filled(found: re.Match[str]) -> str:
        value = _block(found[2], setting) if found[1] else _variable(found[2], setting)
        is_user = user is not None and user.start() <= found.start() < user.end()
        is_parameter = "?" in text[: found.start()] and text[found.start() - 1] == "="
        return quote(value, safe="") if is_user or is_parameter else value

    return REFERENCE.sub(filled, text)


def redacted(text: str) -> str:
    """A text whose URLs have lost user and password where the password stands there; references and users stay."""
    return PARAMETER.sub(r"\1***", USER.sub(lambda user: "" if _is_secret(user) else user[0], text))


def _is_secret(user: re.Match[str]) -> bool:
    """Whether the part of a URL before the host has a password, or a token in place of both."""
    is_token = ":" not in user[0] and user.string[: user.start()].endswith(("http://", "https://"))
    has_password = user[0].partition(":")[2] not in {"", "@"}
    return (is_token or has_password) and REFERS.fullmatch(user[0]) is None


def _variable(name: str, setting: str) -> str:
    if name not in os.environ:
        raise SecretError(f"{setting} needs the environment variable {name}, which is not set; set it")
    return os.environ[name]


def _block(name: str, setting: str) -> str:
    from httpx import HTTPError  # noqa: PLC0415 - see below
    from prefect.blocks.system import Secret  # noqa: PLC0415 - takes a second, and few jobs have one

    load: Any = Secret.load
    try:
        value = load(name, _sync=True).get()
    except ValueError as error:
        mend = "make it in Prefect's UI under Blocks"
        raise SecretError(f"{setting} needs the Prefect Secret block {name!r}, which does not exist; {mend}") from error
    except HTTPError as error:
        problem = "but Prefect does not answer; check PREFECT_API_URL and whether the server runs"
        raise SecretError(f"{setting} needs the Prefect Secret block {name!r}, {problem}") from error
    if not isinstance(value, str):
        raise SecretError(f"{setting}: the Prefect Secret block {name!r} holds no text; store the secret as one")
    return value
