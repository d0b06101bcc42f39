"""Fine-tuning windows: random stretches of real series as packed tokens, one sample to a row.

In: series up to the end of the training span, with their covariates where there are any. Out: batches of
`PackedTokens`, the same for the same seed. A window ends anywhere; its last part is predicted, the part before gives
the statistics. Where a series begins inside the window the row starts with padding tokens, laid out as in forecasting:
right-aligned, whole patches. The tokens of the covariates follow those of the target, variate by variate: a causal
model sees of them, at every origin, what a forecast from there would see.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.data import IterableDataset

from moirai.errors import DataError
from moirai.forecasting.imputation import causal_mean
from moirai.tokens import PackedTokens

# A covariate that stood still in the context and moves afterwards (a first holiday) is held at this many of its
# standard deviations there; in a forecast its last context patch would have shown the move, and counted it.
COVARIATE_CLIP = 20.0
MINIMUM_SPREAD = 1e-5**0.5  # the smallest scale that a model standardises by


@dataclass(frozen=True, kw_only=True)
class WindowShape:
    """Size of a window in tokens."""

    patch_size: int
    context_tokens: int  # the statistics come from these
    predicted_tokens: int  # these follow and are predicted

    @property
    def tokens(self) -> int:
        """Tokens of a row."""
        return self.context_tokens + self.predicted_tokens

    @property
    def steps(self) -> int:
        """Time steps of a row."""
        return self.tokens * self.patch_size


def window_shape(*, context: int, horizon: int, patch_size: int) -> WindowShape:
    """Window for a context and horizon in steps: a quarter of the context is predicted, the horizon at least.

    More is predicted than the horizon because in a causal model every token of that part is an origin of its own.
    """
    context_tokens = -(-context // patch_size)
    return WindowShape(
        patch_size=patch_size,
        context_tokens=context_tokens,
        predicted_tokens=max(-(-horizon // patch_size), context_tokens // 4),
    )


class WindowSampler(IterableDataset):
    """Endless batches of random windows.

    Args:
        series: values of the training span, NaN where missing; those without any window are left out.
        shape: size of the windows.
        batch_size: windows in a batch.
        seed: of the whole sequence of batches.
        covariates: of every series, as `moirai/forecasting/covariates.py` arranges them: what stands at a step is known
            there; None: there are none.

    Raises:
        DataError: no series is long enough for one context and one predicted patch.
    """

    def __init__(
        self,
        series: Sequence[Float[np.ndarray, "_time"]],
        shape: WindowShape,
        *,
        batch_size: int,
        seed: int,
        covariates: Sequence[Float[np.ndarray, "_covariate _time"]] | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.batch_size, self.seed = shape, batch_size, seed
        # One long array with room for a window before every series: a window is then one slice, padding included.
        room, shortest = shape.steps, 2 * shape.patch_size
        chosen = [n for n, one in enumerate(series) if len(one) >= shortest and not np.isnan(one).all()]
        if not chosen:
            longest = max((len(one) for one in series), default=0)
            raise DataError(
                f"no series has {shortest} steps with values before the first backtest window (longest: {longest}); "
                "take a shorter horizon, fewer backtest.windows or fewer finetune.validation_windows"
            )
        usable = [series[n].astype(np.float32) for n in chosen]
        self._raw = _joined(usable, room, np.nan)
        self._filled = _joined([causal_mean(one[None])[0] for one in usable], room, 0.0)
        self._covariates = None if covariates is None else _joined([covariates[n] for n in chosen], room, np.nan)
        lengths = np.array([len(one) for one in usable])
        starts = np.cumsum(lengths + room) - lengths
        self._starts = starts
        self._ends = [(start + shortest, start + length) for start, length in zip(starts, lengths, strict=True)]
        self._weights = np.array([last - first + 1 for first, last in self._ends], np.float64)
        self._weights /= self._weights.sum()

    def __iter__(self) -> Iterator[PackedTokens]:
        rng = np.random.default_rng(self.seed)
        while True:
            yield self.draw(rng)

    def draw(self, rng: np.random.Generator) -> PackedTokens:
        """One batch; every possible end of a window is equally likely."""
        chosen = rng.choice(len(self._ends), self.batch_size, p=self._weights)
        bounds = np.array(self._ends)[chosen]
        ends = rng.integers(bounds[:, 0], bounds[:, 1] + 1)
        index = ends[:, None] - self.shape.steps + np.arange(self.shape.steps)
        patches = (self.batch_size, self.shape.tokens, self.shape.patch_size)
        exists = (index >= self._starts[chosen][:, None]).reshape(patches)
        observed = ~np.isnan(self._raw[index]).reshape(patches) & exists
        values = np.where(exists, self._filled[index].reshape(patches), 0.0).astype(np.float32)
        tokens = self._pack(values, observed, exists.any(-1))
        if self._covariates is None:
            return tokens
        moved = np.moveaxis(self._covariates[:, index], 0, 1)  # [row, covariate, step]
        seen = moved.reshape(self.batch_size, -1, *patches[1:])
        return _beside(tokens, np.where(exists[:, None], seen, np.nan))

    def _pack(self, values: np.ndarray, observed: np.ndarray, is_real: np.ndarray) -> PackedTokens:
        """Ids as in forecasting: time starts at the first patch with a value; half of a short series is predicted."""
        begun = np.maximum.accumulate(observed.any(-1), axis=1)
        time_id = np.maximum(begun.cumsum(1) - 1, 0)
        predicted = np.minimum(self.shape.predicted_tokens, np.maximum(1, is_real.sum(1) // 2))
        position = np.arange(self.shape.tokens)
        return PackedTokens(
            target=torch.from_numpy(values),
            observed_mask=torch.from_numpy(observed),
            sample_id=torch.from_numpy(is_real.astype(np.int64)),
            time_id=torch.from_numpy(time_id.astype(np.int64)),
            variate_id=torch.zeros(is_real.shape, dtype=torch.int64),
            prediction_mask=torch.from_numpy(position >= self.shape.tokens - predicted[:, None]),
        )


def _joined(series: Sequence[np.ndarray], room: int, filler: float) -> np.ndarray:
    """The series one behind the other along their last axis, each after `room` steps of filler."""
    empty = np.full((*series[0].shape[:-1], room), filler, np.float32)
    return np.concatenate([part.astype(np.float32, copy=False) for one in series for part in (empty, one)], axis=-1)


def _beside(tokens: PackedTokens, covariates: Float[np.ndarray, "row covariate token patch"]) -> PackedTokens:
    """The tokens of the target with those of its covariates behind them, missing values filled with 0.

    The covariates' statistics come from the context as well (`prediction_mask`): an origin must not see how they go on.
    """
    count = covariates.shape[1]
    observed = ~np.isnan(covariates)
    in_context = observed & ~tokens.prediction_mask.numpy()[:, None, :, None]
    steps = in_context.sum((-2, -1), keepdims=True).clip(min=1)
    mean = np.where(in_context, covariates, 0.0).sum((-2, -1), keepdims=True) / steps
    square = np.where(in_context, covariates - mean, 0.0) ** 2
    spread = np.sqrt(square.sum((-2, -1), keepdims=True) / steps).clip(min=MINIMUM_SPREAD) * COVARIATE_CLIP
    held = np.where(in_context, covariates, np.clip(covariates, mean - spread, mean + spread))
    values = np.where(observed, held, 0.0).astype(np.float32)

    def behind(own: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
        return torch.cat((own, added.flatten(1, 2)), dim=1)

    def repeated(ids: torch.Tensor) -> torch.Tensor:
        return ids.repeat(1, 1 + count)

    return PackedTokens(
        target=behind(tokens.target, torch.from_numpy(values)),
        observed_mask=behind(tokens.observed_mask, torch.from_numpy(observed)),
        sample_id=repeated(tokens.sample_id),
        time_id=repeated(tokens.time_id),
        variate_id=torch.arange(1 + count).repeat_interleave(tokens.time_id.shape[1]).repeat(len(values), 1),
        prediction_mask=repeated(tokens.prediction_mask),
    )
