"""Matrix products of the layers, by the faster of the two libraries that torch carries for the CPU.

In: what `torch.nn.functional.linear` takes. Out: what it gives, to float32 rounding. In float32 on a CPU torch asks
MKL, which on processors of another maker leaves half of the vector width unused; oneDNN, which torch asks in bfloat16,
uses it in float32 as well. So float32 products with enough rows go to oneDNN, forward and backward; everything else
(other devices and types, autocast, a graph that is compiled, few rows) goes where torch sends it. Nothing fails that
did not fail in torch. `docs/benchmarks.md` has the rates of both.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

MINIMUM_ROWS = 16  # with fewer, the call costs more than the product gains


class Linear(nn.Linear):
    """`torch.nn.Linear` with `linear` inside."""

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch out"]:
        """`x @ weight.T + bias`."""
        return linear(x, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*batch width"], weight: Float[Tensor, "out width"], bias: Float[Tensor, "out"] | None = None
) -> Float[Tensor, "*batch out"]:
    """`x @ weight.T + bias`."""
    if not _suits_onednn(x, weight):
        return functional.linear(x, weight, bias)
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (x, weight, bias)):
        product: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
        return product.view(*x.shape[:-1], -1)
    return _onednn(x, weight, bias)


class _Linear(torch.autograd.Function):
    """The product with its derivatives: `dx = dy W`, `dW = dy' x`, `db = sum of dy`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (outer,) = gradients
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        outer = outer.contiguous()
        return (
            _onednn(outer, weight.t(), None) if of_x else None,
            _onednn(outer.t(), x.t(), None) if of_weight else None,
            outer.sum(0) if of_bias else None,
        )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    operands = _dense(x), _dense(weight)
    return torch.ops.mkldnn._linear_pointwise(*operands, bias, "none", [], "")  # noqa: SLF001 - it has no public name


def _dense(matrix: Tensor) -> Tensor:
    """Without gaps between rows or columns, over which oneDNN goes many times slower."""
    has_gaps = not matrix.is_contiguous() and not matrix.mT.is_contiguous()
    return matrix.contiguous() if has_gaps else matrix


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype is torch.float32
        and weight.dtype is torch.float32
        and x.device.type == "cpu"
        and weight.device.type == "cpu"
        and weight.numel() > 0
        and x.numel() >= MINIMUM_ROWS * x.shape[-1]
        and _HAS_ONEDNN
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
