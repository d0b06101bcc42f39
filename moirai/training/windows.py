"""Fine-tuning windows: random stretches of real series as packed tokens, one sample to a row.

In: series up to the end of the training span. Out: batches of `PackedTokens`, the same for the same seed. A window ends
anywhere; its last part is predicted, the part before gives the statistics. Where a series begins inside the window the
row starts with padding tokens, laid out as in forecasting: right-aligned, whole patches.
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
    ) -> None:
        super().__init__()
        self.shape, self.batch_size, self.seed = shape, batch_size, seed
        # One long array with room for a window before every series: a window is then one slice, padding included.
        room, shortest = shape.steps, 2 * shape.patch_size
        usable = [one for one in series if len(one) >= shortest and not np.isnan(one).all()]
        if not usable:
            longest = max((len(one) for one in series), default=0)
            raise DataError(
                f"no series has {shortest} steps with values before the first backtest window (longest: {longest}); "
                "take a shorter horizon, fewer backtest.windows or fewer finetune.validation_windows"
            )
        empty = np.full(room, np.nan, np.float32)
        self._raw = np.concatenate([part for one in usable for part in (empty, one.astype(np.float32))])
        self._filled = np.concatenate(
            [
                part
                for one in usable
                for part in (
                    np.zeros(room, np.float32),
                    causal_mean(one[None].astype(np.float32))[0],
                )
            ]
        )
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
        return self._pack(values, observed, exists.any(-1))

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
