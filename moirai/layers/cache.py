"""Keys and values of tokens that are encoded already, for decoding a few new tokens at a time.

In: the tokens of a context, once; then the new tokens of several paths, step by step. Out: the
attention of the new tokens to everything before them, at the cost of the new ones.

All paths of a row look at the same context, whose keys and values are kept once. What a path writes
is its own. A step holds the new tokens of all paths side by side in the row, path after path
(`[batch, path * new, dim]`); keys of other paths do not exist for it. It is exact as long as
earlier tokens stay what they were: they see no later ones, and their statistics do not change
(specification, section 18.7).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Heads = Float[Tensor, "batch group token dim"]


@dataclass(frozen=True)
class AttentionIds:
    """What says which token sees which."""

    sample_id: Int[Tensor, "batch token"]
    time_id: Int[Tensor, "batch token"]
    variate_id: Int[Tensor, "batch token"]

    def first(self, count: int) -> "AttentionIds":
        """The first tokens."""
        return AttentionIds(self.sample_id[:, :count], self.time_id[:, :count], self.variate_id[:, :count])

    def followed_by(self, other: "AttentionIds") -> "AttentionIds":
        """These tokens and, behind them, others."""
        return AttentionIds(
            torch.cat((self.sample_id, other.sample_id), dim=1),
            torch.cat((self.time_id, other.time_id), dim=1),
            torch.cat((self.variate_id, other.variate_id), dim=1),
        )


class LayerCache:
    """Keys and values of one layer: of the context, shared, and of what each path has written."""

    def __init__(self) -> None:
        self._shared: tuple[Heads, Heads] | None = None
        self._own: tuple[Tensor, Tensor] | None = None  # [batch, group, path, token, dim]

    @property
    def is_filled(self) -> bool:
        """Whether the context is in."""
        return self._shared is not None

    def fill(self, key: Heads, value: Heads) -> None:
        """Keep the context."""
        self._shared = (key, value)

    def attend(
        self,
        query: Float[Tensor, "batch head path_query dim"],
        key: Float[Tensor, "batch group path_new dim"],
        value: Float[Tensor, "batch group path_new dim"],
        bias: Tensor | None,
        *,
        paths: int,
    ) -> Float[Tensor, "batch head path_query dim"]:
        """Attention of new tokens to the context and to those of their own path, which are kept.

        Args:
            query: of the new tokens, path after path.
            key: of the new tokens.
            value: of the new tokens.
            bias: added to the logits, or True where a key is seen: `[batch, head or 1, query, key]`
                of one path, over the context, what the path had written, and the new tokens.
            paths: side by side in a row.
        """
        assert self._shared is not None, "the context comes first"
        new = tuple(torch.unflatten(one, 2, (paths, -1)) for one in (key, value))
        if self._own is not None:
            new = tuple(torch.cat((old, one), dim=3) for old, one in zip(self._own, new, strict=True))
        self._own = (new[0], new[1])
        times = query.shape[1] // key.shape[1]  # query heads that share a key
        (context_key, context_value), (own_key, own_value) = (
            [one.repeat_interleave(times, dim=1) if times > 1 else one for one in pair]
            for pair in (self._shared, self._own)
        )
        asked = query * query.shape[-1] ** -0.5
        by_path = torch.unflatten(asked, 2, (paths, -1))  # [batch, head, path, query, dim]
        to_context = torch.unflatten(asked @ context_key.transpose(-1, -2), 2, (paths, -1))
        logits = torch.cat((to_context, by_path @ own_key.transpose(-1, -2)), dim=-1)
        if bias is not None:
            bias = bias[:, :, None]
            logits = logits.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else logits + bias
        weights = logits.softmax(-1).to(context_value.dtype)
        width = context_key.shape[2]
        from_context = weights[..., :width].flatten(2, 3) @ context_value
        from_own = weights[..., width:] @ own_value
        return from_context + from_own.flatten(2, 3)


class KeyValueCache:
    """What the tokens encoded so far leave to later ones.

    Args:
        num_layers: of the encoder.
    """

    def __init__(self, num_layers: int) -> None:
        self.layers = [LayerCache() for _ in range(num_layers)]
        self.paths = 1  # that stand side by side in a row of the tokens that come next
        self.ids: AttentionIds | None = None  # of the context and, behind it, of what a path has written

    def announce(self, ids: AttentionIds) -> tuple[AttentionIds, AttentionIds | None]:
        """Take the ids of the tokens that come next.

        Returns:
            Ids of the new tokens of one path (all paths have the same), and of all tokens up to
            them; None if nothing came before.
        """
        new = ids.first(ids.time_id.shape[1] // self.paths)
        before = self.ids
        self.ids = new if before is None else before.followed_by(new)
        return new, None if before is None else self.ids
