"""The pipeline's branches of the error tree (the root is `moirai.errors.MoiraiError`).

    MoiraiError
    ├── JobError         the job file: unknown key, wrong type, impossible value, absent secret
    ├── SourceError      the source: missing, unreadable, without the named columns
    ├── ValidationError  critical expectations failed; the text says where the report is
    ├── WarehouseError   the warehouse: locked, unreachable, of another schema
    ├── TrackingError    MLflow: unreachable, no such model, version or alias
    ├── TrainingError    the process of fine-tuning: killed, out of memory
    └── OrchestrationError  Prefect: no server answers, no such deployment, a limit is missing

The command line prints the text of these on one line and exits with 1; other exceptions are defects and keep their
traceback.
"""

from moirai.errors import MoiraiError


class JobError(MoiraiError):
    """The job file cannot be used."""


class SourceError(MoiraiError):
    """The source cannot be read or lacks what the job names."""


class ValidationError(MoiraiError):
    """Critical expectations failed: nothing after validation may run."""


class WarehouseError(MoiraiError):
    """The warehouse cannot be opened, read or written."""


class TrackingError(MoiraiError):
    """MLflow cannot be reached or does not know what was asked for."""


class TrainingError(MoiraiError):
    """The process of fine-tuning was killed or ran out of memory; another run goes on from its last state."""


class OrchestrationError(MoiraiError):
    """Prefect does not answer, or lacks a deployment or a limit that is needed."""
