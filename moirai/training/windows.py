"""Fine-tuning windows: random stretches of real series as packed tokens, one sample to a row.

In: series up to the end of the training span, with their covariates where there are any. Out: batches, each a function
of the seed and its number, so that a run can go on from any step and several processes can share one. A window ends
anywhere; its last part is predicted, the part before gives the statistics. Where a series begins inside the window the
row starts with padding, laid out as in forecasting. Fails with `DataError`: no series is long enough, or one holds
infinite values.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch.utils.data import Dataset

from moirai.errors import DataError
from moirai.forecasting.imputation import causal_mean, zero
from moirai.training.batch import TrainingBatch
from moirai.training.window_layout import Windows, WindowShape, causal_tokens, masked_tokens


class WindowSampler(Dataset):
    """Endless batches of random windows, by their number.

    Args:
        series: values of the training span, NaN where missing; those without any window are left out.
        shape: size of the windows.
        batch_size: windows in a batch.
        seed: of all batches.
        is_causal: whether the windows are laid out for a causal model, or for a masked one (Moirai 1.x).
        covariates: of every series, as `moirai/forecasting/covariates.py` arranges them: what stands at a step is known
            there; None: there are none.
        item_ids: of every series; None: their places.

    Raises:
        DataError: no series is long enough for one context and one predicted patch, or one holds infinite values.
    """

    def __init__(
        self,
        series: Sequence[Float[np.ndarray, "_time"]],
        shape: WindowShape,
        *,
        batch_size: int,
        seed: int,
        is_causal: bool = True,
        covariates: Sequence[Float[np.ndarray, "_covariate _time"]] | None = None,
        item_ids: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.batch_size, self.seed, self.is_causal = shape, batch_size, seed, is_causal
        room, shortest = shape.steps, least_steps(shape, is_causal=is_causal)
        chosen = [n for n, one in enumerate(series) if len(one) >= shortest and not np.isnan(one).all()]
        if not chosen:
            longest = max((len(one) for one in series), default=0)
            raise DataError(
                f"no series has {shortest} steps with values before the first backtest window (longest: {longest}); "
                "take a shorter horizon, fewer backtest.windows or fewer finetune.validation_windows"
            )
        names = [str(n) for n in range(len(series))] if item_ids is None else item_ids
        self._names = [names[n] for n in chosen]
        usable = [narrow(series[n], names[n]) for n in chosen]
        # One long array with room for a window before every series: a window is then one slice, padding included.
        fill = causal_mean if is_causal else zero
        self._raw = _joined(usable, room, np.nan)
        self._filled = _joined([fill(one[None])[0] for one in usable], room, 0.0)
        self._covariates = None
        if covariates is not None:
            self._covariates = _joined([narrow(covariates[n], names[n]) for n in chosen], room, np.nan)
        lengths = np.array([len(one) for one in usable])
        self._starts = np.cumsum(lengths + room) - lengths
        self._bounds = np.stack([self._starts + shortest, self._starts + lengths], axis=1)  # first and last end
        weights = self._bounds[:, 1] - self._bounds[:, 0] + 1.0
        self._weights = weights / weights.sum()

    def __getitem__(self, number: int) -> TrainingBatch:
        """Batch of a number; every possible end of a window is equally likely."""
        rng = np.random.default_rng([self.seed, number])
        chosen = rng.choice(len(self._bounds), self.batch_size, p=self._weights)
        ends = rng.integers(self._bounds[chosen, 0], self._bounds[chosen, 1] + 1)
        index = ends[:, None] - self.shape.steps + np.arange(self.shape.steps)
        exists = index >= self._starts[chosen][:, None]
        covariates = None
        if self._covariates is not None:
            moved = np.moveaxis(self._covariates[:, index], 0, 1)  # [row, covariate, step]
            covariates = np.where(exists[:, None], moved, np.nan).astype(np.float32)
        windows = Windows(
            values=np.where(exists, self._filled[index], 0.0).astype(np.float32),
            observed=~np.isnan(self._raw[index]) & exists,
            exists=exists,
            covariates=covariates,
        )
        return TrainingBatch(
            tokens=(causal_tokens if self.is_causal else masked_tokens)(windows, self.shape),
            patch_size=self.shape.patch_size,
            item_ids=tuple((self._names[n],) for n in chosen),
            target_tokens=self.shape.tokens,
        )


def least_steps(shape: WindowShape, *, is_causal: bool) -> int:
    """Steps that a series needs: a patch to see, and a patch or the horizon to predict."""
    return shape.patch_size + (shape.patch_size if is_causal else shape.predicted_steps)


def narrow(values: Float[np.ndarray, "*row _time"], item_id: str) -> Float[np.ndarray, "*row _time"]:
    """Values in float32, in which they must be finite or missing; else `DataError`."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if np.isinf(narrow).any():
        raise DataError(
            f"series {item_id!r} holds values that are infinite in float32; rescale them, or mark them as missing (NaN)"
        )
    return narrow


def _joined(series: Sequence[np.ndarray], room: int, filler: float) -> np.ndarray:
    """The series one behind the other along their last axis, each after `room` steps of filler."""
    empty = np.full((*series[0].shape[:-1], room), filler, np.float32)
    return np.concatenate([part.astype(np.float32, copy=False) for one in series for part in (empty, one)], axis=-1)
