"""Low-rank adapters: nothing at first, merged without a trace, few parameters."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from moirai import Moirai2Config, Moirai2Module, MoiraiConfig, MoiraiForecast, MoiraiModule
from moirai.config import MoiraiMoEConfig
from moirai.errors import ConfigError
from moirai.models.moirai_moe import MoiraiMoEModule
from moirai.training.lora import adapt, merge
from moirai.training.methods import choose_trained, is_adapter, trained_share

FAMILIES = ["moirai", "moe", "moirai2"]


@pytest.fixture
def make(make_module, make_distribution_module):
    """A tiny module of a family, every parameter random."""
    return lambda family: make_module() if family == "moirai2" else make_distribution_module(family)


def forecast(module):
    """Quantiles of a series beyond one patch."""
    series = np.random.default_rng(0).normal(5, 2, 40)
    forecast = MoiraiForecast(module, patch_size=4, context_length=32, num_samples=5)
    return forecast.predict_arrays([series], horizon=6)


def disturb(module):
    """Adapters as after a training."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if is_adapter(name) and name.endswith("up"):
                parameter.normal_(0, 0.2)


@pytest.mark.parametrize("family", FAMILIES)
def test_new_adapters_change_nothing(make, family):
    """Training starts from the base's own forecasts."""
    module = make(family)
    before = forecast(module)
    adapt(module, 2)
    np.testing.assert_array_equal(forecast(module), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_weights_forecast_as_the_adapters_did(make, family):
    """A merged module has the base's names and shapes, other weights, and the adapted module's forecasts."""
    base = make(family)
    module = deepcopy(base)
    adapt(module, 2)
    disturb(module)
    adapted = forecast(module)
    merge(module)
    assert {n: t.shape for n, t in module.state_dict().items()} == {n: t.shape for n, t in base.state_dict().items()}
    assert list(module.state_dict()) == list(base.state_dict())
    np.testing.assert_allclose(forecast(module), adapted, rtol=1e-4, atol=1e-4)
    assert np.abs(adapted - forecast(base)).max() > 0.01


def test_every_matrix_is_adapted(make):
    """Attention, experts and projections have adapters; each may change its weight."""
    module = make("moe")
    base = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    adapt(module, 2)
    disturb(module)
    merge(module)
    changed = {name for name, tensor in module.state_dict().items() if not tensor.equal(base[name])}
    assert changed == {name for name, p in module.named_parameters() if name.endswith("weight") and p.ndim > 1} - {
        name for name in base if "emb" in name
    }


def test_what_a_slab_does_not_use_stays_zero(make_distribution_module):
    """Behind the columns of its patch size a slab of the input projection is as it was."""
    module = make_distribution_module("moirai")
    before = module.in_proj.weight.detach().clone()
    adapt(module, 2)
    disturb(module)
    merge(module)
    after = module.in_proj.weight.detach()
    for index, size in enumerate(module.config.patch_sizes):
        assert torch.equal(after[index, :, size:], before[index, :, size:])
        assert not torch.equal(after[index, :, :size], before[index, :, :size])


def test_adapted_twice_is_refused(make):
    """Adapters on adapters are a mistake."""
    module = make("moirai2")
    adapt(module, 2)
    with pytest.raises(ConfigError, match="merge them"):
        adapt(module, 2)


def small(family):
    """A network of the published small sizes, without memory behind it."""
    with torch.device("meta"):
        if family == "moirai2":
            return Moirai2Module(Moirai2Config(d_model=384, d_ff=1024, num_layers=6, patch_size=16))
        if family == "moe":
            return MoiraiMoEModule(
                MoiraiMoEConfig(d_model=384, d_ff=512, num_layers=6, patch_sizes=(8, 16, 32, 64, 128))
            )
        return MoiraiModule(MoiraiConfig(d_model=384, num_layers=6, patch_sizes=(8, 16, 32, 64, 128)))


@pytest.mark.parametrize("family", ["starter", *FAMILIES])
def test_fewer_than_three_percent_are_trained(family):
    """The default rank trains a small part of the starter and of networks of the published sizes."""
    module = Moirai2Module.from_pretrained("starter") if family == "starter" else small(family)
    choose_trained(module, "lora")
    assert 0.01 < trained_share(module) < 0.03
