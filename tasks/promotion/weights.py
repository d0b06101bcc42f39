"""The settings of a job that trained weights depend on, as a version keeps them.

In: a job; the tags of a version. Out: tags; and which settings the job has changed since. Nothing here fails: a version
without such tags was made before there were any, and has no known difference.

Not among them: where the data lie and where things go, what is only checked or forecast, and the windows of the
backtest. Those decide until when a training saw, which a version keeps as a moment (`trained_until`).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tasks.job import Job

HASH, SETTINGS = "settings_hash", "settings"  # tags of a version
LONGEST = 8000  # characters of the settings; longer ones are kept by their hash alone
BLOCKS = {"columns", "frequency", "horizon", "context", "transform"}
OF_SOURCE = {"layout", "series_columns", "start", "timezone", "to_timezone", "ambiguous", "nonexistent"}
OF_FINETUNE = {"accelerator", "devices"}  # left out: where a training runs
OF_COLUMNS = {"timestamp", "static", "checked"}  # left out: a name, and what no model sees
ABSENT = "not set"


def weight_settings(job: Job) -> dict[str, Any]:
    """The settings that decide what is trained and how, by dotted name."""
    kept = job.model_dump(
        mode="json",
        include={
            **dict.fromkeys(BLOCKS, True),
            "source": OF_SOURCE,
            "finetune": True,
        },
        exclude={"finetune": OF_FINETUNE, "columns": OF_COLUMNS},
    )
    shown = {*job.columns.target, *job.columns.covariates}
    ranges = {
        name: found.model_dump(exclude_none=True) for name, found in job.validation.ranges.items() if name in shown
    }
    return _flat(kept | {"validation": {"ranges": ranges}})


def settings_tags(job: Job) -> dict[str, str]:
    """What a version keeps of them: a hash, and where it is short enough the settings as JSON."""
    text = json.dumps(weight_settings(job), sort_keys=True, ensure_ascii=False)
    tags = {HASH: hashlib.sha256(text.encode()).hexdigest()[:12]}
    return tags | ({SETTINGS: text} if len(text) <= LONGEST else {})


def changed_settings(tags: Mapping[str, str], job: Job) -> list[str]:
    """What a job says otherwise than when a version was trained, a phrase each: `horizon (was 24, is 48)`.

    Args:
        tags: those of the version.
        job: as it is now.
    """
    now = settings_tags(job)
    if HASH not in tags or tags[HASH] == now[HASH]:
        return []
    if SETTINGS not in tags or SETTINGS not in now:
        return ["settings too long to be kept, of which only the hash is known"]
    was, is_now = json.loads(tags[SETTINGS]), weight_settings(job)
    known = dict.fromkeys([*was, *is_now])
    return [
        f"{name} (was {_told(was.get(name, ABSENT))}, is {_told(is_now.get(name, ABSENT))})"
        for name in known
        if was.get(name, ABSENT) != is_now.get(name, ABSENT) and not _is_new_setting(name, was, is_now)
    ]


def _is_new_setting(name: str, was: Mapping[str, Any], is_now: Mapping[str, Any]) -> bool:
    """Whether an older release of this package did not have a setting: the block is there, its name is not."""
    block = name.rpartition(".")[0]
    fixed = block in {"transform", "finetune", "source"}  # blocks whose names the package decides
    return fixed and name not in was and name in is_now


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
