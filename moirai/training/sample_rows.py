"""Samples to rows of tokens: reads the stretches that were decided on and lays them out.

In: samples, where each stands, and the sources. Out: a `TrainingBatch`. A missing value counts as not observed; what
stands in its place is finite (specification, section 12). Fails with a `DataError` that names the source and the item
when a value is infinite.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from moirai.forecasting.imputation import causal_mean
from moirai.tokens import PackedTokens
from moirai.training.batch import TrainingBatch
from moirai.training.packing import Packing, counted
from moirai.training.sampling import Samples, Sampling
from moirai.training.sources.source import Source, refuse_infinite

Flat = Float[np.ndarray, "_steps"]


def training_batch(
    rngs: Sequence[np.random.Generator],
    samples: Samples,
    packing: Packing,
    sources: Sequence[Source],
    sampling: Sampling,
) -> TrainingBatch:
    """Read samples and lay them out.

    Args:
        rngs: one per source, for those that make their series.
        samples: what to read.
        packing: where each of them stands.
        sources: by the numbers that the samples know them by.
        sampling: how the samples were decided on.

    Raises:
        DataError: a value is infinite.
    """
    sample = samples.sample_of
    steps = samples.variate_patches * samples.patch_size[sample] - samples.hidden[sample]
    raw = _read(rngs, samples, sources, steps)
    missing = np.isnan(raw)
    filled = np.where(missing, np.float32(0), raw)
    if sampling.causal_filler:
        _fill_causally(filled, raw, missing, steps, samples.is_target & (samples.targets[sample] == 1))

    patches = samples.variate_patches
    variate = np.repeat(np.arange(len(patches)), patches)
    position = counted(patches)
    places = packing.places(samples.tokens)
    token_sample = sample[variate]

    def spread(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(packing.spread(values, places))

    target, observed = _patches(samples, filled, missing, steps, max(sampling.patch_sizes))
    context = samples.patches - samples.predicted
    size: int | torch.Tensor = sampling.patch_sizes[0]
    if len(sampling.patch_sizes) > 1:
        size = spread(samples.patch_size[token_sample])
    tokens = PackedTokens(
        target=spread(target),
        observed_mask=spread(observed),
        sample_id=spread(packing.number[token_sample]),
        time_id=spread(position),
        variate_id=spread(samples.variate_id[variate]),
        prediction_mask=spread(position >= context[token_sample]),
    )
    return TrainingBatch(tokens=tokens, patch_size=size, item_ids=_item_ids(samples, packing, sources))


def _read(
    rngs: Sequence[np.random.Generator],
    samples: Samples,
    sources: Sequence[Source],
    steps: Int[np.ndarray, "variate"],
) -> Flat:
    """The values of all variates, one variate after the other."""
    sample = samples.sample_of
    start = samples.start[sample]
    values = np.empty(int(steps.sum()), np.float32)
    for number, source in enumerate(sources):
        own = samples.source[sample] == number
        if not own.any():
            continue
        read = source.read(
            rngs[number],
            record=samples.record[own],
            row=samples.row[own],
            start=start[own],
            stop=(start + steps)[own],
        )
        values[np.repeat(own, steps)] = refuse_infinite(read, source, samples.record[own], steps[own])
    return values


def _fill_causally(
    filled: Flat,
    raw: Flat,
    missing: Bool[np.ndarray, "_steps"],
    steps: Int[np.ndarray, "variate"],
    wanted: Bool[np.ndarray, "variate"],
) -> None:
    """Fill the gaps of these variates in place, those of similar length together."""
    ends = np.cumsum(steps)
    gaps = np.add.reduceat(missing, ends - steps, dtype=np.int64) > 0
    chosen = np.flatnonzero(wanted & gaps)
    width = np.ceil(np.log2(steps[chosen]))
    for one in np.unique(width):
        group = chosen[width == one]
        inside = np.arange(steps[group].max()) < steps[group][:, None]
        places = np.repeat(ends[group] - steps[group], steps[group]) + counted(steps[group])
        # Missing steps behind the end change nothing: what fills a gap comes from before it.
        rows = np.full(inside.shape, np.nan, np.float32)
        rows[inside] = raw[places]
        filled[places] = causal_mean(rows)[inside]


def _patches(
    samples: Samples,
    filled: Flat,
    missing: Bool[np.ndarray, "_steps"],
    steps: Int[np.ndarray, "variate"],
    width: int,
) -> tuple[Float[np.ndarray, "token patch"], Bool[np.ndarray, "token patch"]]:
    """The values of every token and which are observed; 0 beyond its size and before the series begins."""
    patches = samples.variate_patches
    variate = np.repeat(np.arange(len(patches)), patches)
    sample = samples.sample_of[variate]
    size = samples.patch_size[sample]
    begin = (np.cumsum(steps) - steps)[variate]
    first = begin + counted(patches) * size - samples.hidden[sample]
    target = np.zeros((len(variate), width), np.float32)
    observed = np.zeros((len(variate), width), dtype=bool)
    for one in np.unique(size):
        own = np.flatnonzero(size == one)
        index = first[own][:, None] + np.arange(one)
        exists = index >= begin[own][:, None]
        np.maximum(index, 0, out=index)
        target[own, :one] = np.where(exists, filled[index], np.float32(0))
        observed[own, :one] = exists & ~missing[index]
    return target, observed


def _item_ids(samples: Samples, packing: Packing, sources: Sequence[Source]) -> tuple[tuple[str, ...], ...]:
    """Of every row the names of its samples, in the order of their numbers."""
    first = samples.record[np.cumsum(samples.variates) - samples.variates]
    rows: list[list[str]] = [[] for _ in range(packing.rows)]
    for place in np.lexsort((packing.number, packing.row)):
        source = sources[samples.source[place]]
        rows[packing.row[place]].append(f"{source.name}/{source.item_id(int(first[place]))}")
    return tuple(tuple(row) for row in rows)
