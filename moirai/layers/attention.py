"""Packed multi-head attention with variate bias (specification, sections 4 and 5).

What all layers share is computed once per forward: `AttentionPattern` holds the mask, the
same-variate relation and the rotary tables. Two savings that change no number: where every sample
has a single variate the variate bias is one constant per row of the softmax and cancels; where a
row is one sample no mask is needed, or none beyond the causal order of the fused kernel.

Two more where a caller says what it needs: `positions` are the tokens that look, when the others
are only looked at; a `LayerCache` keeps keys and values for tokens that are encoded later.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from moirai.layers.attend import attend
from moirai.layers.cache import AttentionIds, KeyValueCache, LayerCache
from moirai.layers.linear import Linear
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

    mask: Bool[Tensor, "batch 1 query key"] | None  # None: every key is seen, or those up to the query: see is_causal
    same_variate: Bool[Tensor, "batch 1 query key"] | None  # None: one variate per sample, the bias cancels
    cos: Float[Tensor, "batch 1 token half"]
    sin: Float[Tensor, "batch 1 token half"]
    is_causal: bool = False  # instead of a mask: the order of the row is the order of time
    paths: int = 1  # side by side in a row; mask and same_variate are those of one path

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
        cache: KeyValueCache | None = None,
    ) -> "AttentionPattern":
        """Pattern of Moirai-MoE and Moirai 2.0, of tokens whose predecessors may be in a cache."""
        if cache is not None:
            new, known = cache.announce(AttentionIds(sample_id, time_id, variate_id))
            if known is not None:
                return cls._following(new, known, paths=cache.paths, head_dim=head_dim)
        tables = rotary_table(time_id, _rotated(head_dim))
        same_variate = _same(variate_id)[:, None]
        mask = packed_mask(sample_id, time_id)[:, None]
        if bool((same_variate | ~mask).all()):
            rising = bool((time_id[:, 1:] > time_id[:, :-1]).all())
            if rising and _is_constant(sample_id):
                return cls(None, None, *tables, is_causal=True)
            return cls(mask, None, *tables)
        return cls(mask, same_variate, *tables)

    @classmethod
    def _following(cls, query: AttentionIds, key: AttentionIds, *, paths: int, head_dim: int) -> "AttentionPattern":
        """Pattern of new tokens, whose keys are the cached ones and, behind them, their own."""
        tables = rotary_table(query.time_id.repeat(1, paths), _rotated(head_dim))
        mask = _equal(query.sample_id, key.sample_id) & (key.time_id[:, None, :] <= query.time_id[:, :, None])
        same_variate = _equal(query.variate_id, key.variate_id)
        cancels = bool((same_variate | ~mask).all())
        return cls(
            mask=None if bool(mask.all()) else mask[:, None],
            same_variate=None if cancels else same_variate[:, None],
            cos=tables[0],
            sin=tables[1],
            paths=paths,
        )

    def select(self, positions: Int[Tensor, "chosen"]) -> "AttentionPattern":
        """The pattern of these queries, the same of every path; their keys stay."""
        of_one = positions[: len(positions) // self.paths]
        mask, same_variate = (
            None if pairs is None else pairs.index_select(2, of_one) for pairs in (self.mask, self.same_variate)
        )
        if self.is_causal:
            order = torch.arange(self.cos.shape[2], device=positions.device)
            mask = (order <= positions[:, None]).expand(len(self.cos), 1, -1, -1)
            mask = None if bool(mask.all()) else mask
        cos, sin = (table.index_select(2, positions) for table in (self.cos, self.sin))
        return AttentionPattern(mask, same_variate, cos, sin, paths=self.paths)


def _rotated(head_dim: int) -> int:
    """Dimensions of a head that carry positions: half of them, in pairs."""
    return head_dim // 2 // 2 * 2


def _same(ids: Int[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq seq"]:
    return _equal(ids, ids)


def _equal(query: Int[Tensor, "batch query"], key: Int[Tensor, "batch key"]) -> Bool[Tensor, "batch query key"]:
    return query[:, :, None] == key[:, None, :]


def _is_constant(ids: Int[Tensor, "batch seq"]) -> bool:
    """Whether every row has one id only."""
    return bool((ids == ids[:, :1]).all())


class VariateBias(nn.Module):
    """Learned bias per head: row 1 of the embedding for keys of the same variate, else row 0."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(2, num_heads)

    def forward(self, same_variate: Bool[Tensor, "batch 1 query key"]) -> Float[Tensor, "batch head query key"]:
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
        self.q_proj = Linear(dim, dim, bias=bias)
        self.k_proj = Linear(dim, self.head_dim * self.num_groups, bias=bias)
        self.v_proj = Linear(dim, self.head_dim * self.num_groups, bias=bias)
        self.q_norm = RMSNorm(self.head_dim)
        self.k_norm = RMSNorm(self.head_dim)
        self.var_attn_bias = VariateBias(num_heads)
        self.out_proj = Linear(dim, dim, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch seq dim"],
        pattern: AttentionPattern,
        *,
        positions: Int[Tensor, "chosen"] | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Attend; rows without an admissible key give the output projection of zeros.

        Args:
            x: normalised tokens.
            pattern: of all tokens.
            positions: tokens, the same of every row, that are wanted; all if not given.
            cache: takes the keys and values of these tokens, and gives those of earlier ones.
        """
        asking, asked = x, pattern
        if positions is not None:
            asking, asked = x.index_select(1, positions), pattern.select(positions)
        query = rotate(self.q_norm(self._heads(self.q_proj(asking))), asked.cos, asked.sin)
        key = rotate(self.k_norm(self._heads(self.k_proj(x))), pattern.cos, pattern.sin).to(query.dtype)
        value = self._heads(self.v_proj(x)).to(query.dtype)  # [batch, group, seq, head_dim]
        bias = self._bias(asked, query.dtype)
        if cache is not None and cache.is_filled:
            mixed = cache.attend(query, key, value, bias, paths=pattern.paths)
        else:
            if cache is not None:
                cache.fill(key, value)
            dropout = self.dropout if self.training else 0.0
            mixed = attend(query, key, value, bias, is_causal=asked.is_causal, dropout=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Float[Tensor, "batch seq width"]) -> Float[Tensor, "batch head seq dim"]:
        return torch.unflatten(x, -1, (-1, self.head_dim)).transpose(1, 2)

    def _bias(self, pattern: AttentionPattern, dtype: torch.dtype) -> Tensor | None:
        """Additive mask of the fused kernel: variate bias, minus infinity where not admissible."""
        if pattern.same_variate is None:
            return pattern.mask
        bias = self.var_attn_bias(pattern.same_variate).to(dtype)
        return bias if pattern.mask is None else bias.masked_fill(~pattern.mask, float("-inf"))
