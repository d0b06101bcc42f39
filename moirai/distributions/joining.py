"""Laws of several batches as laws of one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from moirai.distributions.base import Distribution


def concatenate(laws: Sequence[Distribution], *, dim: int) -> Distribution:
    """Laws of one kind, side by side along an axis of their batch.

    Args:
        laws: at least one; the same families in the same order.
        dim: axis, counted from the front.
    """
    assert dim >= 0, "parameters of a mixture have one axis more than the batch, at the end"
    gathered = [_parameters(law) for law in laws]
    joined = iter([torch.cat(same, dim=dim) for same in zip(*gathered, strict=True)])
    return laws[0].map(lambda _: next(joined))


def _parameters(law: Distribution) -> list[Tensor]:
    """Parameters in the order in which `map` visits them."""
    visited: list[Tensor] = []

    def visit(parameter: Tensor) -> Tensor:
        visited.append(parameter)
        return parameter

    law.map(visit)
    return visited
