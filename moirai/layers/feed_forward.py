"""Gated feed-forward (specification, section 5; Shazeer 2020, "GLU Variants Improve Transformer")."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class GatedFeedForward(nn.Module):
    """`fc2(silu(fc_gate(x)) * fc1(x))`, dropout before and after `fc2`."""

    def __init__(self, dim: int, hidden: int, *, bias: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, bias=bias)
        self.fc_gate = nn.Linear(dim, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, dim, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Transform every token by itself."""
        hidden = functional.silu(self.fc_gate(x)) * self.fc1(x)  # [*batch, hidden]
        return self.dropout(self.fc2(self.dropout(hidden)))
