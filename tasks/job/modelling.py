"""How models are scored and trained: the blocks `backtest` and `finetune`."""

import re
from datetime import date
from typing import Literal

from pydantic import Field, field_validator

from tasks.job.setting import Positive, Setting


class Inference(Setting):
    """How every model of the job forecasts."""

    patch_size: Literal["frequency"] | None = Field(
        None,
        description="patches of Moirai 1.x and Moirai-MoE: frequency takes the size that suits `frequency`; null: "
        "Moirai 1.x chooses per series by its last horizon, Moirai-MoE takes 16",
    )
    decoding: Literal["exact", "cached"] = Field(
        "exact",
        description="horizons beyond one pass of Moirai 2.0 or one patch of Moirai-MoE: exact, as published; cached is "
        "many times faster and changes the numbers a little",
    )
    precision: Literal["fp32", "bf16", "auto"] = Field(
        "fp32", description="arithmetic of matrix products; auto: bf16 where the processor is made for it"
    )
    num_samples: Positive = Field(100, description="sample paths of Moirai-MoE beyond its first patch")
    seed: int = Field(0, ge=0, description="seed of these paths")


class Backtest(Setting):
    """Rolling-origin evaluation on the end of every series."""

    windows: Positive = Field(20, description="forecast windows of one horizon each, back to back")
    after: date | None = Field(
        None,
        description="only windows whose first step lies on a later day, such as the last day of the data that a "
        "published model was trained on; null: all",
    )
    models: list[str] = Field(
        [],
        description="model references to score; empty: the job's model and finetune.base; the pipeline scores them "
        "beside its new version and finetune.base",
    )
    baselines: list[str] = Field(
        ["naive", "seasonal_naive"],
        description="naive, seasonal_naive (the job's season) or seasonal_naive:N (season of N steps)",
    )

    @field_validator("baselines")
    @classmethod
    def _are_known(cls, value: list[str]) -> list[str]:
        for name in value:
            if not re.fullmatch(r"naive|seasonal_naive(:[1-9]\d*)?", name):
                msg = f"unknown baseline {name!r}; known: naive, seasonal_naive, seasonal_naive:N"
                raise ValueError(msg)
        return value


class Finetune(Setting):
    """Fine-tuning of a base model on the span before the first backtest window."""

    base: str = Field("starter", description="model reference that training starts from, of any family")
    method: Literal["full", "head", "frozen_ffn", "lora"] = Field(
        "full",
        description="weights that are trained: all; those of the output; all but the feed-forward networks; low-rank "
        "adapters, which are merged when the model is saved",
    )
    lora_rank: Positive | None = Field(
        None, description="rank of the adapters of lora; null: at most 8, with which 3 % of the weights are trained"
    )
    max_steps: Positive = Field(400, description="optimiser steps at most")
    context: Positive | None = Field(
        None,
        description="steps of a training window before what it predicts; null: those of `context`, or what the longest "
        "training span holds",
    )
    patch_size: Positive | None = Field(
        None,
        description="steps of a token, one of the base's sizes; null: its only one, of Moirai-MoE 16, of Moirai "
        "1.x the one that forecasts the held-out windows best",
    )
    batch_size: Positive | None = Field(None, description="windows per step and device; null: 8 to 64, by their length")
    learning_rate: float | None = Field(
        None, gt=0, description="peak learning rate of AdamW; null: by method and width, 0.2 / d_model for full"
    )
    validate_every: Positive = Field(50, description="steps between two validations")
    patience: Positive = Field(4, description="validations without gain before training stops")
    validation_windows: Positive = Field(
        4, description="horizons at the end of the training span held out for early stopping"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        "auto", description="where training runs; auto: on a GPU where there is one"
    )
    devices: Positive = Field(1, description="GPUs that share every step, or processes on the CPU")
    precision: Literal["fp32", "bf16", "auto"] = Field(
        "fp32", description="arithmetic of matrix products; auto: bf16 where the device is made for it"
    )
    seed: int = Field(0, ge=0, description="seed of everything random")
