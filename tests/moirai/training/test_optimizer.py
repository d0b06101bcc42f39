"""Optimisers, their parameter groups, and learning-rate schedules."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moirai.errors import ConfigError
from moirai.training.optimizer import OPTIMIZERS, SCHEDULES, adamw, make_optimizer, schedule, warmup_cosine


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


def test_feature_projections_of_experts_decay(make_distribution_module):
    """Moirai-MoE: `feat_proj` and the experts decay, the centroids are no parameters, nothing is left out."""
    module = make_distribution_module("moirai_moe")
    decayed, kept = adamw(module, learning_rate=1e-3).param_groups
    names = {id(p): name for name, p in module.named_parameters()}
    found = {names[id(p)] for p in decayed["params"]}
    assert {"feat_proj.weight", "in_proj.weight", "res_proj.weight", "encoder.layers.0.ffn.experts.31.fc2.weight"} <= (
        found
    )
    assert {"feat_proj.bias"} <= {names[id(p)] for p in kept["params"]}
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


def test_muon_takes_the_matrices_of_the_encoder(tiny):
    """Attention and feed-forward weights go to Muon; projections, norms, biases and embeddings to AdamW."""
    optimizer = make_optimizer("muon", tiny, learning_rate=1e-3, weight_decay=0.2)
    matrices, decayed, _ = optimizer.param_groups
    names = {id(p): name for name, p in tiny.named_parameters()}
    expected = {name for name in names.values() if name.startswith("encoder.layers.") and name.endswith("proj.weight")}
    expected |= {name for name in names.values() if ".ffn." in name}
    assert {names[id(p)] for p in matrices["params"]} == expected
    assert all(names[id(p)].startswith(("in_proj", "out_proj")) for p in decayed["params"])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.2, 0.0]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_goes_on_from_its_state(make_module, name):
    """Steps after a saved and restored state are those of an optimiser that was not interrupted."""

    def step(module, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        for parameter in module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()

    first = make_module()
    optimizer = make_optimizer(name, first, learning_rate=1e-2)
    step(first, optimizer, 1)
    second = deepcopy(first)
    restored = make_optimizer(name, second, learning_rate=5.0)
    restored.load_state_dict(deepcopy(optimizer.state_dict()))
    assert [group["lr"] for group in restored.param_groups] == [1e-2] * len(optimizer.param_groups)
    for group in (*optimizer.param_groups, *restored.param_groups):
        group["lr"] = 1e-3  # as a schedule does
    step(first, optimizer, 2)
    step(second, restored, 2)
    others = dict(second.named_parameters())
    before = dict(make_module().named_parameters())
    assert all(torch.equal(parameter, others[name]) for name, parameter in first.named_parameters())
    assert all(not torch.equal(parameter, before[name]) for name, parameter in first.named_parameters())


def test_a_step_takes_a_closure(tiny, make_module):
    """An optimiser of several parts hands back what the closure gives, as Lightning expects."""
    module = make_module()
    optimizer = make_optimizer("muon", module, learning_rate=1e-3)

    def closure():
        loss = sum(parameter.square().sum() for parameter in module.parameters())
        torch.autograd.backward(loss)
        return loss.item()

    before = sum(parameter.square().sum().item() for parameter in tiny.parameters())
    assert optimizer.step(closure) == pytest.approx(before)


@pytest.mark.parametrize(("step", "expected"), [(0, 0), (5, 0.5), (10, 1), (79, 1), (90, 0.5), (100, 0), (200, 0)])
def test_trapezoid_by_hand(step, expected):
    """It stays at its height until the last fifth, which falls to nothing."""
    assert schedule("trapezoid", warmup=10, total=100)(step) == pytest.approx(expected)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(0, 30), st.integers(1, 60))
def test_no_schedule_leaves_its_range(name, warmup, rest):
    """Every schedule stays in [0, 1] and reaches its peak where the warm-up ends."""
    multiplier = schedule(name, warmup=warmup, total=warmup + rest)
    assert all(0 <= multiplier(step) <= 1 for step in range(warmup + rest + 5))
    if name != "trapezoid":  # a warm-up may reach into its fall
        assert multiplier(warmup) == pytest.approx(1)


def test_unknown_names_are_refused(tiny):
    """The message lists the names there are."""
    with pytest.raises(ConfigError, match="there is no optimizer 'sgd'; known: adamw, muon"):
        make_optimizer("sgd", tiny, learning_rate=1e-3)
    with pytest.raises(ConfigError, match="there is no schedule 'wavy'; known: constant, "):
        schedule("wavy", warmup=1, total=2)
