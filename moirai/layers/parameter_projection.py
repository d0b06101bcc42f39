"""Tokens to the raw parameters of a distribution (specification, sections 6 and 9).

One multi-size output projection per argument, nested as the arguments of the distribution: a
mixture has `weights_logits` and a list of `components`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from moirai.layers.multi_size import MultiSizeOutput, TokenSizes


class ParameterProjection(nn.Module):
    """Raw parameters of every position of every token.

    Args:
        dim: width of a token.
        patch_sizes: of the model.
        args: argument -> dimensionality; the components of a mixture are a list of the same.
    """

    def __init__(self, dim: int, patch_sizes: Sequence[int], args: Mapping[str, Any]) -> None:
        super().__init__()
        self.proj = _projections(args, dim, patch_sizes)

    def forward(self, x: Float[Tensor, "*batch dim"], sizes: TokenSizes) -> dict[str, Any]:
        """Raw parameters, nested as the arguments: `[*batch, patch, dimensionality]` each."""
        return _project(self.proj, x, sizes)


def _projections(args: Any, dim: int, patch_sizes: Sequence[int]) -> nn.Module:
    if isinstance(args, Mapping):
        return nn.ModuleDict({name: _projections(value, dim, patch_sizes) for name, value in args.items()})
    if isinstance(args, int):
        return MultiSizeOutput(patch_sizes, dim, args)
    return nn.ModuleList(_projections(value, dim, patch_sizes) for value in args)


def _project(projections: nn.Module, x: Tensor, sizes: TokenSizes) -> Any:
    if isinstance(projections, nn.ModuleDict):
        return {name: _project(one, x, sizes) for name, one in projections.items()}
    if isinstance(projections, nn.ModuleList):
        return [_project(one, x, sizes) for one in projections]
    return projections(x, sizes)
