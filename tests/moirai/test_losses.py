"""Packed losses by hand and by their properties."""

import pytest
import torch

from moirai.losses import packed_mean, packed_quantile_loss, pinball


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
