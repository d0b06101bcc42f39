"""What each family is trained on: a batch of packed samples -> one number.

In: a module, a `TrainingBatch`, the name of a loss or a loss object. Out: the loss of the batch, float32, with
gradient. Fails with `ConfigError`: no loss of that name, or it is none of this family's. Moirai 1.x and Moirai-MoE
maximise the likelihood of what is to be predicted, in data units; Moirai 2.0 minimises the quantile loss, in scaled
space (`objective.py`). Only tokens whose prediction counts are projected to parameters, and these only as wide as their
patch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from moirai.errors import ConfigError
from moirai.layers.scaler import Scaling
from moirai.models.distribution_module import DistributionModule
from moirai.models.moirai2 import Moirai2Module
from moirai.models.moirai_moe import MoiraiMoEModule
from moirai.models.pretrained import PretrainedModule
from moirai.tokens import PackedTokens
from moirai.training.batch import TrainingBatch
from moirai.training.objective import mean_over_groups, median_error, quantile_objective


@runtime_checkable
class Loss(Protocol):
    """A loss object: called with module and batch, and known by a name."""

    @property
    def name(self) -> str:
        """What is stored in its place."""

    def __call__(self, module: PretrainedModule, batch: TrainingBatch) -> Tensor:
        """The loss of a batch."""


@dataclass(frozen=True)
class NamedLoss:
    """A loss of `LOSSES`."""

    name: str
    families: tuple[type[PretrainedModule], ...]
    evaluate: Callable[..., Tensor]

    def __call__(self, module: PretrainedModule, batch: TrainingBatch) -> Tensor:
        """The loss of a batch."""
        return self.evaluate(module, batch)


def likelihood_objective(
    module: DistributionModule, batch: TrainingBatch, *, ahead: int | None = None
) -> Float[Tensor, ""]:
    """Mean negative log likelihood of the observed values to be predicted (specification, sections 7 and 10).

    A batch in which nothing is to be predicted costs nothing.

    Args:
        module: the network.
        batch: packed samples.
        ahead: tokens between the one whose distribution it is and the one that gives it: 0 where a token gives its own
            (Moirai 1.x), 1 where it gives that of the next patch (Moirai-MoE); None: by family.
    """
    tokens = batch.tokens
    ahead = int(isinstance(module, MoiraiMoEModule)) if ahead is None else ahead
    scaling = module.scaling(tokens)
    encoded = module.encode(tokens, batch.patch_size, scaling)
    chosen = predicted_tokens(tokens, ahead=ahead, target_tokens=batch.target_tokens)
    row, column = chosen.nonzero(as_tuple=True)
    if not len(row):
        return encoded.sum() * 0
    givers, values = encoded[row, column - ahead], tokens.target[chosen]
    loc, scale = scaling.loc[chosen], scaling.scale[chosen]
    counted = tokens.observed_mask[chosen]
    loss = torch.zeros_like(values)
    for size, places in _by_size(batch.patch_size, chosen, module.config.patch_sizes):
        one = Scaling(loc[places][None], scale[places][None])
        density = module.distribution(givers[places][None], size, one).log_prob(values[places][None, :, :size])[0]
        # What does not count may have no density, and must have no gradient.
        kept = torch.where(counted[places, :size], -density, 0.0)
        loss = loss.index_copy(0, places, functional.pad(kept, (0, values.shape[-1] - size)))
    return mean_over_groups(loss, counted, tokens, chosen)


def predicted_tokens(tokens: PackedTokens, *, ahead: int, target_tokens: int | None) -> Bool[Tensor, "batch seq"]:
    """Tokens to be predicted whose distribution is there.

    Args:
        tokens: packed samples.
        ahead: distance of the token that gives it, which must be of the same variate, that many patches earlier.
        target_tokens: tokens at the start of every row that count; None: all.
    """
    predicted = tokens.prediction_mask.clone()
    if target_tokens is not None:
        predicted[:, target_tokens:] = False
    if ahead == 0:
        return predicted
    follows = torch.zeros_like(predicted)
    follows[:, ahead:] = (
        (tokens.sample_id[:, ahead:] == tokens.sample_id[:, :-ahead])
        & (tokens.variate_id[:, ahead:] == tokens.variate_id[:, :-ahead])
        & (tokens.time_id[:, ahead:] == tokens.time_id[:, :-ahead] + ahead)
    )
    return predicted & follows


def _by_size(
    patch_size: int | Int[Tensor, "batch seq"], chosen: Bool[Tensor, "batch seq"], sizes: tuple[int, ...]
) -> list[tuple[int, Int[Tensor, "_"]]]:
    """Patch sizes that occur among the chosen tokens, each with their places in that list."""
    if isinstance(patch_size, int):
        return [(patch_size, torch.arange(int(chosen.sum()), device=chosen.device))]
    of_chosen = patch_size[chosen]
    found = [(size, (of_chosen == size).nonzero()[:, 0]) for size in sizes]
    return [(size, places) for size, places in found if len(places)]


def _quantile(module: Moirai2Module, batch: TrainingBatch) -> Tensor:
    return quantile_objective(module, batch.tokens, target_tokens=batch.target_tokens)


def _absolute(module: Moirai2Module, batch: TrainingBatch) -> Tensor:
    def error(predicted: Tensor, target: Tensor, levels: Tensor) -> Tensor:
        return median_error(predicted, target, levels).abs()

    return quantile_objective(module, batch.tokens, target_tokens=batch.target_tokens, error=error)


def _squared(module: Moirai2Module, batch: TrainingBatch) -> Tensor:
    def error(predicted: Tensor, target: Tensor, levels: Tensor) -> Tensor:
        return median_error(predicted, target, levels) ** 2

    return quantile_objective(module, batch.tokens, target_tokens=batch.target_tokens, error=error)


LOSSES: Mapping[str, NamedLoss] = {
    loss.name: loss
    for loss in (
        NamedLoss("nll", (DistributionModule,), likelihood_objective),
        NamedLoss("quantile", (Moirai2Module,), _quantile),
        NamedLoss("mae", (Moirai2Module,), _absolute),  # of the median; the other levels are left as they are
        NamedLoss("mse", (Moirai2Module,), _squared),
    )
}
DEFAULT = "default"  # likelihood or quantiles, by family


def find_loss(loss: str | Loss, module: PretrainedModule) -> Loss:
    """The loss of a name, which must fit the module's family; a loss object is taken as it is.

    Raises:
        ConfigError: there is none of that name, or the family has it not.
    """
    if not isinstance(loss, str | NamedLoss):
        return loss
    name = loss if isinstance(loss, str) else loss.name
    if name == DEFAULT:
        name = "quantile" if isinstance(module, Moirai2Module) else "nll"
    fitting = [one.name for one in LOSSES.values() if isinstance(module, one.families)]
    if name not in fitting:
        raise ConfigError(f"loss {name!r} is none of {module.config.FAMILY}; it has {', '.join([DEFAULT, *fitting])}")
    return LOSSES[name]


def training_loss(module: PretrainedModule, batch: TrainingBatch, loss: str | Loss = DEFAULT) -> Float[Tensor, ""]:
    """The loss of a batch.

    Args:
        module: a network of any family.
        batch: packed samples.
        loss: a name of `LOSSES`, `default`, or an object that knows its name.

    Raises:
        ConfigError: see `find_loss`.
    """
    return find_loss(loss, module)(module, batch)
