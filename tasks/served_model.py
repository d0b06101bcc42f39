"""The model that MLflow serves, as code: it is stored with each version, beside the checkpoint.

In: a long frame (`item_id`, `timestamp`, `target`; NaN where a value is missing). Out: the forecast frame of
`MoiraiForecast.predict_frame`, value for value. The parameters `horizon`, `quantiles` and `frequency` default to the
job's, which the signature carries. Fails with `DataError` (a series off its grid, a known covariate without a value in
the horizon) or `ConfigError` (a level the model does not know, a horizon beyond what it sees of known covariates).

A version that was fine-tuned with covariates takes their columns as well, under their own names: numbers, or the names
of a categorical one. With known covariates the frame goes on into the horizon: behind the last target of every series
stand rows with the known values and without target, one for each step of the job's horizon, also where fewer are asked
for. Rows without target at the end of a series are the horizon there; in other versions they are missing values. Static
columns are no input.

It needs `moirai` alone, never `tasks`; nobody imports it but MLflow.
"""

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from moirai import MoiraiForecast
from moirai.forecasting.covariates import CovariateEncoding
from moirai.forecasting.frame import split_horizon


class ServedForecast(PythonModel):
    """A checkpoint behind MLflow's `predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint that was stored with the version."""
        self.model = MoiraiForecast.from_pretrained(context.artifacts["checkpoint"], **context.model_config)
        self.encoding = CovariateEncoding.read(context.artifacts["checkpoint"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any],
    ) -> pd.DataFrame:
        """Forecast every series of a long frame; MLflow fills in the defaults of `params`."""
        history, future = model_input, None
        if self.encoding is not None and self.encoding.known:
            history, future = split_horizon(model_input)
        return self.model.predict_frame(
            history,
            future=future,
            encoding=self.encoding,
            freq=params["frequency"],
            horizon=int(params["horizon"]),
            levels=[float(level) for level in params["quantiles"]],
        )


mlflow.models.set_model(ServedForecast())
