"""Projections with one slab of weights per patch size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.errors import ConfigError
from moirai.layers.multi_size import MultiSizeFeature, MultiSizeInput, MultiSizeOutput, TokenSizes
from moirai.layers.parameter_projection import ParameterProjection

DIM = 6
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True)


def drawn(layer):
    """The layer with every weight random, also the inactive ones."""
    for parameter in layer.parameters():
        parameter.data = torch.randn_like(parameter)
    return layer


def by_definition(layer, x, patch_size, rows, columns):
    """Every slab on every token, masked and chosen afterwards (specification, section 6)."""
    expected = torch.zeros(*x.shape[:-1], layer.weight.shape[1])
    for index, size in enumerate(layer.patch_sizes):
        slab = layer.weight[index].clone()
        slab[rows(size) :] = 0
        slab[:, columns(size) :] = 0
        expected = torch.where((patch_size == size)[..., None], x @ slab.T + layer.bias[index], expected)
    return expected


@settings(deadline=None, max_examples=30)
@given(SIZES, st.integers(0, 10**6))
def test_by_definition(sizes, seed):
    """Whatever the sizes, a projection is its masked slabs applied one by one; without a size it is zero."""
    torch.manual_seed(seed)
    patch_size = torch.tensor([*sizes, 0])[torch.randint(len(sizes) + 1, (3, 8))]
    groups, widest = TokenSizes.of(patch_size, sizes), max(sizes)
    patches, tokens = torch.randn(3, 8, widest), torch.randn(3, 8, DIM)
    layer = drawn(MultiSizeInput(sizes, DIM))
    expected = by_definition(layer, patches, patch_size, lambda _: DIM, lambda size: size)
    torch.testing.assert_close(layer(patches, groups), expected, rtol=1e-4, atol=1e-4)
    layer = drawn(MultiSizeFeature(sizes, DIM))
    expected = by_definition(layer, tokens, patch_size, lambda _: DIM, lambda _: DIM)
    torch.testing.assert_close(layer(tokens, groups), expected, rtol=1e-4, atol=1e-4)
    for columns in (1, 3):
        layer = drawn(MultiSizeOutput(sizes, DIM, columns))
        flat = by_definition(layer, tokens, patch_size, lambda size, c=columns: c * size, lambda _: DIM)
        expected = flat.unflatten(-1, (columns, widest)).transpose(-1, -2)
        torch.testing.assert_close(layer(tokens, groups), expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(SIZES, st.data())
def test_one_size_equals_the_general_path(sizes, data):
    """One size for all tokens gives what the same size per token gives, cut to the patch."""
    size = data.draw(st.sampled_from(sizes))
    shared, general = TokenSizes.of(size, sizes), TokenSizes.of(torch.full((2, 5), size), sizes)
    patches, tokens = torch.randn(2, 5, max(sizes)), torch.randn(2, 5, DIM)
    for layer, x in ((MultiSizeInput(sizes, DIM), patches), (MultiSizeFeature(sizes, DIM), tokens)):
        torch.testing.assert_close(drawn(layer)(x, shared), layer(x, general))
    layer = drawn(MultiSizeInput(sizes, DIM))
    torch.testing.assert_close(layer(patches[..., :size], shared), layer(patches, general))
    for columns in (1, 2, 4):
        layer = drawn(MultiSizeOutput(sizes, DIM, columns))
        torch.testing.assert_close(layer(tokens, shared), layer(tokens, general)[..., :size, :])


def test_active_rows_of_several_columns():
    """Of the published sizes, small patches leave the later columns to the bias; the largest leaves none."""
    sizes = (8, 16, 32, 64, 128)
    layer, tokens = drawn(MultiSizeOutput(sizes, DIM, 4)), torch.randn(2, 5, DIM)
    depends = {}
    for size in sizes:
        spread = layer(tokens, TokenSizes.of(size, sizes)).flatten(0, 1).std(0)  # [patch, column]
        depends[size] = [bool((spread[:, column] > 1e-6).all()) for column in range(4)]
    assert depends[8] == depends[16] == depends[32] == [True, False, False, False]
    assert depends[64] == [True, True, False, False]
    assert depends[128] == [True] * 4


def test_a_column_may_end_inside_a_patch():
    """Rows are counted over the layout, so that a column may depend on the token in its first positions only."""
    layer, tokens = drawn(MultiSizeOutput((6, 9), DIM, 2)), torch.randn(2, 5, DIM)
    spread = layer(tokens, TokenSizes.of(6, (6, 9))).flatten(0, 1).std(0)
    assert ((spread[:, 1] > 1e-6) == torch.tensor([True] * 3 + [False] * 3)).all()


def test_inactive_weights_get_no_gradient():
    """What a slab does not use is never trained."""
    layer = drawn(MultiSizeInput((2, 5), DIM))
    layer(torch.randn(1, 4, 5), TokenSizes.of(torch.tensor([[2, 5, 2, 0]]), (2, 5))).sum().backward()
    assert (layer.weight.grad[0, :, 2:] == 0).all()
    assert (layer.weight.grad[0, :, :2] != 0).all()
    assert (layer.weight.grad[1] != 0).all()


@pytest.mark.parametrize(
    ("make", "active", "fan_in"),
    [
        (lambda: MultiSizeInput((4, 9), 50), [(50, 4), (50, 9)], [4, 9]),
        (lambda: MultiSizeFeature((4, 9), 50), [(50, 50), (50, 50)], [50, 50]),
        (lambda: MultiSizeOutput((4, 9), 50, 3), [(12, 50), (27, 50)], [50, 50]),
    ],
    ids=["input", "feature", "output"],
)
def test_initial_weights(make, active, fan_in):
    """Active parts are drawn within one over the root of their fan-in; everything else is zero."""
    layer = make()  # drawn here, from the test's own seed
    for index, (rows, columns) in enumerate(active):
        weight, bias, bound = layer.weight[index].detach(), layer.bias[index].detach(), fan_in[index] ** -0.5
        for drawn_part in (weight[:rows, :columns], bias[:rows]):
            assert bound * 0.7 < drawn_part.abs().max() <= bound
        assert weight.abs().sum() == pytest.approx(weight[:rows, :columns].abs().sum().item())
        assert (bias[rows:] == 0).all()


def test_unknown_size():
    """One size for all tokens must be one of the model's."""
    with pytest.raises(ConfigError, match=r"patch_size 7 is none of the model's: \(4, 8\)"):
        TokenSizes.of(7, (4, 8))


def test_tokens_without_any_size():
    """A batch of padding alone is projected to zeros."""
    sizes = TokenSizes.of(torch.zeros(1, 3, dtype=torch.long), (4, 8))
    assert (MultiSizeInput((4, 8), DIM)(torch.ones(1, 3, 8), sizes) == 0).all()


def test_parameter_projection():
    """Raw parameters are nested as the arguments, each with its own dimensionality and published name."""
    args = {"weights_logits": 2, "components": [{"df": 1, "loc": 1}, {"loc": 1}]}
    layer = ParameterProjection(DIM, (4, 8), args)
    assert set(layer.state_dict()) == {
        f"proj.{name}.{kind}"
        for name in ("weights_logits", "components.0.df", "components.0.loc", "components.1.loc")
        for kind in ("weight", "bias")
    }
    raw = layer(torch.randn(2, 3, DIM), TokenSizes.of(4, (4, 8)))
    assert raw["weights_logits"].shape == (2, 3, 4, 2)
    assert [sorted(one) for one in raw["components"]] == [["df", "loc"], ["loc"]]
    assert raw["components"][0]["df"].shape == (2, 3, 4, 1)
