"""The model that MLflow serves, as code: it is stored with each version, beside the checkpoint.

In: a long frame (`item_id`, `timestamp`, `target`; NaN where a value is missing). Out: the forecast
frame of `MoiraiForecast.predict_frame`, value for value. The parameters `horizon`, `quantiles` and
`frequency` default to the job's, which the signature carries. Fails with `DataError` (a series off
its grid) or `ConfigError` (a level the model does not know). It needs `moirai` alone, never
`tasks`; nobody imports it but MLflow.
"""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from moirai import MoiraiForecast


class ServedForecast(PythonModel):
    """A checkpoint behind MLflow's `predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint that was stored with the version."""
        self.model = MoiraiForecast.from_pretrained(
            context.artifacts["checkpoint"], context_length=context.model_config["context"]
        )

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any],
    ) -> pd.DataFrame:
        """Forecast every series of a long frame; MLflow fills in the defaults of `params`."""
        return self.model.predict_frame(
            model_input,
            freq=params["frequency"],
            horizon=int(params["horizon"]),
            levels=[float(level) for level in params["quantiles"]],
        )


mlflow.models.set_model(ServedForecast())
