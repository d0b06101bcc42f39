"""Packed losses of points and distributions against the reference (components/losses)."""

import typing

import pytest
import torch

from moirai.distributions.student_t import StudentT
from moirai.losses import (
    POINT_ERRORS,
    Normaliser,
    group_statistic,
    packed_nll,
    packed_point_loss,
    packed_rmse,
    squared_error,
)
from moirai.tokens import PackedTokens

NORMALISERS = typing.get_args(Normaliser)
FIELDS = ("target", "observed_mask", "sample_id", "variate_id", "prediction_mask")


@pytest.fixture
def case(stored):
    """Expected tensors, and the tokens they belong to."""
    t = stored("components/losses").tensors
    fields = {name: t[f"in.{name}"] for name in FIELDS}
    return t, PackedTokens(**fields, time_id=torch.zeros_like(t["in.sample_id"]))


@pytest.mark.parametrize(
    ("stored_name", "name", "normaliser"),
    [(name, name, "none") for name in POINT_ERRORS]
    + [(f"n{name}.{by}", name, by) for name in ("mae", "mse") for by in NORMALISERS],
)
def test_point_loss(case, assert_close, stored_name, name, normaliser):
    """Every loss of points agrees with every normaliser, element by element and reduced."""
    t, tokens = case
    kind = "variance" if normaliser == "variance" else "component"
    statistic = group_statistic(tokens, normaliser)
    elements = POINT_ERRORS[name](t["in.pred"], tokens) / torch.where(statistic == 0, 1.0, statistic)
    assert_close(elements, t[f"out_elem.{stored_name}"], kind)
    loss = packed_point_loss(name, t["in.pred"], tokens, normaliser=normaliser)
    assert_close(loss, t[f"out.{stored_name}"], kind)


@pytest.mark.parametrize(
    ("stored_name", "normaliser"),
    [("rmse", "none")] + [(f"nrmse.{by}", by) for by in NORMALISERS if by != "target"],
)
def test_rmse(case, assert_close, stored_name, normaliser):
    """Root mean squared errors agree; with `target` the reference has NaN and stores nothing."""
    t, tokens = case
    kind = "variance" if normaliser == "variance" else "component"
    statistic = group_statistic(tokens, normaliser)
    elements = squared_error(t["in.pred"], tokens) / torch.where(statistic == 0, 1.0, statistic)
    assert_close(elements, t[f"out_elem.{stored_name}"], kind)
    assert_close(packed_rmse(t["in.pred"], tokens, normaliser=normaliser), t[f"out.{stored_name}"], kind)


def test_nll(case, assert_close):
    """The negative log likelihood agrees."""
    t, tokens = case
    loc = t["in.pred"]
    law = StudentT(df=torch.full_like(loc, 4.0), loc=loc, scale=torch.full_like(loc, 0.7))
    assert_close(packed_nll(law, tokens), t["out.nll_student_t_df4_scale0.7"], "component")
