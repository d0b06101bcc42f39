"""Pre-norm transformer encoders, dense and sparse (specification, sections 5 and 7)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moirai.layers.attention import AttentionPattern, GroupedQueryAttention
from moirai.layers.cache import KeyValueCache, LayerCache
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
        self,
        x: Float[Tensor, "batch seq dim"],
        pattern: AttentionPattern,
        *routing: Float[Tensor, "expert dim"],
        positions: Int[Tensor, "chosen"] | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch kept dim"]:
        """One block; of `positions` only, where given."""
        kept = x if positions is None else x.index_select(1, positions)
        kept = kept + self.dropout(self.self_attn(self.norm1(x), pattern, positions=positions, cache=cache))
        return kept + self.ffn(self.norm2(kept), *routing)


class Encoder(nn.Module):
    """Blocks and a final norm.

    Where only some tokens are wanted, the last block computes the others' keys and values and
    nothing else of them.
    """

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

    def forward(
        self,
        x: Float[Tensor, "batch seq dim"],
        pattern: AttentionPattern,
        *,
        positions: Int[Tensor, "chosen"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch kept dim"]:
        """Contextual representation of every token.

        Args:
            x: embedded tokens.
            pattern: which of them see which.
            positions: tokens, the same of every row, that are wanted; all if not given.
            cache: keeps what later tokens need of these, and gives what these need of earlier ones.
        """
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            wanted = positions if index == last else None
            kept = None if cache is None else cache.layers[index]
            x = layer(x, pattern, *self._routing(index), positions=wanted, cache=kept)
        return self.norm(x)

    def _routing(self, index: int) -> tuple[Tensor, ...]:  # noqa: ARG002 - a dense layer needs none
        """What the feed-forward of a layer needs besides the tokens."""
        return ()

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

    def _routing(self, index: int) -> tuple[Tensor, ...]:
        return (self.centroid[index],)

    def _feed_forward(self, dim: int, hidden: int, dropout: float) -> nn.Module:
        return MixtureOfExperts(dim, hidden, dropout=dropout)
