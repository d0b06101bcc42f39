"""Pretraining data: packed batches from a weighted mixture of sources.

In: settings. Out: a map-style data set whose entry n is the batch of step n. It is a pure function of the settings, the
seed and n: going on from step n, several workers and several processes change nothing. Fails with `ConfigError` where
the settings contradict one another, and with `DataError` where a source has nothing that can be used.

Batches are packed in blocks of at least `BLOCK_ROWS` rows, so that small batches are filled as well as large ones.
A block is decided on without reading a value, which is fast; then only the samples of the batch asked for are read. So
several workers each decide on all blocks, and read only what is theirs.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Int
from torch.utils.data import Dataset

from moirai.config import AnyConfig, Moirai2Config, MoiraiConfig
from moirai.errors import ConfigError, DataError
from moirai.training.batch import TrainingBatch
from moirai.training.packing import Packing, fill_rows
from moirai.training.sample_rows import training_batch
from moirai.training.sampling import Samples, Sampling, admissible, decide, joined_samples
from moirai.training.sources.source import Source, SourceSettings
from moirai.training.sources.synthetic import SyntheticSettings

BLOCK_ROWS = 1024  # the more, the fuller: lengths that are all equally likely fill 96 % of 128 rows, 99 % of 1024
FIRST_DRAW = 256  # samples; further draws are as large as the rows still need
MOST_DRAWS = 50  # for a block; that they do not suffice means that hardly an item is long enough
PLAN, READ = 0, 1  # what a stream of random numbers is for


@dataclass(frozen=True, kw_only=True)
class WeightedSource:
    """A source and how often it is drawn, relative to the others (in samples, not in values)."""

    source: SourceSettings
    weight: float | int = 1.0


@dataclass(frozen=True, kw_only=True)
class PretrainDataSettings:
    """Everything that decides the batches.

    Attributes:
        steps: number of batches.
        rows: packed rows of a batch.
        sampling: how items become samples, and how long a row is; `sampling_for` gives that of a model.
        sources: what is drawn from.
        seed: of everything random.
    """

    steps: int
    rows: int
    sampling: Sampling
    sources: tuple[WeightedSource, ...] = (WeightedSource(source=SyntheticSettings()),)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        weights = [one.weight for one in self.sources]
        if not weights or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ConfigError(f"sources need weights of at least 0, one of them above it, not {weights}")


def sampling_for(config: AnyConfig, **changes: Any) -> Sampling:
    """How a family samples; rows are as long as the model says.

    Moirai 1.x by the specification. Of a causal model the statistics come from the first 30 to 90 % of a sample, the
    first patch may begin before the series does, and Moirai 2.0 and MoE fill gaps of single targets as forecasts do.

    Args:
        config: of the model.
        changes: attributes of `Sampling` that differ from the family's.
    """
    sizes = (config.patch_size,) if isinstance(config, Moirai2Config) else config.patch_sizes
    own = Sampling(patch_sizes=sizes, max_tokens=config.max_seq_len)
    if not isinstance(config, MoiraiConfig):
        own = replace(own, predicted_share=(0.1, 0.7), partial_first_patch=True, causal_filler=True)
    return replace(own, **changes)


@dataclass(frozen=True)
class _Block:
    """Batches that were packed together."""

    number: int
    samples: Samples
    packing: Packing
    batch: Int[np.ndarray, "sample"] = field(repr=False)  # which batch of the block a sample is in


class PretrainData(Dataset[TrainingBatch]):
    """The batches of a run: `len()` is the number of steps, `[n]` the batch of step n.

    Use it with `DataLoader(data, batch_size=None, ...)`; of several processes each takes its own share of the n.

    Raises:
        ConfigError: a source's frequency suits none of the patch sizes.
        DataError: a source cannot be read, or no item is long enough.
    """

    def __init__(self, settings: PretrainDataSettings) -> None:
        self.settings = settings
        self.sources: list[Source] = [one.source.open() for one in settings.sources]
        sizes = settings.sampling.patch_sizes
        self._allowed = [admissible(one.frequencies, sizes, one.name) for one in self.sources]
        weights = np.array([one.weight for one in settings.sources], np.float64)
        self._chances = weights / weights.sum()
        self._batches = -(-BLOCK_ROWS // settings.rows)  # of a block
        self._block: _Block | None = None  # the last one; only to be faster

    def __len__(self) -> int:
        return self.settings.steps

    def __reduce__(self) -> tuple[type["PretrainData"], tuple[PretrainDataSettings]]:
        return PretrainData, (self.settings,)  # another process opens the files itself

    def __getitem__(self, step: int) -> TrainingBatch:
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of {len(self)}")
        settings, number = self.settings, step // self._batches
        if self._block is None or self._block.number != number:
            self._block = self._plan(number)
        block = self._block
        chosen = np.flatnonzero(block.batch == step % self._batches)
        packing = Packing(
            row=block.packing.row[chosen] % settings.rows,
            position=block.packing.position[chosen],
            number=block.packing.number[chosen],
            rows=settings.rows,
            max_tokens=settings.sampling.max_tokens,
        )
        rngs = [np.random.default_rng([settings.seed, READ, step, place]) for place in range(len(self.sources))]
        return training_batch(rngs, block.samples.select(chosen), packing, self.sources, settings.sampling)

    def _plan(self, number: int) -> _Block:
        """Draw samples until they fill the rows of a block, and pack them."""
        settings = self.settings
        rows, max_tokens = self._batches * settings.rows, settings.sampling.max_tokens
        rng = np.random.default_rng([settings.seed, PLAN, number])
        room = rows * max_tokens
        parts: list[Samples] = []
        tokens = count = 0
        wanted = FIRST_DRAW
        for _ in range(MOST_DRAWS):
            parts.append(self._draw(rng, wanted))
            tokens, count = tokens + int(parts[-1].tokens.sum()), count + len(parts[-1])
            if tokens > room:
                break
            missing = (room - tokens) * count // max(tokens, 1)
            wanted = FIRST_DRAW + min(missing, room // settings.sampling.min_patches)
        else:
            names, sampling = ", ".join(one.name for one in self.sources), settings.sampling
            raise DataError(
                f"sources {names}: {count} usable items in {MOST_DRAWS} draws do not fill {rows} rows; add series "
                f"of at least {sampling.min_patches * min(sampling.patch_sizes)} steps, or smaller patch sizes"
            )
        samples = joined_samples(parts)
        used, packing = fill_rows(rng, samples.tokens, rows=rows, max_tokens=max_tokens)
        return _Block(number, samples.select(used), packing, packing.row // settings.rows)

    def _draw(self, rng: np.random.Generator, count: int) -> Samples:
        """Samples of all sources, in random order."""
        origin = rng.choice(len(self.sources), count, p=self._chances)
        parts, places = [], []
        for number, source in enumerate(self.sources):
            own = np.flatnonzero(origin == number)
            if not len(own):
                continue
            drawn = source.draw(rng, len(own))
            samples, kept = decide(
                rng, drawn, self.settings.sampling, allowed=self._allowed[number], whole=source.whole, source=number
            )
            parts.append(samples)
            places.append(own[kept])
        return joined_samples(parts).select(np.argsort(np.concatenate(places)))
