"""Forecasts of Moirai-MoE: exact for the first patch, sample paths beyond (specification, section 11.3).

In: forecast inputs without missing values. Out: the distribution of the first patch, and paths of
the whole horizon if it has several patches. A path is drawn patch by patch, all targets together;
each patch is read at the last token of the path. With `rescale` (the published roll-out) what a path
has written enters its location and scale; without, these stay those of the context, and keys and
values are kept, which costs a small part of the time and changes the numbers a little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from moirai.distributions.affine import Affine
from moirai.distributions.base import Distribution
from moirai.distributions.joining import concatenate
from moirai.errors import ConfigError
from moirai.forecasting.decoding import empirical_quantiles
from moirai.forecasting.paths import CachedPaths, Read, RescaledPaths
from moirai.layers.cache import KeyValueCache
from moirai.layers.scaler import Scaling
from moirai.models.moirai_moe import MoiraiMoEModule
from moirai.tokens import ForecastInputs, PackedTokens, forecast_tokens, token_layout

NUM_PATHS = 100  # as many samples as the published forecasts have
FARTHEST = 1e15  # scales from the location; a draw beyond it is held there, before it makes NaN of its path
LARGEST = 1e37  # the same in data units: float32 ends at 3e38


@dataclass(frozen=True)
class ExpertForecast:
    """What is known of the horizon; deterministic but for the paths."""

    first: Distribution  # [batch, step, target]: the steps of the first patch, in data units
    paths: Float[Tensor, "batch path horizon target"] | None  # None if there is no step beyond

    def quantile(self, levels: Float[Tensor, "quantile"]) -> Float[Tensor, "quantile batch horizon target"]:
        """Quantiles: of the first patch by inverting its distribution function, then those of the paths.

        Raises:
            ConfigError: a level lies outside (0, 1).
        """
        first = self.first.quantile(levels)
        if self.paths is None:
            return first
        beyond = self.paths[:, :, first.shape[2] :].permute(0, 3, 1, 2)[:, :, None]  # pairs: the paths
        sampled = empirical_quantiles(beyond, levels.to(beyond))[:, :, 0]
        return torch.cat((first, sampled.permute(2, 0, 3, 1)), dim=2)

    @property
    def mean(self) -> Float[Tensor, "batch horizon target"]:
        """Expectation of the first patch, then the mean of the paths."""
        first = self.first.mean
        return first if self.paths is None else torch.cat((first, self.paths[:, :, first.shape[1] :].mean(1)), dim=1)


@torch.inference_mode()
def decode(
    module: MoiraiMoEModule,
    inputs: ForecastInputs,
    *,
    horizon: int,
    patch_size: int,
    paths: int = NUM_PATHS,
    rescale: bool = True,
    generator: torch.Generator | None = None,
) -> ExpertForecast:
    """Forecast every step and target, in data units; nothing is drawn where one patch suffices.

    Args:
        module: in evaluation mode.
        inputs: on the module's device, missing values already filled.
        horizon: steps to forecast.
        patch_size: one of the module's.
        paths: to draw per series.
        rescale: whether what a path has written enters its statistics, as published.
        generator: of the draws, on the module's device.

    Raises:
        ConfigError: the module has no such patch size, or there would be no path.
    """
    walk = _Walk(module, inputs, horizon=horizon, patch_size=patch_size, rescale=rescale)
    first = walk.first()
    if walk.patches == 1:
        return ExpertForecast(_by_step([first], horizon), None)
    return ExpertForecast(_by_step([first], horizon), _roll_out(walk, first, horizon, paths, generator))


@torch.inference_mode()
def sample_paths(
    module: MoiraiMoEModule,
    inputs: ForecastInputs,
    *,
    horizon: int,
    patch_size: int,
    paths: int = NUM_PATHS,
    rescale: bool = True,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch path horizon target"]:
    """Draw continuations of every series, in data units; arguments as of `decode`."""
    walk = _Walk(module, inputs, horizon=horizon, patch_size=patch_size, rescale=rescale)
    return _roll_out(walk, walk.first(), horizon, paths, generator)


@torch.inference_mode()
def forced_laws(
    module: MoiraiMoEModule,
    inputs: ForecastInputs,
    future: Float[Tensor, "batch horizon target"],
    *,
    patch_size: int,
    rescale: bool = True,
) -> Distribution:
    """Distribution of every step given that the steps before its patch were as in `future`.

    Args:
        module: in evaluation mode.
        inputs: on the module's device, missing values already filled.
        future: values that the roll-out writes instead of draws; filled with 0 to whole patches.
        patch_size: one of the module's.
        rescale: as for `decode`.

    Returns:
        Laws `[batch, horizon, target]`, in data units.
    """
    horizon = future.shape[1]
    walk = _Walk(module, inputs, horizon=horizon, patch_size=patch_size, rescale=rescale)
    padded = functional.pad(future, (0, 0, 0, walk.patches * patch_size - horizon))
    patches = torch.unflatten(padded, 1, (walk.patches, patch_size)).permute(1, 0, 3, 2)  # [patch, batch, target, _]
    laws = [walk.first()]
    laws += [walk.next(patch[:, None]).map(lambda parameter: parameter[:, 0]) for patch in patches[:-1]]
    return _by_step(laws, horizon)


class _Walk:
    """Laws of the next patch, behind the context and then behind what the paths write."""

    def __init__(
        self, module: MoiraiMoEModule, inputs: ForecastInputs, *, horizon: int, patch_size: int, rescale: bool
    ) -> None:
        if patch_size not in module.config.patch_sizes:
            raise ConfigError(f"patch_size {patch_size} is none of the model's: {module.config.patch_sizes}")
        layout = token_layout(inputs, horizon=horizon, patch_size=patch_size)
        tokens = forecast_tokens(inputs, horizon=horizon, patch_size=patch_size)
        self.patches, self.module, self.patch_size = layout.future_tokens, module, patch_size

        def encode(
            tokens: PackedTokens, scaling: Scaling, *, positions: Tensor, cache: KeyValueCache | None = None
        ) -> Tensor:
            return module.encode(tokens, patch_size, scaling, positions=positions, cache=cache)

        config = module.config
        self.rows: RescaledPaths | CachedPaths = (
            RescaledPaths(tokens, layout, encode, scaling=config.scaling)
            if rescale
            else CachedPaths(tokens, layout, encode, scaling=module.scaling(tokens), num_layers=config.num_layers)
        )

    def first(self) -> Distribution:
        """Laws `[batch, target, patch]`."""
        return self._laws(self.rows.context())

    def next(self, values: Float[Tensor, "batch path target patch"]) -> Distribution:
        """Laws `[batch, path, target, patch]` of the patch behind these values."""
        shape = values.shape[1:3]
        laws = self._laws(self.rows.write(values[:, :, :, None]))
        return laws.map(lambda parameter: torch.unflatten(parameter, 1, shape))

    def _laws(self, read: Read) -> Distribution:
        encoded, scaling = read
        return self.module.distribution(encoded, self.patch_size, scaling)


def _roll_out(
    walk: _Walk, first: Distribution, horizon: int, paths: int, generator: torch.Generator | None
) -> Float[Tensor, "batch path horizon target"]:
    """Draw the first patch from its law, every other one from that behind the path."""
    if paths < 1:
        raise ConfigError(f"paths must be at least 1, not {paths}")
    drawn = [_draw(first, paths, generator).movedim(0, 1)]  # [batch, path, target, patch] each
    while len(drawn) < walk.patches:
        drawn.append(_draw(walk.next(drawn[-1]), 1, generator)[0])
    return torch.cat(drawn, dim=-1).transpose(2, 3)[:, :, :horizon].contiguous()


def _draw(law: Distribution, n: int, generator: torch.Generator | None) -> Tensor:
    assert isinstance(law, Affine), "the module gives laws in data units"
    reach = (FARTHEST * law.scale).clamp(max=LARGEST)
    return law.sample(n, generator).clamp(law.loc - reach, law.loc + reach)


def _by_step(laws: Sequence[Distribution], horizon: int) -> Distribution:
    """Laws of one patch after the other, `[batch, target, patch]` each, as `[batch, horizon, target]`."""
    joined = concatenate(laws, dim=2)
    return joined.map(lambda parameter: parameter.transpose(1, 2)[:, :horizon].contiguous())
