"""Projections with one slab of weights per patch size (specification, sections 6 and 7).

In: tokens and how they are grouped by patch size. Out: every token projected by the slab of its
size; only the active part of a slab is ever multiplied. Where all tokens share one size, as in
forecasts, that slab is one plain matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from moirai.errors import ConfigError
from moirai.layers.linear import linear

KAIMING_A = 5**0.5  # as in torch's linear layers: weights within one over the root of the fan-in


@dataclass(frozen=True)
class TokenSizes:
    """Which slab each token needs, found once per forward and shared by all projections."""

    shared: int | None  # index of the one size of all tokens, where it is known
    groups: tuple[tuple[int, Int[Tensor, "_"]], ...] = ()  # index of a size, places of its flattened tokens

    @classmethod
    def of(cls, patch_size: int | Int[Tensor, "..."], patch_sizes: Sequence[int]) -> "TokenSizes":
        """Group tokens by patch size.

        Args:
            patch_size: one size for all tokens, or one per token; a token whose size is not among
                `patch_sizes` (0: padding) is in no group.
            patch_sizes: of the model, in the order of its slabs.

        Raises:
            ConfigError: the one size of all tokens is none of the model's.
        """
        if isinstance(patch_size, int):
            if patch_size not in patch_sizes:
                raise ConfigError(f"patch_size {patch_size} is none of the model's: {tuple(patch_sizes)}")
            return cls(list(patch_sizes).index(patch_size))
        flat = patch_size.flatten()
        places = [(index, (flat == size).nonzero()[:, 0]) for index, size in enumerate(patch_sizes)]
        return cls(None, tuple((index, chosen) for index, chosen in places if chosen.numel()))


class MultiSize(nn.Module):
    """Slabs `weight [size, width_out, width_in]` and `bias [size, width_out]`; subclasses say which part is active."""

    def __init__(self, patch_sizes: Sequence[int], width_in: int, width_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.patch_sizes = tuple(patch_sizes)
        self.weight = nn.Parameter(torch.empty(len(patch_sizes), width_out, width_in))
        self.bias = nn.Parameter(torch.empty(len(patch_sizes), width_out)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the active part of every slab like a linear layer; the rest is zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        for index in range(len(self.patch_sizes)):
            rows, columns = self._active(index)
            nn.init.kaiming_uniform_(self.weight[index, :rows, :columns], a=KAIMING_A)
            if self.bias is not None:
                nn.init.uniform_(self.bias[index, :rows], -(columns**-0.5), columns**-0.5)

    def _active(self, index: int) -> tuple[int, int]:
        """Rows and columns of a slab that are used; they come first."""
        raise NotImplementedError

    def _slab(self, x: Float[Tensor, "*batch width"], index: int) -> Tensor:
        """Project tokens of one size."""
        raise NotImplementedError

    def _each(self, x: Float[Tensor, "*batch width"], sizes: TokenSizes) -> Tensor:
        """Project tokens, each by the slab of its size; zeros where there is none."""
        if sizes.shared is not None:
            return self._slab(x, sizes.shared)
        flat = x.flatten(0, -2)
        projected = flat.new_zeros(flat.shape[0], self.weight.shape[1])
        for index, chosen in sizes.groups:
            projected = projected.index_copy(0, chosen, self._slab(flat[chosen], index).to(projected.dtype))
        return projected.view(*x.shape[:-1], -1)


class MultiSizeInput(MultiSize):
    """Patches to tokens: of a slab only the columns inside the token's patch are used."""

    def __init__(self, patch_sizes: Sequence[int], dim: int, *, bias: bool = True) -> None:
        super().__init__(patch_sizes, max(patch_sizes), dim, bias=bias)

    def forward(self, x: Float[Tensor, "*batch patch"], sizes: TokenSizes) -> Float[Tensor, "*batch dim"]:
        """Embed every patch; what stands beyond its size is not looked at."""
        return self._each(x, sizes)

    def _active(self, index: int) -> tuple[int, int]:
        return self.weight.shape[1], self.patch_sizes[index]

    def _slab(self, x: Float[Tensor, "*batch width"], index: int) -> Tensor:
        rows, columns = self._active(index)
        return _linear(x[..., :columns], self.weight[index, :rows, :columns], self.bias, index)


class MultiSizeFeature(MultiSize):
    """Tokens to tokens, a dense slab per size."""

    def __init__(self, patch_sizes: Sequence[int], dim: int, *, bias: bool = True) -> None:
        super().__init__(patch_sizes, dim, dim, bias=bias)

    def forward(self, x: Float[Tensor, "*batch dim"], sizes: TokenSizes) -> Float[Tensor, "*batch dim"]:
        """Transform every token."""
        return self._each(x, sizes)

    def _active(self, index: int) -> tuple[int, int]:  # noqa: ARG002 - every slab is used whole
        return self.weight.shape[1], self.weight.shape[2]

    def _slab(self, x: Float[Tensor, "*batch width"], index: int) -> Tensor:
        return _linear(x, self.weight[index], self.bias, index)


class MultiSizeOutput(MultiSize):
    """Tokens to `columns` numbers per position of their patch.

    A slab holds column after column, each as long as the largest patch. Of a size p the first
    `columns * p` rows are active, counted over that layout: with several columns and a small patch
    the later columns consist of the bias alone. The published models were trained so
    (specification, section 18.2). The bias always counts whole.
    """

    def __init__(self, patch_sizes: Sequence[int], dim: int, columns: int = 1) -> None:
        self.columns = columns
        super().__init__(patch_sizes, dim, columns * max(patch_sizes))

    def forward(self, x: Float[Tensor, "*batch dim"], sizes: TokenSizes) -> Float[Tensor, "*batch patch column"]:
        """Numbers of every position.

        Returns:
            As many positions as the size of all tokens has, or, where tokens differ, as the
            largest patch has; what stands beyond a token's own size means nothing.
        """
        if sizes.shared is not None:
            return self._positions(x, sizes.shared)
        return self._each(x, sizes).unflatten(-1, (self.columns, -1)).transpose(-1, -2)

    def _active(self, index: int) -> tuple[int, int]:
        return self.columns * self.patch_sizes[index], self.weight.shape[2]

    def _slab(self, x: Float[Tensor, "*batch width"], index: int) -> Tensor:
        rows, _ = self._active(index)
        assert self.bias is not None, "an output projection has a bias"
        projected = linear(x, self.weight[index, :rows])
        return functional.pad(projected, (0, self.weight.shape[1] - rows)) + self.bias[index]

    def _positions(self, x: Float[Tensor, "*batch dim"], index: int) -> Tensor:
        """The same, without what stands beyond the patch."""
        assert self.bias is not None, "an output projection has a bias"
        size, (rows, _) = self.patch_sizes[index], self._active(index)
        projected = []
        for start in range(0, self.weight.shape[1], max(self.patch_sizes)):
            active = min(max(rows - start, 0), size)
            column = linear(x, self.weight[index, start : start + active])
            projected.append(functional.pad(column, (0, size - active)) + self.bias[index, start : start + size])
        return torch.stack(projected, dim=-1)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, index: int) -> Tensor:
    return linear(x, weight, None if bias is None else bias[index])
