"""Packed multi-head attention with variate bias (specification, sections 4 and 5).

What all layers share is computed once per forward: `AttentionPattern` holds the mask, the
same-variate relation and the rotary tables. Two savings that change no number: where every sample
has a single variate the variate bias is one constant per row of the softmax and cancels; where a
row is one sample no mask is needed, or none beyond the causal order of the fused kernel.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from moirai.layers.norm import RMSNorm
from moirai.layers.rotary import rotary_table, rotate


def packed_mask(
    sample_id: Int[Tensor, "batch seq"], time_id: Int[Tensor, "batch seq"] | None = None
) -> Bool[Tensor, "batch seq seq"]:
    """True where query (row) may attend to key (column).

    That is: in the same sample and, given time ids, at a time not later.
    """
    mask = _same(sample_id)
    if time_id is not None:
        mask = mask & (time_id[:, None, :] <= time_id[:, :, None])
    return mask


@dataclass(frozen=True)
class AttentionPattern:
    """What every layer of one forward pass shares."""

    mask: Bool[Tensor, "batch 1 seq seq"] | None  # None: every key is seen, or those up to the query: see is_causal
    same_variate: Bool[Tensor, "batch 1 seq seq"] | None  # None: one variate per sample, the bias cancels
    cos: Float[Tensor, "batch 1 seq half"]
    sin: Float[Tensor, "batch 1 seq half"]
    is_causal: bool = False  # instead of a mask: the order of the row is the order of time

    @classmethod
    def same_sample(
        cls,
        sample_id: Int[Tensor, "batch seq"],
        time_id: Int[Tensor, "batch seq"],
        variate_id: Int[Tensor, "batch seq"],
        *,
        head_dim: int,
    ) -> "AttentionPattern":
        """Pattern of Moirai 1.x: a token sees its whole sample."""
        tables = rotary_table(time_id, _rotated(head_dim))
        mask = None if _is_constant(sample_id) else packed_mask(sample_id)[:, None]
        if _is_constant(variate_id):
            return cls(mask, None, *tables)
        same_variate = _same(variate_id)[:, None]
        if mask is not None and bool((same_variate | ~mask).all()):
            return cls(mask, None, *tables)
        return cls(mask, same_variate, *tables)

    @classmethod
    def causal(
        cls,
        sample_id: Int[Tensor, "batch seq"],
        time_id: Int[Tensor, "batch seq"],
        variate_id: Int[Tensor, "batch seq"],
        *,
        head_dim: int,
    ) -> "AttentionPattern":
        """Pattern of Moirai-MoE and Moirai 2.0."""
        tables = rotary_table(time_id, _rotated(head_dim))
        same_variate = _same(variate_id)[:, None]
        mask = packed_mask(sample_id, time_id)[:, None]
        if bool((same_variate | ~mask).all()):
            rising = bool((time_id[:, 1:] > time_id[:, :-1]).all())
            if rising and _is_constant(sample_id):
                return cls(None, None, *tables, is_causal=True)
            return cls(mask, None, *tables)
        return cls(mask, same_variate, *tables)


def _rotated(head_dim: int) -> int:
    """Dimensions of a head that carry positions: half of them, in pairs."""
    return head_dim // 2 // 2 * 2


def _same(ids: Int[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq seq"]:
    return ids[:, :, None] == ids[:, None, :]


def _is_constant(ids: Int[Tensor, "batch seq"]) -> bool:
    """Whether every row has one id only."""
    return bool((ids == ids[:, :1]).all())


class VariateBias(nn.Module):
    """Learned bias per head: row 1 of the embedding for keys of the same variate, else row 0."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(2, num_heads)

    def forward(self, same_variate: Bool[Tensor, "batch 1 seq seq"]) -> Float[Tensor, "batch head seq seq"]:
        """Bias of every pair."""
        other, same = self.emb.weight[:, :, None, None]  # [head, 1, 1] each
        return torch.where(same_variate, same, other)


class GroupedQueryAttention(nn.Module):
    """Attention with RMS-normalised queries and keys, rotary positions and variate bias.

    Args:
        dim: width of a token.
        num_heads: query heads.
        num_groups: key/value heads; each serves `num_heads / num_groups` neighbouring query heads.
        bias: whether the linear layers have biases.
        dropout: probability of dropping an attention weight, in training only.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        num_groups: int | None = None,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_groups = num_groups or num_heads
        self.head_dim = dim // num_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(dim, dim, bias=bias)
        self.k_proj = nn.Linear(dim, self.head_dim * self.num_groups, bias=bias)
        self.v_proj = nn.Linear(dim, self.head_dim * self.num_groups, bias=bias)
        self.q_norm = RMSNorm(self.head_dim)
        self.k_norm = RMSNorm(self.head_dim)
        self.var_attn_bias = VariateBias(num_heads)
        self.out_proj = nn.Linear(dim, dim, bias=bias)

    def forward(self, x: Float[Tensor, "batch seq dim"], pattern: AttentionPattern) -> Float[Tensor, "batch seq dim"]:
        """Attend; rows without an admissible key give the output projection of zeros."""
        query = rotate(self.q_norm(self._heads(self.q_proj(x))), pattern.cos, pattern.sin)
        key = rotate(self.k_norm(self._heads(self.k_proj(x))), pattern.cos, pattern.sin)
        value = self._heads(self.v_proj(x))  # [batch, group, seq, head_dim]
        mixed = functional.scaled_dot_product_attention(
            query,
            key.to(query.dtype),
            value.to(query.dtype),
            attn_mask=self._bias(pattern, query.dtype),
            is_causal=pattern.is_causal,
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=self.num_groups != self.num_heads,
        )
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Float[Tensor, "batch seq width"]) -> Float[Tensor, "batch head seq dim"]:
        return torch.unflatten(x, -1, (-1, self.head_dim)).transpose(1, 2)

    def _bias(self, pattern: AttentionPattern, dtype: torch.dtype) -> Tensor | None:
        """Additive mask of the fused kernel: variate bias, minus infinity where not admissible."""
        if pattern.same_variate is None:
            return pattern.mask
        bias = self.var_attn_bias(pattern.same_variate).to(dtype)
        return bias if pattern.mask is None else bias.masked_fill(~pattern.mask, float("-inf"))
