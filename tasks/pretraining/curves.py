"""The MLflow run of a pretraining: settings at its start, curves while it trains, how it ended.

In: the pretraining, points of its curve. Out: the id of the run. Fails with `TrackingError` at the start, see
`tasks/mlflow_store.py`; a store that refuses or does not answer later costs a warning and is tried again with the next
points: hours of training do not end for it, and `log.jsonl` beside the states holds every point. What goes on from a
state goes on with its run.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import TrackingError
from tasks.experiment import NOTE, described_experiment
from tasks.mlflow_store import connect, explained, tracking_place
from tasks.pretraining.pretraining import Pretraining
from tasks.secrets import redacted
from tasks.tracking import log_values, own_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from moirai.training.pretrain_callbacks import LogPoint

RUN_ID_FILE = "mlflow.json"  # beside the states: the run, and the store it is in
LONGEST_ENDING = 500  # characters
SEND_EVERY = 10.0  # seconds: a call for every point would take longer than the steps between two

logger = logging.getLogger(__name__)


class Curves:
    """Sends points to a run, some seconds' worth at a time."""

    def __init__(self, settings: Pretraining, client: "MlflowClient", run_id: str) -> None:
        self.settings, self.client, self.run_id = settings, client, run_id
        self._waiting: list[dict[str, float]] = []
        self._sent = time.monotonic()

    def add(self, point: "LogPoint") -> None:
        """Take a point; send what waits where it is time."""
        self._waiting.append(dict(vars(point)))
        if time.monotonic() - self._sent > SEND_EVERY:
            self.send()

    def send(self) -> None:
        """Send what waits; where that fails it goes on waiting."""
        self._sent = time.monotonic()
        names = [name for name in (self._waiting or [{}])[0] if name != "step"]
        series = {name: [(int(point["step"]), point[name]) for point in self._waiting] for name in names}
        try:
            with explained(self.settings):
                log_values(self.client, self.run_id, params={}, metrics={}, series=series)
        except TrackingError as error:
            logger.warning("%s; the curves are sent again later", error)
        else:
            self._waiting.clear()

    def end(self, status: str, tags: Mapping[str, str]) -> None:
        """Send the rest and close the run."""
        self.send()
        try:
            with explained(self.settings):
                for name, value in tags.items():
                    self.client.set_tag(self.run_id, name, value)
                self.client.set_terminated(self.run_id, status=status)
        except TrackingError as error:
            logger.warning("%s; the run %s stays open there", error, self.run_id)


@contextmanager
def tracked(settings: Pretraining) -> Iterator[Curves]:
    """Open the pretraining's run; it is FAILED where the block fails, otherwise the block ends it.

    Raises:
        TrackingError: the store cannot be used.
    """
    experiment = described_experiment(settings, _description(settings))
    client = connect(settings)
    with explained(settings):
        run_id = _earlier(settings, client) or _new(settings, client, experiment)
    curves = Curves(settings, client, run_id)
    try:
        yield curves
    except BaseException as error:
        curves.end("FAILED" if isinstance(error, Exception) else "KILLED", {"ended": str(error)[:LONGEST_ENDING]})
        raise


def _earlier(settings: Pretraining, client: "MlflowClient") -> str | None:
    """The run of the states that stand there, open again; None: there is none."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see `connect`

    mark = _mark(settings)
    if not mark.is_file():
        return None
    known = json.loads(mark.read_text(encoding="utf-8"))
    if known.get("tracking") != tracking_place(settings):
        return None
    try:
        if client.get_run(known["run_id"]).info.lifecycle_stage != "active":
            return None
        client.update_run(known["run_id"], status="RUNNING")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return str(known["run_id"])


def _new(settings: Pretraining, client: "MlflowClient", experiment: str) -> str:
    tags = {
        "stage": "pretrain",
        "package_version": own_version(),
        "mlflow.source.name": "moirai pretrain",
        "mlflow.source.type": "JOB",
        NOTE: _description(settings),
    }
    run = client.create_run(experiment, run_name=f"{settings.name} pretrain", tags=tags)
    run_id = str(run.info.run_id)
    log_values(client, run_id, params=_flat(_told(settings)), metrics={}, series={})
    mark = _mark(settings)
    mark.parent.mkdir(parents=True, exist_ok=True)
    content = {"run_id": run_id, "tracking": tracking_place(settings)}
    mark.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return run_id


def _mark(settings: Pretraining) -> Path:
    return settings.state_path / RUN_ID_FILE


def _description(settings: Pretraining) -> str:
    kinds = ", ".join(f"{one.kind} ({one.weight:g})" for one in settings.data.sources)
    sizes = settings.architecture
    return (
        f"Pretraining of `{settings.name}`: {sizes.family}, {sizes.num_layers} layers of width {sizes.d_model}, for "
        f"{settings.run.steps:,} steps, on {kinds}."
    )


def _told(settings: Pretraining) -> dict[str, Any]:
    told = settings.model_dump(mode="json")
    return told | {"tracking": redacted(settings.tracking)}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {f"{prefix}{name}": value}
    return flat
