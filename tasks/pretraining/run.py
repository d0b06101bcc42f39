"""How the network is trained: the blocks `optimizer` and `run`."""

from typing import Literal

from pydantic import Field

from tasks.job.setting import Positive, Setting

Schedule = Literal[
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
    "trapezoid",
]


class Optimizer(Setting):
    """The optimiser and its learning rate."""

    name: Literal["adamw", "muon"] = Field(
        "adamw", description="adamw as published; muon for the matrices of the encoder, with adamw for the rest"
    )
    learning_rate: float = Field(1e-3, gt=0, description="peak rate")
    schedule: Schedule = Field("cosine_with_restarts", description="how the rate moves; see docs/training.md")
    warmup: int = Field(1000, ge=0, description="steps over which the rate rises from 0")
    weight_decay: float = Field(0.1, ge=0, description="of the weights of linear layers and projections")
    betas: tuple[float, float] = Field((0.9, 0.98), description="memory of the gradient's first and second moment")
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: any")
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="of a moving average of the weights, saved beside them; null: none"
    )


class Run(Setting):
    """Length, precision, seed, and what is kept on the way."""

    steps: Positive = Field(description="optimiser steps")
    accumulate: Positive = Field(1, description="batches of one process per step")
    loss: Literal["default", "nll", "quantile", "mae", "mse"] = Field(
        "default", description="default: nll for moirai and moirai_moe, quantile for moirai2"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of matrix products")
    seed: int = Field(0, ge=0, description="seed of everything random")
    save_every: Positive = Field(500, description="steps between two saved states; the newest two are kept")
    log_every: Positive = Field(50, description="steps between two points of the curves")
    accelerator: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where it runs; auto: a GPU if there is one"
    )
    devices: Positive = Field(1, description="training processes on this machine, each with a device of its own")
    workers: int = Field(
        0, ge=0, description="processes that make batches, for each training process; 0: a thread of it"
    )
