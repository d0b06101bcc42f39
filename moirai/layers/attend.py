"""Attention of projected heads, by whatever is fastest where it runs.

In: queries, keys and values, an additive or boolean mask. Out: their mixtures, as `scaled_dot_product_attention` gives
them. On a CPU in bfloat16, torch's fused kernel spends three times as long on the derivative as plain products do while
the scores stay in the cache: so training takes products there, a few rows at a time. The scores are then rounded to
bfloat16 before the softmax; forecasts, which have no derivative, keep the fused kernel, whose scores are float32.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

BLOCK = 2**22  # scores at a time


def attend(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch group key dim"],
    value: Float[Tensor, "batch group key dim"],
    bias: Tensor | None,
    *,
    is_causal: bool = False,
    dropout: float = 0.0,
) -> Float[Tensor, "batch head query dim"]:
    """Softmax of the scaled scores, times the values; rows without an admissible key give zeros.

    Args:
        query: normalised, with positions.
        key: the same; each group serves neighbouring heads.
        value: what is mixed.
        bias: boolean (seen or not) or additive, `[batch or 1, head or 1, query, key]`; None: every key is seen.
        is_causal: instead of a bias: keys up to the query are seen.
        dropout: probability of dropping a weight.
    """
    if _suits_products(query, key, bias, dropout):
        return _by_products(query, key, value, bias, is_causal=is_causal)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias,
        is_causal=is_causal,
        dropout_p=dropout,
        enable_gqa=key.shape[1] != query.shape[1],
    )


def _suits_products(query: Tensor, key: Tensor, bias: Tensor | None, dropout: float) -> bool:
    return (
        query.device.type == "cpu"
        and query.dtype is torch.bfloat16
        and query.requires_grad
        and key.shape[1] == query.shape[1]
        and dropout == 0
        and not torch.compiler.is_compiling()
        and (bias is None or _sees_something(bias))
    )


def _sees_something(bias: Tensor) -> bool:
    """Whether every row has an admissible key."""
    admissible = bias if bias.dtype is torch.bool else bias > -torch.inf
    return bool(admissible.any(-1).all())


def _by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, *, is_causal: bool) -> Tensor:
    batch, heads, asking, dim = query.shape
    if is_causal:
        bias = torch.ones(asking, key.shape[2], dtype=torch.bool, device=query.device).tril()[None, None]
    if bias is not None and bias.dtype is torch.bool:
        bias = torch.zeros_like(bias, dtype=query.dtype).masked_fill_(~bias, -torch.inf)
    rows = max(1, BLOCK // (heads * asking * key.shape[2]))
    biases = [bias] * -(-batch // rows) if bias is None or bias.shape[0] == 1 else bias.split(rows)
    parts = zip(query.split(rows), key.split(rows), value.split(rows), biases, strict=True)
    mixed = []
    for some_queries, some_keys, some_values, some_bias in parts:
        scores = torch.bmm((some_queries * dim**-0.5).flatten(0, 1), some_keys.flatten(0, 1).mT)
        scores = scores.view(-1, heads, *scores.shape[1:])
        weights = (scores if some_bias is None else scores + some_bias).softmax(-1)
        mixed.append(torch.bmm(weights.flatten(0, 1), some_values.flatten(0, 1)).view_as(some_queries))
    return torch.cat(mixed)
