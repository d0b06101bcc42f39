"""Attention of heads: plain products give what the fused kernel gives, with its derivatives."""

import pytest
import torch
from torch.nn import functional

from moirai.layers import attend as room
from moirai.layers.attend import attend


def heads(batch=3, length=20):
    """Queries, keys, values and an outer derivative, in bfloat16."""
    torch.manual_seed(0)
    made = [torch.randn(batch, 2, length, 8).bfloat16() for _ in range(4)]
    return [one.requires_grad_() for one in made[:3]], made[3]


def bias_of(kind, batch=3, length=20):
    """A mask or bias of each kind."""
    seen = torch.rand(batch, 1, length, length) < 0.7
    seen |= torch.eye(length, dtype=torch.bool)
    if kind == "additive":
        return torch.randn(batch, 2, length, length).bfloat16().masked_fill(~seen, -torch.inf)
    return {"mask": seen, "shared": seen[:1], "none": None, "causal": None}[kind]


@pytest.mark.parametrize("kind", ["none", "causal", "mask", "shared", "additive"])
@pytest.mark.parametrize("block", [1, 2**22])
def test_products_are_the_fused_kernel_to_rounding(kind, block, monkeypatch):
    """Values and derivatives, all rows at once and one row at a time."""
    monkeypatch.setattr(room, "BLOCK", block)
    inputs, outer = heads()
    bias, is_causal = bias_of(kind), kind == "causal"
    ours = attend(*inputs, bias, is_causal=is_causal)
    theirs = functional.scaled_dot_product_attention(
        *(one.float() for one in inputs),
        attn_mask=bias if bias is None or bias.dtype is torch.bool else bias.float(),
        is_causal=is_causal,
    )
    torch.testing.assert_close(ours.float(), theirs, rtol=0.03, atol=0.03)
    ours = torch.autograd.grad(ours, inputs, outer)
    theirs = torch.autograd.grad(theirs, inputs, outer.float())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.05, atol=0.05)


def test_a_row_that_sees_nothing_gives_zeros():
    """Such rows are left to the fused kernel, also in training."""
    inputs, _ = heads()
    seen = torch.ones(3, 1, 20, 20, dtype=torch.bool)
    seen[1, :, 4] = False
    mixed = attend(*inputs, seen)
    assert (mixed[1, :, 4] == 0).all()
    assert mixed.isfinite().all()


def test_forecasts_and_float32_keep_the_fused_kernel():
    """Without a derivative, and in float32, the numbers are exactly torch's."""
    inputs, _ = heads()
    with torch.no_grad():
        plain = [one.detach() for one in inputs]
        torch.testing.assert_close(
            attend(*plain, None), functional.scaled_dot_product_attention(*plain), rtol=0, atol=0
        )
    single = [one.detach().float().requires_grad_() for one in inputs]
    torch.testing.assert_close(attend(*single, None), functional.scaled_dot_product_attention(*single), rtol=0, atol=0)
