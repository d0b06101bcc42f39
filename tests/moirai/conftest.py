"""What the library's tests share: tiny models with random weights, packed samples, stored fixtures."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors import safe_open

from moirai.config import Moirai2Config, MoiraiConfig, MoiraiMoEConfig
from moirai.models.distribution_module import DistributionModule
from moirai.models.moirai1 import MoiraiModule
from moirai.models.moirai2 import Moirai2Module
from moirai.models.moirai_moe import MoiraiMoEModule
from moirai.tokens import PackedTokens

PARITY = Path(__file__).parents[1] / "parity"


class Fixture(NamedTuple):
    """A stored file: tensors by name, and the settings they were made with."""

    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]


@pytest.fixture(scope="session")
def parity() -> Path:
    """Folder of the stored fixtures."""
    return PARITY


@pytest.fixture(scope="session")
def stored() -> Callable[[str], Fixture]:
    """Read a stored fixture by its path without the ending."""

    def read(name: str) -> Fixture:
        with safe_open(PARITY / f"{name}.safetensors", "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
            return Fixture(tensors, json.loads((file.metadata() or {})["meta"]))

    return read


@pytest.fixture(scope="session")
def reference() -> Moirai2Module:
    """The module of the stored checkpoint: two layers, patches of 8, two predicted tokens."""
    return Moirai2Module.from_pretrained(PARITY / "moirai2" / "checkpoint")


@pytest.fixture(scope="session")
def make_module() -> Callable[..., Moirai2Module]:
    """Make a tiny module whose every parameter is random."""

    def make(**settings: Any) -> Moirai2Module:
        tiny = {"d_model": 64, "d_ff": 32, "num_layers": 2, "patch_size": 4, "num_predict_token": 2}
        return with_random_weights(Moirai2Module(Moirai2Config(**(tiny | settings))))

    return make


def with_random_weights(module):
    """The module, every parameter of which was drawn anew."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.data = drawn * 0.15 + (parameter.dim() == 1)
    return module.eval()


@pytest.fixture(scope="session")
def make_distribution_module() -> Callable[..., DistributionModule]:
    """Make a tiny module of Moirai 1.x, or of Moirai-MoE, whose every parameter is random."""

    def make(family: str, **settings: Any) -> DistributionModule:
        tiny = {"d_model": 64, "num_layers": 2, "patch_sizes": (4, 6, 9)} | settings
        if family == "moirai":
            return with_random_weights(MoiraiModule(MoiraiConfig(**tiny)))
        return with_random_weights(MoiraiMoEModule(MoiraiMoEConfig(**({"d_ff": 16} | tiny))))

    return make


@pytest.fixture(scope="session")
def tiny(make_module) -> Moirai2Module:
    """A tiny module; tests leave it as it is."""
    return make_module()


@pytest.fixture(scope="session")
def make_sample() -> Callable[..., PackedTokens]:
    """Make one row that holds one sample: variates side by side, the last tokens to be predicted."""

    def make(seed: int, *, tokens: int = 5, variates: int = 2, predicted: int = 2, patch: int = 4) -> PackedTokens:
        rng = np.random.default_rng(seed)
        seq = tokens * variates
        time_id = torch.arange(tokens).repeat(variates)[None]
        return PackedTokens(
            target=torch.from_numpy(rng.normal(3, 2, (1, seq, patch)).astype(np.float32)),
            observed_mask=torch.from_numpy(rng.random((1, seq, patch)) < 0.8),
            sample_id=torch.ones(1, seq, dtype=torch.long),
            time_id=time_id,
            variate_id=torch.arange(variates).repeat_interleave(tokens)[None],
            prediction_mask=time_id >= tokens - predicted,
        )

    return make


@pytest.fixture(scope="session")
def pack() -> Callable[..., PackedTokens]:
    """Put samples one after the other into one row, `padding` empty tokens behind them."""

    def join(*samples: PackedTokens, padding: int = 0) -> PackedTokens:
        numbered = [s.replace(sample_id=s.sample_id * (i + 1)) for i, s in enumerate(samples)]
        joined = {}
        for field in fields(PackedTokens):
            parts = [getattr(sample, field.name) for sample in numbered]
            parts.append(torch.zeros_like(parts[0][:, :1]).repeat_interleave(padding, dim=1))
            joined[field.name] = torch.cat(parts, dim=1)
        return PackedTokens(**joined)

    return join
