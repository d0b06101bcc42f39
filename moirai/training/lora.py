"""Low-rank adapters (Hu et al. 2021): a trained difference `up @ down` of low rank beside every frozen weight.

In: a module and a rank. Out: the same module, whose adapted weights are `original + up @ down` wherever they are read;
`merge` writes the sums into the weights, so that what is left is an ordinary module with the names of its checkpoint.
Fails with `ConfigError` where a module is adapted twice or no weight can be. Adapted are the matrices of attention,
feed-forward, experts and both projections; of a projection with a slab per patch size every slab has its own.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from moirai.errors import ConfigError
from moirai.layers.multi_size import MultiSize, MultiSizeInput

INITIAL_A = 5**0.5  # of Kaiming's rule: as linear layers are drawn


class LowRank(nn.Module):
    """`weight + up @ down`, nothing at first: `up` starts at zero.

    Args:
        weight: what is adapted: a matrix, or a slab per patch size.
        rank: of the difference.
    """

    def __init__(self, weight: Float[Tensor, "*slab out width"], rank: int) -> None:
        super().__init__()
        *slabs, rows, columns = weight.shape
        self.up = nn.Parameter(weight.new_zeros(*slabs, rows, rank))
        self.down = nn.Parameter(weight.new_empty(*slabs, rank, columns))
        for one in self.down.flatten(0, -3) if slabs else [self.down]:
            nn.init.kaiming_uniform_(one, a=INITIAL_A)

    def forward(self, weight: Float[Tensor, "*slab out width"]) -> Float[Tensor, "*slab out width"]:
        """The adapted weight."""
        return weight + self.up @ self.down


def adapt(module: nn.Module, rank: int) -> None:
    """Freeze a module and put an adapter beside every weight that can have one.

    Args:
        module: changed in place.
        rank: of the adapters; a matrix that is narrower has one of its own width.

    Raises:
        ConfigError: the module is adapted already, or nothing in it can be.
    """
    if any(parametrize.is_parametrized(part) for part in module.modules()):
        raise ConfigError("the module has adapters already; merge them before it is adapted again")
    module.requires_grad_(False)
    places = list(adaptable(module))
    if not places:
        raise ConfigError(f"{type(module).__name__} has no weight that a low-rank adapter fits beside")
    for part in places:
        adapter = LowRank(part.weight, min(rank, *part.weight.shape[-2:]))
        if isinstance(part, MultiSizeInput):
            _blank(part, adapter)
        parametrize.register_parametrization(part, "weight", adapter)


def adaptable(module: nn.Module) -> Iterator[nn.Linear | MultiSize]:
    """The layers of a module that an adapter fits beside."""
    return (part for _, part in sorted(module.named_modules()) if isinstance(part, nn.Linear | MultiSize))


def merge(module: nn.Module) -> None:
    """Write every adapter into its weight; the module is then an ordinary one. One without adapters stays as it is."""
    for part in list(module.modules()):
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=True)
            _restore_order(part)
    module.requires_grad_(True)


@torch.no_grad()
def _blank(part: MultiSizeInput, adapter: LowRank) -> None:
    """What a slab has beyond its patch size stays zero; no gradient reaches it."""
    for index, size in enumerate(part.patch_sizes):
        adapter.down[index, :, size:] = 0.0


def _restore_order(part: nn.Module) -> None:
    """The weight before the bias again, as in a checkpoint."""
    bias = part._parameters.pop("bias", None)  # noqa: SLF001 - the one place that holds the order
    part.register_parameter("bias", bias)
