"""Blocks between attention and head: feed-forward, norm, residual block, encoder."""

import pytest
import torch
from torch.nn import functional

from moirai.layers.attention import AttentionPattern
from moirai.layers.encoder import Encoder
from moirai.layers.feed_forward import GatedFeedForward
from moirai.layers.norm import RMSNorm
from moirai.layers.patch_projection import ResidualBlock


def test_norm_by_hand():
    """The norm divides by the root of the mean square."""
    expected = torch.tensor([3.0, 4.0]) / (12.5 + 1e-5) ** 0.5
    torch.testing.assert_close(RMSNorm(2)(torch.tensor([3.0, 4.0])), expected)


def test_norm_keeps_the_type():
    """A bfloat16 input stays bfloat16, whatever the type of the weight."""
    assert RMSNorm(4)(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_feed_forward_by_formula():
    """The gate is the SiLU branch, `fc1` the linear one."""
    layer, x = GatedFeedForward(6, 5, bias=True), torch.randn(2, 3, 6)
    expected = layer.fc2(functional.silu(layer.fc_gate(x)) * layer.fc1(x))
    torch.testing.assert_close(layer(x), expected)


def test_residual_block_by_formula():
    """A residual block adds a linear map to its hidden layer's."""
    block, x = ResidualBlock(6, 5, 4), torch.randn(2, 3, 6)
    expected = block.output_layer(functional.silu(block.hidden_layer(x))) + block.residual_layer(x)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_encoder_depth(layers):
    """An encoder of any depth keeps the shape and ends with its norm."""
    encoder = Encoder(64, layers, 1, 16)
    time = torch.arange(5)[None]
    pattern = AttentionPattern.causal(torch.ones_like(time), time, torch.zeros_like(time), head_dim=64)
    encoded = encoder(torch.randn(1, 5, 64), pattern)
    assert encoded.shape == (1, 5, 64)
    torch.testing.assert_close(encoded.square().mean(-1), torch.ones(1, 5), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("where", ["attn_dropout", "dropout"])
def test_encoder_dropout(where):
    """Both dropouts act in training and never afterwards."""
    encoder, x = Encoder(64, 1, 1, 16, **{where: 0.5}), torch.randn(1, 5, 64)
    time = torch.arange(5)[None]
    pattern = AttentionPattern.causal(torch.ones_like(time), time, torch.zeros_like(time), head_dim=64)
    assert not torch.equal(encoder.train()(x, pattern), encoder(x, pattern))
    assert torch.equal(encoder.eval()(x, pattern), encoder(x, pattern))
