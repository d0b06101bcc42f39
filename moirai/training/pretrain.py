"""Pretrain a small Moirai 2.0 on synthetic series: the provisional `starter`.

    python -m moirai.training.pretrain --out FOLDER [--steps N] [--state FILE]

In: settings below; nothing else (series are made on the way). Out: a checkpoint folder. The run
saves its state now and then and goes on from it, so an interrupted run costs at most the steps
since the last save. Step i draws its batch from (seed, i): a resumed run sees the same batches as
an uninterrupted one.
"""

import argparse
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from moirai.config import Moirai2Config
from moirai.forecasting.imputation import causal_mean
from moirai.hub import OWN_LICENCE, save_module
from moirai.models.moirai2 import Moirai2Module
from moirai.tokens import PackedTokens
from moirai.training.objective import quantile_objective
from moirai.training.optimizer import adamw, warmup_cosine
from moirai.training.synthetic import synthetic_series

STARTER = Moirai2Config(d_model=192, d_ff=448, num_layers=4, patch_size=16, max_seq_len=144, num_predict_token=4)
# How many equally long samples share a row of 144 tokens, and how often: long histories matter
# most, short ones occur.
SAMPLES_PER_ROW = ((1, 0.45), (2, 0.2), (4, 0.15), (9, 0.12), (18, 0.08))
CONTEXT_SHARE = (0.3, 0.9)  # part of a sample that the statistics come from

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Everything that decides the weights, besides the architecture."""

    steps: int = 5600
    rows: int = 32  # packed rows per step
    learning_rate: float = 2e-3
    warmup: int = 200
    seed: int = 0
    save_every: int = 500


def synthetic_batch(config: Moirai2Config, settings: PretrainSettings, step: int) -> PackedTokens:
    """The packed rows of one step.

    All of them hold the same number of equally long samples, without padding.
    """
    rng = np.random.default_rng([settings.seed, step])
    counts, weights = zip(*SAMPLES_PER_ROW, strict=True)
    samples = int(rng.choice(counts, p=weights))
    tokens = config.max_seq_len // samples
    values = synthetic_series(rng, settings.rows * samples, tokens * config.patch_size)
    # A history rarely starts at a patch's edge: the first steps of a sample do not exist, as
    # alignment padding later.
    before_start = np.arange(values.shape[1]) < rng.integers(0, config.patch_size, (len(values), 1))
    filled = np.where(before_start, 0.0, causal_mean(np.where(before_start, np.nan, values)))
    observed = ~np.isnan(values) & ~before_start
    first_predicted = np.maximum(1, tokens * rng.uniform(*CONTEXT_SHARE, (len(values), 1))).astype(int)

    def packed(
        x: np.ndarray,
    ) -> torch.Tensor:  # [row * sample, token, ...] -> [row, sample * token, ...]
        return torch.from_numpy(np.ascontiguousarray(x.reshape(settings.rows, samples * tokens, *x.shape[2:])))

    position = np.broadcast_to(np.arange(tokens), (len(values), tokens))
    sample = np.broadcast_to(np.arange(samples)[:, None] + 1, (settings.rows, samples, tokens))
    patches = (len(values), tokens, config.patch_size)
    return PackedTokens(
        target=packed(filled.astype(np.float32).reshape(patches)),
        observed_mask=packed(observed.reshape(patches)),
        sample_id=packed(sample.reshape(len(values), tokens)),
        time_id=packed(position),
        variate_id=packed(np.zeros_like(position)),
        prediction_mask=packed(position >= first_predicted),
    )


def _batches(config: Moirai2Config, settings: PretrainSettings, first: int) -> Iterator[PackedTokens]:
    """Batches in order, the next one made while the current one trains."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(synthetic_batch, config, settings, first)
        for step in range(first, settings.steps):
            batch = waiting.result()
            waiting = pool.submit(synthetic_batch, config, settings, step + 1)
            yield batch


def pretrain(config: Moirai2Config, settings: PretrainSettings, *, state: Path | None = None) -> Moirai2Module:
    """Train from scratch, or go on from a saved state.

    Args:
        config: architecture.
        settings: length, rates, seed.
        state: file for the run's state, read when it exists; None: nothing is kept.
    """
    torch.manual_seed(settings.seed)
    module = Moirai2Module(config).train()
    optimizer = adamw(module, learning_rate=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(settings.warmup, settings.steps))
    first = 0
    if state is not None and state.is_file():
        saved = torch.load(state, weights_only=True)
        module.load_state_dict(saved["module"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"] | {"lr_lambdas": []})
        first = int(saved["step"])
        logger.info("going on from step %d", first)
    started, smooth = time.monotonic(), math.nan
    for step, batch in enumerate(_batches(config, settings, first), start=first + 1):
        with torch.autocast("cpu", torch.bfloat16):
            loss = quantile_objective(module, batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0, error_if_nonfinite=True)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        smooth = loss.item() if math.isnan(smooth) else 0.99 * smooth + 0.01 * loss.item()
        if step % 50 == 0:
            rate = (step - first) * settings.rows * config.max_seq_len / (time.monotonic() - started)
            logger.info("step %d/%d  loss %.4f  %.0f tokens/s", step, settings.steps, smooth, rate)
        if state is not None and (step % settings.save_every == 0 or step == settings.steps):
            _save_state(state, module, optimizer, schedule, step)
    return module.eval()


def _save_state(
    path: Path,
    module: Moirai2Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    step: int,
) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "step": step,
        },
        partial,
    )
    partial.replace(path)


def main() -> None:
    """Command line: train the provisional starter."""
    defaults = PretrainSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=defaults.steps, help="optimiser steps")
    parser.add_argument("--state", type=Path, help="file that keeps the run's state")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = PretrainSettings(steps=arguments.steps)
    module = pretrain(STARTER, settings, state=arguments.state)
    save_module(module, arguments.out, licence=OWN_LICENCE, dtype=torch.bfloat16)
    logger.info("saved %s", arguments.out)


if __name__ == "__main__":
    main()
