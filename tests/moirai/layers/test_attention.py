"""Packed attention: masks, shortcuts, groups, rotary positions."""

import pytest
import torch

from moirai.config import HEAD_DIM
from moirai.layers.attention import AttentionPattern, GroupedQueryAttention, packed_mask
from moirai.layers.rotary import rotary_table, rotate


def attention(dim=64, num_heads=1, **settings):
    """A layer with random weights, norms and bias included."""
    layer = GroupedQueryAttention(dim, num_heads, **settings)
    for parameter in layer.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    return layer


def general(sample, time, variate):
    """The pattern without any shortcut."""
    same = (variate[:, :, None] == variate[:, None, :])[:, None]
    return AttentionPattern(packed_mask(sample, time)[:, None], same, *rotary_table(time, HEAD_DIM // 2))


ROWS = {
    "one sample in order": ([[1] * 6], [[0, 1, 2, 3, 4, 5]], [[0] * 6]),
    "several samples": ([[1, 1, 1, 2, 2, 2]], [[0, 1, 2, 0, 1, 2]], [[0] * 6]),
    "times that go on over samples": ([[1, 1, 1, 2, 2, 2]], [[0, 1, 2, 3, 4, 5]], [[0] * 6]),
    "padding before and shared times": ([[0, 0, 1, 1, 1, 1]], [[0, 0, 0, 1, 2, 3]], [[0] * 6]),
    "another variate per sample": ([[1, 1, 1, 2, 2, 2]], [[0, 1, 2, 0, 1, 2]], [[4, 4, 4, 7, 7, 7]]),
    "reversed order": ([[1] * 6], [[5, 4, 3, 2, 1, 0]], [[0] * 6]),
    "two variates": ([[1] * 6], [[0, 1, 2, 0, 1, 2]], [[0, 0, 0, 1, 1, 1]]),
}


@pytest.mark.parametrize(
    ("name", "masked", "biased"),
    [
        ("one sample in order", False, False),
        ("several samples", True, False),
        ("times that go on over samples", True, False),
        ("padding before and shared times", True, False),
        ("another variate per sample", True, False),
        ("reversed order", True, False),
        ("two variates", True, True),
    ],
)
def test_shortcuts_equal_the_general_path(name, masked, biased):
    """Whatever is left out where it cancels, the result is that of mask and variate bias."""
    sample, time, variate = map(torch.tensor, ROWS[name])
    pattern = AttentionPattern.causal(sample, time, variate, head_dim=HEAD_DIM)
    assert (pattern.mask is not None, pattern.same_variate is not None) == (masked, biased)
    layer, x = attention(), torch.randn(1, 6, 64)
    torch.testing.assert_close(layer(x, pattern), layer(x, general(sample, time, variate)))


@pytest.mark.parametrize(
    ("name", "masked", "biased"),
    [
        ("one sample in order", False, False),
        ("several samples", True, False),
        ("padding before and shared times", True, False),
        ("another variate per sample", True, False),
        ("reversed order", False, False),
        ("two variates", False, True),
        ("two variates and padding", True, True),
    ],
)
def test_same_sample_shortcuts_equal_the_general_path(name, masked, biased):
    """Without causality, too, nothing changes where mask or variate bias is left out."""
    padded = ([[1, 1, 1, 1, 0, 0]], [[0, 1, 0, 1, 0, 0]], [[0, 0, 1, 1, 0, 0]])
    sample, time, variate = map(torch.tensor, (ROWS | {"two variates and padding": padded})[name])
    pattern = AttentionPattern.same_sample(sample, time, variate, head_dim=HEAD_DIM)
    assert (pattern.mask is not None, pattern.same_variate is not None) == (masked, biased)
    same = (variate[:, :, None] == variate[:, None, :])[:, None]
    full = AttentionPattern(packed_mask(sample)[:, None], same, *rotary_table(time, HEAD_DIM // 2))
    layer, x = attention(), torch.randn(1, 6, 64)
    torch.testing.assert_close(layer(x, pattern), layer(x, full))


def test_mask_by_hand():
    """A token sees its own sample, up to its own time."""
    sample, time = torch.tensor([[1, 1, 2, 0]]), torch.tensor([[0, 1, 0, 0]])
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert packed_mask(sample, time)[0].int().tolist() == expected


def test_bias_needs_another_variate():
    """The variate bias matters as soon as a token sees another variate."""
    sample, time, variate = map(torch.tensor, ROWS["two variates"])
    layer, x = attention(), torch.randn(1, 6, 64)
    with_bias = layer(x, general(sample, time, variate))
    without = layer(x, general(sample, time, torch.zeros_like(variate)))
    assert not torch.allclose(with_bias, without, atol=1e-3)


@pytest.mark.parametrize(("num_heads", "num_groups"), [(4, 1), (4, 2), (4, 4)])
def test_groups_equal_repeated_heads(num_heads, num_groups):
    """Fewer groups than heads give what full attention gives with keys and values repeated."""
    grouped = attention(128, num_heads, num_groups=num_groups)
    full = attention(128, num_heads)
    state = grouped.state_dict()
    for name in ("k_proj.weight", "v_proj.weight"):
        heads = state[name].unflatten(0, (num_groups, -1))
        state[name] = heads.repeat_interleave(num_heads // num_groups, dim=0).flatten(0, 1)
    full.load_state_dict(state)
    sample, time = torch.ones(2, 5, dtype=torch.long), torch.arange(5).repeat(2, 1)
    pattern = AttentionPattern.causal(sample, time, torch.zeros_like(time), head_dim=32)
    x = torch.randn(2, 5, 128)
    torch.testing.assert_close(grouped(x, pattern), full(x, pattern))


def test_only_distances_of_time_matter():
    """Moving a sample along the time axis changes nothing."""
    sample, time, variate = map(torch.tensor, ROWS["two variates"])
    layer, x = attention(), torch.randn(1, 6, 64)
    moved = layer(x, general(sample, time + 37, variate))
    torch.testing.assert_close(moved, layer(x, general(sample, time, variate)), rtol=1e-4, atol=1e-5)


def test_rotation_keeps_norms_and_the_rest():
    """Rotation keeps the length of every pair and passes the other dimensions through."""
    x = torch.randn(1, 2, 3, 64)
    turned = rotate(x, *rotary_table(torch.tensor([[0, 5, 900]]), 32))
    pairs = [y[..., :32].unflatten(-1, (16, 2)).norm(dim=-1) for y in (x, turned)]
    torch.testing.assert_close(*pairs)
    assert torch.equal(turned[..., 32:], x[..., 32:])
    assert torch.equal(turned[:, :, 0], x[:, :, 0])


def test_dropout_is_for_training():
    """Attention weights are dropped in training and never afterwards."""
    layer, x = attention(dropout=0.5), torch.randn(1, 6, 64)
    pattern = AttentionPattern.causal(*map(torch.tensor, ROWS["one sample in order"]), head_dim=HEAD_DIM)
    assert not torch.equal(layer.train()(x, pattern), layer(x, pattern))
    assert torch.equal(layer.eval()(x, pattern), layer(x, pattern))
