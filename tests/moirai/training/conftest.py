"""A pretraining run of a few tiny steps."""

import pytest

from moirai.config import Moirai2Config
from moirai.training.pretrain import PretrainSettings


@pytest.fixture(scope="session")
def tiny_config():
    """One narrow layer, rows of 36 tokens of 4 steps."""
    return Moirai2Config(d_model=64, d_ff=16, num_layers=1, patch_size=4, max_seq_len=36, num_predict_token=2)


@pytest.fixture(scope="session")
def short_run():
    """Six steps of two rows, saved after every third."""
    return PretrainSettings(steps=6, rows=2, warmup=2, save_every=3)
