"""Samples of pretraining: which variates, patch size, stretch and masked part (specification, section 13).

In: items drawn of a source, of which only lengths, frequencies and numbers of variates are known. Out: what each
sample will be, and how many tokens it has; no value has been read. All samples are decided together, by array
operations. An item that is too short for two patches is passed over.

One sampler for the three families. Moirai 1.x follows the specification: one of several patch sizes, the last part
masked, whole patches only. A causal model predicts every patch from the ones before it; there the masked part is what
the statistics may not know, and the first patch may begin before the series does, as in a forecast.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

from moirai.errors import ConfigError
from moirai.forecasting.patch_sizes import LEAST_PATCHES, admissible_patch_sizes
from moirai.training.packing import counted
from moirai.training.sources.source import Drawn


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What decides a sample, besides the series.

    Attributes:
        patch_sizes: of the model.
        max_tokens: most tokens of a sample: a row.
        min_patches: fewest patches of a variate.
        max_dim: most variates of a sample; variate ids are drawn below it.
        predicted_share: smallest and largest share of a sample's last patches that is predicted; at least one patch is,
            and one is not.
        partial_first_patch: the first patch may begin with steps that do not exist.
        causal_filler: a missing value of a single target is filled by the mean of what came before it, not by 0.
    """

    patch_sizes: tuple[int, ...]
    max_tokens: int = 512
    min_patches: int = LEAST_PATCHES
    max_dim: int = 128
    predicted_share: tuple[float, float] = (0.15, 0.5)
    partial_first_patch: bool = False
    causal_filler: bool = False

    def __post_init__(self) -> None:
        low, high = self.predicted_share
        if not 0 < low <= high < 1:
            raise ConfigError(f"predicted_share must be two rising numbers inside (0, 1), not {self.predicted_share}")
        if not LEAST_PATCHES <= self.min_patches <= self.max_tokens:
            raise ConfigError(
                f"min_patches must lie in {LEAST_PATCHES} ... max_tokens ({self.max_tokens}), not {self.min_patches}"
            )
        if self.max_dim < 1:
            raise ConfigError(f"max_dim must be at least 1, not {self.max_dim}")
        if not self.patch_sizes or min(self.patch_sizes) < 1:
            raise ConfigError(f"patch_sizes must be whole numbers of at least 1, not {self.patch_sizes}")

    @property
    def most_variates(self) -> int:
        """Variates that leave room for the fewest patches."""
        return min(self.max_dim, self.max_tokens // self.min_patches)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples that are decided on but not read.

    Of every sample: its source's number, its patch size, its patches and how many of the last are predicted, the steps
    at the start of its first patch that do not exist, its first step in the item, and how many targets and past
    features it has. Of every variate, sample after sample, targets first: series and row in the source, and its id.
    """

    source: Int[np.ndarray, "sample"]
    patch_size: Int[np.ndarray, "sample"]
    patches: Int[np.ndarray, "sample"]
    predicted: Int[np.ndarray, "sample"]
    hidden: Int[np.ndarray, "sample"]
    start: Int[np.ndarray, "sample"]
    targets: Int[np.ndarray, "sample"]
    features: Int[np.ndarray, "sample"]
    record: Int[np.ndarray, "variate"]
    row: Int[np.ndarray, "variate"]
    variate_id: Int[np.ndarray, "variate"]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def tokens(self) -> Int[np.ndarray, "sample"]:
        """Tokens of every sample; past features end where the predicted part begins."""
        return self.targets * self.patches + self.features * (self.patches - self.predicted)

    @property
    def variates(self) -> Int[np.ndarray, "sample"]:
        """Variates of every sample."""
        return self.targets + self.features

    @cached_property
    def sample_of(self) -> Int[np.ndarray, "variate"]:
        """The sample that each variate belongs to."""
        return np.repeat(np.arange(len(self)), self.variates)

    @cached_property
    def is_target(self) -> Bool[np.ndarray, "variate"]:
        """Whether each variate is a target."""
        return counted(self.variates) < self.targets[self.sample_of]

    @cached_property
    def variate_patches(self) -> Int[np.ndarray, "variate"]:
        """Patches of each variate."""
        sample = self.sample_of
        return np.where(self.is_target, self.patches[sample], self.patches[sample] - self.predicted[sample])

    def select(self, chosen: Int[np.ndarray, "_chosen"]) -> "Samples":
        """These samples, in this order."""
        first = np.cumsum(self.variates) - self.variates
        count = self.variates[chosen]
        places = np.repeat(first[chosen], count) + counted(count)
        of_variates = {"record", "row", "variate_id"}
        picked = {f.name: getattr(self, f.name)[places if f.name in of_variates else chosen] for f in fields(self)}
        return Samples(**picked)


def joined_samples(parts: Sequence[Samples]) -> Samples:
    """Samples of several draws, one behind the other."""
    return Samples(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Samples)})


def admissible(
    frequencies: Sequence[str | None], patch_sizes: Sequence[int], source: str
) -> Bool[np.ndarray, "freq size"]:
    """Which patch sizes suit which frequency; a model with one size uses it for all, and so do steps without a clock.

    Raises:
        ConfigError: a frequency is unknown, or none of several sizes suits it.
    """
    allowed = np.ones((len(frequencies), len(patch_sizes)), dtype=bool)
    if len(patch_sizes) == 1:
        return allowed
    for place, freq in enumerate(frequencies):
        if freq is None:
            continue
        try:
            suiting = admissible_patch_sizes(freq, patch_sizes)
        except ConfigError as error:
            raise ConfigError(f"source {source}: {error}") from error
        if not suiting:
            raise ConfigError(
                f"source {source}: none of the patch sizes {tuple(patch_sizes)} suits its frequency {freq!r}; "
                "leave the source out, or add a size"
            )
        allowed[place] = np.isin(patch_sizes, suiting)
    return allowed


def decide(
    rng: np.random.Generator,
    drawn: Drawn,
    sampling: Sampling,
    *,
    allowed: Bool[np.ndarray, "freq size"],
    whole: bool,
    source: int = 0,
) -> tuple[Samples, Int[np.ndarray, "_kept"]]:
    """Decide what samples the drawn items become.

    Args:
        rng: source of everything random.
        drawn: items of one source.
        sampling: how.
        allowed: patch sizes that suit each of the source's frequencies, by `admissible`.
        whole: take items whole where they fit, instead of a random stretch.
        source: its number.

    Returns:
        The samples, and which of the items they were made of; the others are too short.
    """
    sizes = np.array(sampling.patch_sizes)
    fits = allowed[drawn.freq] & (sizes * sampling.min_patches <= drawn.length[:, None])
    preference = np.where(fits, rng.random(fits.shape), -1.0)
    kept = np.flatnonzero(fits.any(axis=1))
    size = sizes[preference.argmax(axis=1)]
    targets, features, record, row = _choose_variates(rng, drawn, sampling)
    variates = targets + features
    length = drawn.length
    cap = sampling.max_tokens // variates

    # Items that are too short run along with two patches and are dropped at the end.
    whole_patches = length // size
    if sampling.partial_first_patch:
        hidden = rng.integers(0, size)
        total = np.maximum((length + hidden) // size, sampling.min_patches)
        patches = _count(rng, np.minimum(cap, total), sampling, whole=whole)
        start = rng.integers(0, np.maximum(length - (patches * size - hidden), 0) + 1)
    else:
        hidden = np.zeros_like(size)
        offset = rng.integers(0, length % size + 1)
        total = np.maximum((length - offset) // size, sampling.min_patches)
        patches = _count(rng, np.minimum(cap, total), sampling, whole=whole)
        start = offset + rng.integers(0, total - patches + 1) * size
    assert (patches[kept] <= whole_patches[kept] + sampling.partial_first_patch).all(), "a stretch lies in its item"
    ratio = rng.uniform(*sampling.predicted_share, len(size))
    predicted = np.clip(np.rint(patches * ratio).astype(np.int64), 1, patches - 1)
    samples = Samples(
        source=np.full(len(size), source),
        patch_size=size,
        patches=patches,
        predicted=predicted,
        hidden=hidden,
        start=start,
        targets=targets,
        features=features,
        record=record,
        row=row,
        variate_id=_variate_ids(rng, variates, sampling.max_dim),
    )
    return (samples if len(kept) == len(size) else samples.select(kept)), kept


def _count(
    rng: np.random.Generator, most: Int[np.ndarray, "sample"], sampling: Sampling, *, whole: bool
) -> Int[np.ndarray, "sample"]:
    return most if whole else rng.integers(sampling.min_patches, most + 1)


def _choose_variates(
    rng: np.random.Generator, drawn: Drawn, sampling: Sampling
) -> tuple[Int[np.ndarray, "item"], Int[np.ndarray, "item"], Int[np.ndarray, "_variate"], Int[np.ndarray, "_variate"]]:
    """A random number of random targets of each item, and of its past features; each kind gets its part of the room."""
    total = drawn.target_dim + drawn.past_dim
    part_of_targets, part_of_features = (
        sampling.most_variates * d // total for d in (drawn.target_dim, drawn.past_dim)
    )
    targets = 1 + rng.integers(0, np.clip(part_of_targets, 1, drawn.target_dim))
    most = np.minimum(part_of_features, drawn.past_dim)
    features = np.where(most > 0, 1 + rng.integers(0, np.maximum(most, 1)), 0)
    if (total == 1).all():
        return targets, features, drawn.record, drawn.row
    item = np.repeat(np.arange(len(total)), total)
    is_feature = counted(total) >= drawn.target_dim[item]
    order = np.lexsort((rng.random(len(item)), is_feature, item))
    rank = counted(np.stack((drawn.target_dim, drawn.past_dim), axis=1).ravel())  # inside its kind, in this order
    kept = order[rank < np.where(is_feature[order], features[item], targets[item])]
    return targets, features, drawn.record[kept], drawn.row[kept]


def _variate_ids(
    rng: np.random.Generator, variates: Int[np.ndarray, "sample"], max_dim: int
) -> Int[np.ndarray, "_variate"]:
    """Ids below `max_dim`, random and different inside a sample."""
    ids = rng.integers(0, max_dim, int(variates.sum()))
    several = variates > 1
    if several.any():
        drawn = np.argsort(rng.random((int(several.sum()), max_dim)), axis=1)
        wanted = np.arange(max_dim) < variates[several][:, None]
        ids[np.repeat(several, variates)] = drawn[wanted]
    return ids
