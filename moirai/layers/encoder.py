"""Pre-norm transformer encoders, dense and sparse (specification, sections 5 and 7)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moirai.layers.attention import AttentionPattern, GroupedQueryAttention
from moirai.layers.feed_forward import NUM_EXPERTS, GatedFeedForward, MixtureOfExperts
from moirai.layers.norm import RMSNorm


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each on the normalised residual stream.

    Args:
        dim: width of a token.
        num_heads: attention heads.
        ffn: feed-forward of a token; what it needs besides, `forward` passes on.
        attn_dropout: probability of dropping an attention weight.
        dropout: probability of dropping an output of the attention.
    """

    def __init__(self, dim: int, num_heads: int, ffn: nn.Module, *, attn_dropout: float, dropout: float) -> None:
        super().__init__()
        self.self_attn = GroupedQueryAttention(dim, num_heads, dropout=attn_dropout)
        self.ffn = ffn
        self.norm1 = RMSNorm(dim)
        self.norm2 = RMSNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch seq dim"], pattern: AttentionPattern, *routing: Float[Tensor, "expert dim"]
    ) -> Float[Tensor, "batch seq dim"]:
        """One block."""
        x = x + self.dropout(self.self_attn(self.norm1(x), pattern))
        return x + self.ffn(self.norm2(x), *routing)


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
            EncoderLayer(
                dim, num_heads, self._feed_forward(dim, hidden, dropout), attn_dropout=attn_dropout, dropout=dropout
            )
            for _ in range(num_layers)
        )
        self.norm = RMSNorm(dim)

    def forward(self, x: Float[Tensor, "batch seq dim"], pattern: AttentionPattern) -> Float[Tensor, "batch seq dim"]:
        """Contextual representation of every token."""
        for layer in self.layers:
            x = layer(x, pattern)
        return self.norm(x)

    def _feed_forward(self, dim: int, hidden: int, dropout: float) -> nn.Module:
        return GatedFeedForward(dim, hidden, dropout=dropout)


class SparseEncoder(Encoder):
    """An encoder whose feed-forwards are mixtures of experts.

    `centroid` says how each layer routes; it is part of a checkpoint and not trained. A new encoder
    starts from normal draws, which have the size of the normalised tokens that are compared with
    them.
    """

    centroid: Float[Tensor, "layer expert dim"]

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
        super().__init__(dim, num_layers, num_heads, hidden, attn_dropout=attn_dropout, dropout=dropout)
        self.register_buffer("centroid", torch.randn(num_layers, NUM_EXPERTS, dim, dtype=torch.float64))

    def forward(self, x: Float[Tensor, "batch seq dim"], pattern: AttentionPattern) -> Float[Tensor, "batch seq dim"]:
        """Contextual representation of every token."""
        for layer, centroid in zip(self.layers, self.centroid, strict=True):
            x = layer(x, pattern, centroid)
        return self.norm(x)

    def _feed_forward(self, dim: int, hidden: int, dropout: float) -> nn.Module:
        return MixtureOfExperts(dim, hidden, dropout=dropout)
