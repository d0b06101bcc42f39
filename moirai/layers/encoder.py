"""Pre-norm transformer encoder (specification, section 5)."""

from jaxtyping import Float
from torch import Tensor, nn

from moirai.layers.attention import AttentionPattern, GroupedQueryAttention
from moirai.layers.feed_forward import GatedFeedForward
from moirai.layers.norm import RMSNorm


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each on the normalised residual stream."""

    def __init__(self, dim: int, num_heads: int, hidden: int, *, attn_dropout: float, dropout: float) -> None:
        super().__init__()
        self.self_attn = GroupedQueryAttention(dim, num_heads, dropout=attn_dropout)
        self.ffn = GatedFeedForward(dim, hidden, dropout=dropout)
        self.norm1 = RMSNorm(dim)
        self.norm2 = RMSNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch seq dim"], pattern: AttentionPattern) -> Float[Tensor, "batch seq dim"]:
        """One block."""
        x = x + self.dropout(self.self_attn(self.norm1(x), pattern))
        return x + self.ffn(self.norm2(x))


class Encoder(nn.Module):
    """Blocks and a final norm."""

    def __init__(
        self,
        dim: int,
        num_layers: int,
        num_heads: int,
        hidden: int,
        *,
        attn_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(dim, num_heads, hidden, attn_dropout=attn_dropout, dropout=dropout) for _ in range(num_layers)
        )
        self.norm = RMSNorm(dim)

    def forward(self, x: Float[Tensor, "batch seq dim"], pattern: AttentionPattern) -> Float[Tensor, "batch seq dim"]:
        """Contextual representation of every token."""
        for layer in self.layers:
            x = layer(x, pattern)
        return self.norm(x)
