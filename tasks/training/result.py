"""The record of a fine-tuned checkpoint: how it came about and what it scored."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from moirai.forecasting.covariates import CovariateEncoding
from tasks.model_reference import ModelRef
from tasks.panel import Moment
from tasks.training.scores import FINE_TUNED, ZERO_SHOT, HeldOutScores, written

NAMES = {ZERO_SHOT: "zero-shot", FINE_TUNED: "fine-tuned"}  # for people; a baseline keeps its own


class TrainResult(BaseModel):
    """A fine-tuned checkpoint and how it came about."""

    model_config = ConfigDict(frozen=True)

    folder: str
    training_key: str
    base: ModelRef
    curve_path: str  # step, train_loss, validation_loss
    best_step: int  # 0: the base was not beaten and its weights were kept
    steps: int
    zero_shot_loss: float  # weighted quantile loss of the held-out windows before the first step
    best_loss: float
    settings: dict[str, str | int | float]  # how it was trained, what the series decided included
    derived: list[str]  # which of them the series decided
    trained_share: float  # of the parameters
    held_out: HeldOutScores  # on the windows that training held out: zero-shot, fine-tuned, seasonal naive
    scored_by: str  # digest of the settings that decided how they were forecast
    reused: bool  # an earlier run had made it
    encoding: CovariateEncoding | None = None  # the covariates it was trained with
    trained_until: Moment | None = None  # last time stamp that training may have seen; None: an older record

    @property
    def registration(self) -> dict[str, Any]:
        """What the registry keeps of a training."""
        return {
            "folder": Path(self.folder),
            "training_key": self.training_key,
            "base": self.base,
            "metrics": self.metrics,
            "trained_until": self.trained_until,
        }

    @property
    def metrics(self) -> dict[str, float]:
        """Figures worth comparing between trainings."""
        return {
            "validation_wql_zero_shot": self.zero_shot_loss,
            "validation_wql": self.best_loss,
            "best_step": float(self.best_step),
            "trained_share": self.trained_share,
        } | {
            f"held_out/{model}/{name}": value
            for model, found in self.held_out.items()
            for name, value in found.items()
            if value is not None
        }

    @property
    def held_out_rows(self) -> list[dict[str, Any]]:
        """The scores of the held-out windows as a table: before, after, seasonal naive."""
        return [{"model": NAMES.get(model, model), **found} for model, found in self.held_out.items()]

    @property
    def told(self) -> dict[str, str]:
        """How it was trained, and which of it was derived."""
        return {
            name: f"{value} (derived)" if name in self.derived else str(value) for name, value in self.settings.items()
        } | {"trained": f"{100 * self.trained_share:.3g} % of the weights"}

    def sentence(self) -> str:
        """What fine-tuning brought, in words."""
        rows = [f"{row['model']} {written(row['wql'], 4)} / {written(row['mase'], 3)}" for row in self.held_out_rows]
        kept = f"best step {self.best_step} of {self.steps}" if self.best_step else "no step was better than the base"
        return f"WQL / MASE of the held-out windows: {', '.join(rows)} ({kept})"
