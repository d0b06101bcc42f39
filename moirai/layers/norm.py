"""RMS norm in the dtype of its input (specification, section 5; Zhang and Sennrich 2019)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-5


class RMSNorm(nn.RMSNorm):
    """`x * rsqrt(mean(x²) + 1e-5) * weight`.

    Under autocast the weight follows the input, which keeps the fused kernel.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=EPS)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Normalise over the last axis."""
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
