"""What happens, in which order, on failure what: Prefect flows and the command line over them.

Settings that Prefect, MLflow and Great Expectations read when they are imported are set here, first of all; values that
are already in the environment win.
"""

import logging
import os

for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # a first start took 18 s on a busy machine
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks,moirai",  # what they log is seen in the UI
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # the same functions are also called outside of flows
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}.items():
    os.environ.setdefault(_name, _value)

for _package in ("flows", "tasks", "moirai"):  # Prefect leaves them at the root's level, which is WARNING
    logging.getLogger(_package).setLevel(logging.INFO)
