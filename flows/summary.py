"""What a flow hands back: small facts for the terminal, for `--json` and for the report."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from flows.prepare import Prepared
from flows.run import Run
from tasks.backtest import BacktestResult
from tasks.forecast import ForecastRef
from tasks.mlflow_store import SQLITE, tracking_place
from tasks.model_reference import ModelRef
from tasks.promotion.decision import Decision
from tasks.report import ReportInputs
from tasks.tracking import Attempt
from tasks.train import TrainResult
from tasks.warehouse import warehouse_place

NEXT_STEPS = 3  # commands that a finished run proposes


class Summary(BaseModel):
    """Outcome of one flow run."""

    model_config = ConfigDict(frozen=True)

    job: str
    flow: str
    run_id: str
    as_of: str
    panel_digest: str
    findings: list[str]  # failed checks and changes, one sentence each
    rows: dict[str, int]  # written, per table of the warehouse
    scores: dict[str, dict[str, float]]  # model -> metric -> value
    model: str | None  # name and version that forecast or were registered
    validation_loss: tuple[float, float] | None  # before and after fine-tuning
    held_out: list[dict[str, Any]]  # scores of the windows held out of training: before, after, seasonal naive
    training: dict[str, str]  # how the training was done, with what the series decided
    decision: str | None = None  # what became of the new version, and why
    places: dict[str, str]  # what lies where
    next_steps: list[str]  # commands


class Outcome:
    """What a run has made so far; the source of its report and of its summary."""

    def __init__(
        self,
        run: Run,
        data: Prepared,
        attempt: Attempt,
        *,
        trained: TrainResult | None = None,
        model: ModelRef | None = None,
        tested: BacktestResult | None = None,
        forecasts: ForecastRef | None = None,
        tracked: str | None = None,
        decision: Decision | None = None,
    ) -> None:
        self.run, self.data, self.attempt, self.tracked, self.decision = run, data, attempt, tracked, decision
        self.trained, self.model, self.tested, self.forecasts = trained, model, tested, forecasts

    def report_inputs(self) -> ReportInputs:
        """What the report is made of."""
        data, trained, tested, forecasts = self.data, self.trained, self.tested, self.forecasts
        return ReportInputs(
            job=self.run.job,
            flow=self.run.flow,
            facts=self._facts(),
            findings=self.attempt.findings,
            panel=data.panel,
            backtest_folder=tested.folder if tested else None,
            candidate=tested.label(self.model) if tested and self.model else None,
            forecast_path=forecasts.path if forecasts else None,
            loss_path=trained.curve_path if trained else None,
            training=trained.told if trained else {},
            held_out=trained.held_out_rows if trained else [],
            next_steps=[f"`{command}`" for command in self._next_steps()],
            seen=self._seen,
        )

    def summary(self, report: str) -> Summary:
        """What the flow returns."""
        run, trained, found = self.run, self.trained, self.attempt.findings
        return Summary(
            job=run.job.name,
            flow=run.flow,
            run_id=run.run_id,
            as_of=str(run.as_of),
            panel_digest=self.data.panel.digest,
            findings=[one.message for one in found.failed] + [one.message for one in found.changes] + self._seen,
            rows=run.rows,
            scores=self.tested.scores if self.tested else {},
            model=f"{self.model.name} version {self.model.version}" if self.model else None,
            validation_loss=(trained.zero_shot_loss, trained.best_loss) if trained else None,
            held_out=trained.held_out_rows if trained else [],
            training=trained.told if trained else {},
            decision=f"{self.decision.headline}: {self.decision.reason}" if self.decision else None,
            places={
                "report": report,
                "warehouse": warehouse_place(run.job),
                "tracking": tracking_place(run.job),
                "workspace": str(run.job.workspace_path),
            },
            next_steps=self._next_steps(),
        )

    @property
    def _seen(self) -> list[str]:
        """What the scored models may have seen of the windows, a sentence each."""
        return [one.sentence() for one in self.tested.seen] if self.tested else []

    def _facts(self) -> dict[str, str]:
        run, model = self.run, self.model
        facts = {
            "Run": f"{run.flow} {run.run_id}",
            "Started": f"{run.started_at:%Y-%m-%d %H:%M} UTC",
            "Stands at": str(run.as_of),
        }
        columns = run.job.columns
        roles = {"Known in advance": columns.known, "Known up to the origin": columns.past, "Static": columns.static}
        facts |= {role: ", ".join(names) for role, names in roles.items() if names}
        if model:
            facts["Model"] = f"{model.name} version {model.version}"
            facts["Licence"] = model.licence
            if columns.covariates and model.encoding is None:
                facts["Covariates"] = f"not shown to {model.name}, which was trained without any; fine-tune to use them"
        if self.trained:
            facts["Fine-tuned from"] = f"{self.trained.base.name} version {self.trained.base.version}"
        if self.decision:
            facts["Promotion"] = self.decision.headline
        if self.tracked:
            facts["MLflow run"] = self.tracked
        return facts

    def _next_steps(self) -> list[str]:
        file, tracking = self.run.job_file, tracking_place(self.run.job)
        commands = {
            "forecast": f"{_program('moirai')} forecast {file}",
            "backtest": f"{_program('moirai')} backtest {file}",
            "mlflow": f"{_program('mlflow')} ui --backend-store-uri {tracking}",
            "pipeline": f"{_program('moirai')} pipeline {file}",
        }
        if not tracking.startswith(SQLITE):  # a server shows its pages itself
            del commands["mlflow"]
        return [command for name, command in commands.items() if name != self.run.flow][:NEXT_STEPS]


def _program(name: str) -> str:
    """How a program of this environment is called from here: by its path where it is not on the search path."""
    beside = Path(sys.executable).parent / name
    if shutil.which(name) or not beside.is_file():
        return name
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)
