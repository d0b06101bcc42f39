"""Arrays to tensors: alignment, masks, features, refusals."""

import numpy as np
import pytest
import torch

from moirai.errors import DataError
from moirai.forecasting.inputs import SeriesInput, stack_inputs

NAN = float("nan")


def test_by_hand():
    """Series are cut and padded on the left; missing values are filled and marked."""
    series = [SeriesInput(target=np.array([[1.0, 2.0, NAN, 4.0]])), SeriesInput(target=np.array([[7.0, NAN]]))]
    inputs = stack_inputs(series, context=3, horizon=2)
    assert inputs.past_target[..., 0].tolist() == [[2.0, 1.5, 4.0], [0.0, 7.0, 7.0]]
    assert inputs.past_observed_target[..., 0].tolist() == [[True, False, True], [False, True, False]]
    assert inputs.past_is_pad.tolist() == [[False] * 3, [True, False, False]]
    assert inputs.feat_dynamic_real is None
    assert inputs.past_feat_dynamic_real is None


def test_several_targets_are_filled_with_zero():
    """With several targets a gap becomes 0, as in the published forecasts."""
    target = np.array([[5.0, NAN], [NAN, 6.0]])
    inputs = stack_inputs([SeriesInput(target=target)], context=2, horizon=1)
    assert inputs.past_target.tolist() == [[[5.0, 0.0], [0.0, 6.0]]]
    assert inputs.past_observed_target.tolist() == [[[True, False], [False, True]]]


def test_features():
    """Features are cut with the target, known ones keep their future."""
    one = SeriesInput(
        target=np.array([[1.0, 2.0, 3.0]]),
        feat_dynamic_real=np.array([[10.0, 11.0, 12.0, 13.0]]),
        past_feat_dynamic_real=np.array([[20.0, NAN, 22.0]]),
    )
    inputs = stack_inputs([one], context=2, horizon=1)
    assert inputs.feat_dynamic_real[0, :, 0].tolist() == [11.0, 12.0, 13.0]
    assert inputs.past_feat_dynamic_real[0, :, 0].tolist() == [0.0, 22.0]
    assert inputs.past_observed_feat_dynamic_real[0, :, 0].tolist() == [False, True]
    assert inputs.past_target.dtype == torch.float32


def series(name="x", target=(1, 3), **features):
    """Ones of these shapes."""
    shaped = {field: np.ones(shape) for field, shape in features.items()}
    return SeriesInput(target=np.ones(target), name=name, **shaped)


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ([series(), series("y", target=(1, 0))], "y: no time steps before the forecast origin"),
        ([series(), series("y", target=(2, 3))], "y: 2 targets, x has 1"),
        ([series(feat_dynamic_real=(1, 4))], r"x: feat_dynamic_real must span 5 steps \(history \+ 2\), there are 4"),
        ([series(past_feat_dynamic_real=(1, 4))], "x: past_feat_dynamic_real must span 3 steps"),
        ([series(feat_dynamic_real=(1, 5)), series("y")], "y: feat_dynamic_real must span .* there are none"),
        ([series(), series("y", feat_dynamic_real=(1, 5))], "x: feat_dynamic_real must be given for all series or"),
        (
            [series(feat_dynamic_real=(2, 5)), series("y", feat_dynamic_real=(1, 5))],
            "y: 1 rows of feat_dynamic_real, x has 2",
        ),
    ],
)
def test_refusals(batch, says):
    """Series that cannot share a batch are refused, naming the series."""
    with pytest.raises(DataError, match=says):
        stack_inputs(batch, context=3, horizon=2)


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e39])
def test_infinite_values(value):
    """Values that are infinite, or become so in float32, are refused."""
    with pytest.raises(DataError, match=r"series: holds values that are infinite .* mark them as missing"):
        stack_inputs([SeriesInput(target=np.array([[1.0, value]]))], context=2, horizon=1)
