"""Between patches and tokens (specification, section 8)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from moirai.layers.linear import Linear


class ResidualBlock(nn.Module):
    """`output_layer(silu(hidden_layer(x))) + residual_layer(x)`, all three with biases."""

    def __init__(self, width_in: int, hidden: int, width_out: int) -> None:
        super().__init__()
        self.hidden_layer = Linear(width_in, hidden)
        self.output_layer = Linear(hidden, width_out)
        self.residual_layer = Linear(width_in, width_out)

    def forward(self, x: Float[Tensor, "*batch width_in"]) -> Float[Tensor, "*batch width_out"]:
        """Project every token by itself."""
        return self.output_layer(functional.silu(self.hidden_layer(x))) + self.residual_layer(x)
