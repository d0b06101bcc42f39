"""Optimiser groups and schedules against the reference (components/optim.json)."""

import json

import pytest
import torch

from moirai.hub import load_module, resolve
from moirai.training.methods import choose_trained
from moirai.training.optimizer import adamw, schedule

METHODS = {
    "pretrain": "full",
    "finetune.full": "full",
    "finetune.freeze_ffn": "frozen_ffn",
    "finetune.head_only": "head",
}
SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)


@pytest.fixture(scope="module")
def table(parity):
    """The stored table."""
    return json.loads((parity / "components/optim.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("pattern", METHODS)
def test_optim_patterns(parity, table, assert_close, pattern):
    """Groups, their order, what is frozen, the settings and the first rates agree, for every way of training."""
    module, expected, args = load_module(resolve(parity / "moirai/checkpoint")), table[pattern], table["args"]
    choose_trained(module, METHODS[pattern])
    optimizer = adamw(module, learning_rate=args["lr"], weight_decay=args["weight_decay"])
    names = {id(p): f"module.{name}" for name, p in module.named_parameters()}
    frozen = {f"module.{name}" for name, p in module.named_parameters() if not p.requires_grad}
    assert frozen == set(expected["frozen"])
    for group, kind in zip(optimizer.param_groups, ("decay", "no_decay"), strict=True):
        assert [names[id(p)] for p in group["params"]] == expected[kind]
    assert [group["weight_decay"] for group in optimizer.param_groups] == expected["weight_decay"]
    assert type(optimizer).__name__ == expected["optimizer"]
    assert list(optimizer.defaults["betas"]) == expected["betas"]
    assert optimizer.defaults["eps"] == expected["eps"]
    name = "cosine_with_restarts" if pattern == "pretrain" else "constant"
    rate = schedule(name, warmup=args["num_warmup_steps"], total=args["num_training_steps"])
    rates = torch.tensor([args["lr"] * rate(step) for step in range(len(expected["lr_first_steps"]))])
    assert_close(rates, torch.tensor(expected["lr_first_steps"]), "schedule")


def test_optim_every_schedule_is_stored(table):
    """The tests look at each of the stored schedules."""
    assert sorted(table["schedules_lr1"]) == sorted(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
def test_optim_schedules(table, assert_close, name):
    """Every schedule agrees at every step, and past the end."""
    multiplier = schedule(name, warmup=table["args"]["num_warmup_steps"], total=table["args"]["num_training_steps"])
    expected = torch.tensor(table["schedules_lr1"][name], dtype=torch.float64)
    actual = torch.tensor([multiplier(step) for step in range(len(expected))], dtype=torch.float64)
    assert_close(actual, expected, "schedule")
