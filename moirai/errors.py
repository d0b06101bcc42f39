"""The error tree. Every error a user can cause derives from `MoiraiError`.

    MoiraiError          one sentence for a person: what is wrong, where, and the mend
    ├── ConfigError      an architecture or setting that cannot work
    ├── CheckpointError  weights that cannot be found, read or used
    └── DataError        series, frames or files whose content is wrong

The pipeline adds its own branches in `tasks/errors.py`. Anything else that is raised is a defect of
ours.
"""


class MoiraiError(Exception):
    """Base of every error that a caller can mend; its text says how."""


class ConfigError(MoiraiError, ValueError):
    """An architecture, option or combination of both that cannot work."""


class CheckpointError(MoiraiError):
    """Weights that cannot be found, read or used."""


class DataError(MoiraiError, ValueError):
    """Data whose content does not allow what was asked."""
