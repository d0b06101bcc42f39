"""Pretraining runs of a few tiny steps: architectures, batches that depend on their number alone."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from moirai.config import Moirai2Config, MoiraiConfig, MoiraiMoEConfig
from moirai.tokens import PackedTokens
from moirai.training.batch import TrainingBatch
from moirai.training.pretrain import PretrainSettings

TOKENS, PATCH = 12, 4


@dataclass(frozen=True)
class Waves:
    """Rows of one wave each; batch n is drawn from n, or all are the same."""

    length: int
    rows: int = 2
    same: bool = False

    def __len__(self):
        return self.length

    def __getitem__(self, number):
        rng = np.random.default_rng(0 if self.same else number)
        shape = (self.rows, TOKENS, PATCH)
        phase, speed = rng.uniform(0, 7, (2, self.rows, 1))
        values = np.sin(phase + speed * np.linspace(0, 1, TOKENS * PATCH)).astype(np.float32) * 3 + 5
        time_id = torch.arange(TOKENS).expand(shape[:2])
        tokens = PackedTokens(
            target=torch.from_numpy(values).reshape(shape),
            observed_mask=torch.ones(shape, dtype=torch.bool),
            sample_id=torch.ones(shape[:2], dtype=torch.long),
            time_id=time_id,
            variate_id=torch.zeros(shape[:2], dtype=torch.long),
            prediction_mask=time_id >= TOKENS - 4,
        )
        ids = tuple((f"wave-{number}-{row}",) for row in range(self.rows))
        return TrainingBatch(tokens=tokens, patch_size=PATCH, item_ids=ids)


@pytest.fixture(scope="session")
def waves():
    """Make a data set of waves."""
    return Waves


@pytest.fixture(scope="session")
def make_config():
    """Make a tiny architecture of a family; patches of 4."""

    def make(family, **changes):
        sizes = {"d_model": 64, "num_layers": 1, "max_seq_len": TOKENS} | changes
        if family == "moirai2":
            return Moirai2Config(**({"d_ff": 32, "patch_size": PATCH, "num_predict_token": 2} | sizes))
        if family == "moirai":
            return MoiraiConfig(**({"patch_sizes": (PATCH,)} | sizes))
        return MoiraiMoEConfig(**({"d_ff": 8, "patch_sizes": (PATCH,)} | sizes))

    return make


@pytest.fixture(scope="session")
def short_run():
    """Six steps, saved after every second, a point of the curve after every third."""
    return PretrainSettings(steps=6, learning_rate=5e-3, warmup=2, save_every=2, log_every=3, accelerator="cpu")
