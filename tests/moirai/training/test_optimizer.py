"""Optimiser groups and the learning-rate schedule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moirai.training.optimizer import adamw, warmup_cosine


def test_only_linear_weights_decay(tiny):
    """Weights of linear layers decay; biases, norms and embeddings do not; nothing is left out."""
    decayed, kept = adamw(tiny, learning_rate=1e-3).param_groups
    names = {id(p): name for name, p in tiny.named_parameters()}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert all(names[id(p)].endswith("weight") and p.dim() == 2 for p in decayed["params"])
    assert {names[id(p)].split(".")[-1] for p in kept["params"]} == {"weight", "bias"}
    assert all("norm" in names[id(p)] or "emb" in names[id(p)] or "bias" in names[id(p)] for p in kept["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


def test_frozen_parameters_are_left_out(make_module):
    """Parameters without a gradient are in no group, and a group that would be empty is not made."""
    module = make_module()
    for name, parameter in module.named_parameters():
        parameter.requires_grad = name.startswith("out_proj") and name.endswith("weight")
    (group,) = adamw(module, learning_rate=1e-3, weight_decay=0.2).param_groups
    assert len(group["params"]) == 3
    assert group["weight_decay"] == 0.2


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (5, 0.5), (10, 1.0), (60, 0.5), (110, 0.0), (500, 0.0)])
def test_schedule_by_hand(step, expected):
    """The rate rises to its peak, falls to half in the middle and to nothing at the end."""
    assert warmup_cosine(10, 110)(step) == pytest.approx(expected)


@given(st.integers(0, 30), st.integers(1, 60))
def test_schedule_shape(warmup, rest):
    """The rate never leaves [0, 1], rises during the warm-up and falls after it."""
    multiplier = warmup_cosine(warmup, warmup + rest)
    rates = [multiplier(step) for step in range(warmup + rest + 2)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[-1] == 0


def test_no_warmup():
    """Without a warm-up the first step has the full rate."""
    assert warmup_cosine(0, 10)(0) == 1
