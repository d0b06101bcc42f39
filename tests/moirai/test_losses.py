"""Packed losses by hand and by their properties."""

import math

import pytest
import torch

from moirai.distributions.affine import Affine
from moirai.distributions.log_normal import LogNormal
from moirai.distributions.normal import Normal
from moirai.losses import (
    counted_elements,
    group_statistic,
    packed_mean,
    packed_nll,
    packed_nll_per_row,
    packed_point_loss,
    packed_quantile_loss,
    packed_rmse,
    pinball,
)
from moirai.tokens import PackedTokens


@pytest.mark.parametrize(
    ("predicted", "target", "level", "expected"),
    [(0.0, 2.0, 0.9, 1.8), (2.0, 0.0, 0.9, 0.2), (0.0, 2.0, 0.1, 0.2), (1.0, 1.0, 0.3, 0.0)],
)
def test_pinball_by_hand(predicted, target, level, expected):
    """A miss below costs the level, a miss above what is left to one."""
    loss = pinball(torch.tensor([[predicted]]), torch.tensor([target]), torch.tensor([level]))
    assert loss.item() == pytest.approx(expected)


def test_pinball_averages_the_levels():
    """The levels share the weight, so the loss at the median is half the absolute error."""
    predicted = torch.tensor([[1.0], [1.0]])
    loss = pinball(predicted, torch.tensor([3.0]), torch.tensor([0.25, 0.75]))
    assert loss.item() == pytest.approx(1.0)


def mean(values, counted, prediction, sample, variate):
    """The packed mean of one row of one-element patches."""
    return packed_mean(
        torch.tensor([values])[..., None],
        torch.tensor([counted])[..., None],
        torch.tensor([prediction]),
        torch.tensor([sample]),
        torch.tensor([variate]),
    ).item()


def test_groups_weigh_the_same():
    """A group with three values weighs as much as one with a single value."""
    assert mean([1.0, 1.0, 1.0, 5.0], [True] * 4, [True] * 4, [1, 1, 1, 2], [0] * 4) == pytest.approx(3.0)


def test_variates_are_groups():
    """Two variates of one sample are two groups."""
    assert mean([1.0, 1.0, 4.0], [True] * 3, [True] * 3, [1] * 3, [0, 0, 1]) == pytest.approx(2.5)


def test_missing_group_counts():
    """A group to be predicted without any observed value adds nothing and still counts."""
    assert mean([3.0, 9.0], [True, False], [True, True], [1, 2], [0, 0]) == pytest.approx(1.5)


def test_context_only_group_does_not_count():
    """A group without predictions does not enter at all."""
    assert mean([3.0, 9.0], [True, False], [True, False], [1, 2], [0, 0]) == pytest.approx(3.0)


def test_uncounted_values_do_not_poison():
    """NaN and infinity at places that do not count leave loss and gradient finite."""
    values = torch.tensor([[[1.0, float("nan")], [float("inf"), 2.0]]], requires_grad=True)
    counted = torch.tensor([[[True, False], [False, True]]])
    ones = torch.ones(1, 2, dtype=torch.long)
    loss = packed_mean(values, counted, torch.tensor([[True, True]]), ones, ones)
    loss.backward()
    assert loss.item() == pytest.approx(1.5)
    assert values.grad.tolist() == [[[0.5, 0.0], [0.0, 0.5]]]


def test_nothing_to_predict():
    """A batch without predictions has loss 0."""
    assert mean([1.0], [False], [False], [1], [0]) == 0


def test_quantile_loss_counts_predicted_observed_values(make_sample):
    """Only observed values of prediction tokens enter the quantile loss."""
    sample = make_sample(0)
    counted = sample.observed_mask & sample.prediction_mask[..., None]
    names = ("observed_mask", "prediction_mask", "sample_id", "variate_id")
    masks = {name: getattr(sample, name) for name in names}
    levels, predicted = torch.tensor([0.1, 0.9]), torch.randn(1, 10, 2, 4)
    loss = packed_quantile_loss(predicted, sample.target, levels, **masks)
    elsewhere = torch.where(counted, sample.target, 1e6)
    assert loss == packed_quantile_loss(predicted, elsewhere, levels, **masks)
    inside = torch.where(counted, 1e6, sample.target)
    assert loss != packed_quantile_loss(predicted, inside, levels, **masks)


def tokens_of(target, predicted, *, observed=True, sample=1):
    """One row of one-element patches of one variate."""
    seq = len(target)
    return PackedTokens(
        target=torch.tensor([target])[..., None],
        observed_mask=torch.tensor([observed] * seq if isinstance(observed, bool) else observed).view(1, seq, 1),
        sample_id=torch.tensor([[sample] * seq if isinstance(sample, int) else sample]),
        time_id=torch.arange(seq)[None],
        variate_id=torch.zeros(1, seq, dtype=torch.long),
        prediction_mask=torch.tensor([predicted]),
    )


@pytest.mark.parametrize(
    ("normaliser", "expected"),
    [
        ("none", 1.0),
        ("absolute_target", 3.0),
        ("absolute_target_squared", 9.0),
        ("target", 1.0),
        ("target_squared", 1.0),
        ("variance", 13.0),
        ("standard_deviation", (13 + 1e-5) ** 0.5),
    ],
)
def test_group_statistic_by_hand(normaliser, expected):
    """Context and prediction count, what is missing does not."""
    observed = [True, True, True, False]
    tokens = tokens_of([-3.0, 2.0, 4.0, float("nan")], [False, False, True, True], observed=observed)
    statistic = group_statistic(tokens, normaliser)
    assert statistic.flatten().tolist() == pytest.approx([expected] * 4)


@pytest.mark.parametrize(
    ("name", "expected"), [("mae", 2.0), ("mse", 4.0), ("mape", 50.0), ("smape", 200 * 2 / 6), ("nmlse", 0.4054651)]
)
def test_point_loss_by_hand(name, expected):
    """One predicted value: 4, taken for 2."""
    tokens = tokens_of([0.0, 4.0], [False, True])
    loss = packed_point_loss(name, torch.tensor([[[9.0], [2.0]]]), tokens)
    assert loss.item() == pytest.approx(expected)


def test_rmse_is_the_mean_of_groups():
    """The root is taken in each group, then the groups are averaged."""
    tokens = tokens_of([0.0, 0.0, 0.0], [True] * 3, sample=[1, 1, 2])
    loss = packed_rmse(torch.tensor([[[3.0], [4.0], [2.0]]]), tokens)
    assert loss.item() == pytest.approx((12.5**0.5 + 2) / 2, rel=1e-4)


def test_zero_denominators_are_one():
    """A target of zeros divides by 1."""
    tokens = tokens_of([0.0, 0.0], [False, True])
    predicted = torch.full((1, 2, 1), 0.5)
    assert packed_point_loss("mae", predicted, tokens, normaliser="absolute_target").item() == pytest.approx(0.5)
    assert packed_point_loss("mape", predicted, tokens).item() == pytest.approx(50)


def test_nll_per_row_adds_groups(make_sample, pack):
    """The likelihood of a row is the sum of its groups, that of the batch their mean."""
    tokens = pack(make_sample(0), make_sample(1), padding=2)
    law = Normal(tokens.target * 0.5, torch.ones_like(tokens.target))
    rows = packed_nll_per_row(law, tokens)
    assert rows.shape == (1,)
    assert rows.item() / 4 == pytest.approx(packed_nll(law, tokens).item(), rel=1e-5)


def test_nll_in_data_units_includes_the_scale(make_sample):
    """Ten times the scale costs log 10 where the scaled value stays the same."""
    tokens = make_sample(0)
    law = Normal(torch.zeros_like(tokens.target), torch.ones_like(tokens.target))
    loc, ten = torch.zeros_like(tokens.target), torch.full_like(tokens.target, 10.0)
    larger = tokens.replace(target=tokens.target * 10)
    difference = packed_nll(Affine(law, loc, ten), larger) - packed_nll(law, tokens)
    assert difference.item() == pytest.approx(math.log(10), rel=1e-5)


def test_nll_of_values_that_do_not_count(make_sample):
    """Impossible values at places that do not count leave loss and gradient finite."""
    tokens = make_sample(0)
    counted = counted_elements(tokens)
    tokens = tokens.replace(target=torch.where(counted, tokens.target.abs() + 0.1, -5.0))
    loc = torch.zeros_like(tokens.target, requires_grad=True)
    loss = packed_nll(LogNormal(loc, torch.ones_like(loc)), tokens)
    loss.backward()
    assert loss.isfinite()
    assert loc.grad.isfinite().all()
    assert (loc.grad[~counted] == 0).all()
