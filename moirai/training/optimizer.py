"""Optimisers with their parameter groups, and learning-rate schedules (specification, section 15).

In: a module, a rate, names. Out: an optimiser whose groups decay what the published models decayed, and a schedule as a
multiplier of the rate by step. Fails with `ConfigError`: no optimiser or schedule of that name.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from moirai.errors import ConfigError
from moirai.layers.multi_size import MultiSize

BETAS = (0.9, 0.98)
EPS = 1e-6
WEIGHT_DECAY = 0.1
MOMENTUM = 0.95  # of Muon
POLYNOMIAL_END = 1e-7  # rate at which the polynomial schedule ends
INVERSE_SQRT_SCALE = 10_000  # steps, where there is no warm-up to take the time scale from
COOLDOWN = 0.2  # share of a trapezoid that falls

Multiplier = Callable[[int], float]


def decay_groups(module: nn.Module) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """Trained parameters by name, sorted: those that decay, and those that do not.

    The weights of linear layers and of the projections with a slab per patch size decay; biases, norms and embeddings
    do not.
    """
    linear = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.Linear | MultiSize)}
    trained = {name: p for name, p in sorted(module.named_parameters()) if p.requires_grad}
    decayed = {name: p for name, p in trained.items() if name in linear}
    return decayed, {name: p for name, p in trained.items() if name not in linear}


def adamw(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = WEIGHT_DECAY,
    betas: tuple[float, float] = BETAS,
) -> torch.optim.AdamW:
    """AdamW that decays the weights of linear layers and projections: no biases, norms or embeddings.

    Args:
        module: parameters that do not require a gradient are left out.
        learning_rate: peak rate.
        weight_decay: decay of those weights.
        betas: memory of the gradient's first and second moment.
    """
    decayed, kept = decay_groups(module)
    return _adamw([*decayed.values()], [*kept.values()], learning_rate, weight_decay, betas)


def muon(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = WEIGHT_DECAY,
    betas: tuple[float, float] = BETAS,
) -> "Together":
    """Muon for the matrices inside the encoder's layers, AdamW for everything else.

    Updates of Muon are scaled to the size that AdamW's have, so that one rate suits both (Liu et al. 2025, "Muon is
    scalable for LLM training").
    """
    decayed, kept = decay_groups(module)
    hidden = {name: p for name, p in decayed.items() if "encoder.layers." in name and p.ndim == 2}  # noqa: PLR2004
    rest = [p for name, p in decayed.items() if name not in hidden]
    matrices = torch.optim.Muon(
        [*hidden.values()],
        lr=learning_rate,
        weight_decay=weight_decay,
        momentum=MOMENTUM,
        adjust_lr_fn="match_rms_adamw",
    )
    return Together(matrices, _adamw(rest, [*kept.values()], learning_rate, weight_decay, betas))


def _adamw(
    decayed: list[nn.Parameter],
    kept: list[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
) -> torch.optim.AdamW:
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW([one for one in groups if one["params"]], lr=learning_rate, betas=betas, eps=EPS)


class Together(torch.optim.Optimizer):
    """Several optimisers that step as one; their groups are its groups."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of each, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up a saved state; rates in it are kept."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups[:] = [group for part in self.parts for group in part.param_groups]


OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {"adamw": adamw, "muon": muon}


def make_optimizer(
    name: str,
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = WEIGHT_DECAY,
    betas: tuple[float, float] = BETAS,
) -> torch.optim.Optimizer:
    """The optimiser of a name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"there is no optimizer {name!r}; known: {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name](module, learning_rate=learning_rate, weight_decay=weight_decay, betas=betas)


def warmed_up(after: Callable[[int, int, int], float]) -> Callable[[int, int], Multiplier]:
    """A schedule that rises from 0 over the warm-up; `after` says how it goes on, of step, warm-up and total."""

    def schedule(warmup: int, total: int) -> Multiplier:
        return lambda step: step / warmup if step < warmup else after(step, warmup, total)

    return schedule


def _progress(step: int, warmup: int, total: int) -> float:
    """Share of the steps behind the warm-up that are done; above 1 past the end."""
    return (step - warmup) / max(1, total - warmup)


def _linear(step: int, warmup: int, total: int) -> float:
    return max(0.0, 1 - _progress(step, warmup, total))


def _cosine(step: int, warmup: int, total: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * _progress(step, warmup, total)))  # rises again past the end


def _restarting_cosine(step: int, warmup: int, total: int) -> float:
    return _cosine(step, warmup, total) if _progress(step, warmup, total) < 1 else 0.0  # one cycle


def _polynomial(step: int, warmup: int, total: int) -> float:
    left = max(0.0, 1 - _progress(step, warmup, total))
    return POLYNOMIAL_END + (1 - POLYNOMIAL_END) * left


def _inverse_sqrt(step: int, warmup: int, total: int) -> float:  # noqa: ARG001 - it never ends
    scale = warmup or INVERSE_SQRT_SCALE
    return (scale / (scale + step - warmup)) ** 0.5


def _trapezoid(step: int, warmup: int, total: int) -> float:  # noqa: ARG001 - level behind the warm-up
    return min(1.0, max(0.0, (total - step) / max(1.0, COOLDOWN * total)))


# By name: of warm-up and total steps, the multiplier of the rate at a step, counted from 0.
SCHEDULES: Mapping[str, Callable[[int, int], Multiplier]] = {
    "constant": lambda _warmup, _total: lambda _step: 1.0,
    "constant_with_warmup": warmed_up(lambda _step, _warmup, _total: 1.0),
    "linear": warmed_up(_linear),
    "cosine": warmed_up(_cosine),
    "cosine_with_restarts": warmed_up(_restarting_cosine),
    "polynomial": warmed_up(_polynomial),
    "inverse_sqrt": warmed_up(_inverse_sqrt),
    "trapezoid": warmed_up(_trapezoid),
}


def schedule(name: str, *, warmup: int, total: int) -> Multiplier:
    """Multiplier of the peak rate by step.

    Args:
        name: a key of `SCHEDULES`.
        warmup: steps over which the rate rises from 0; `constant` has none.
        total: steps of the run.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in SCHEDULES:
        raise ConfigError(f"there is no schedule {name!r}; known: {', '.join(SCHEDULES)}")
    return SCHEDULES[name](warmup, total)


def warmup_cosine(warmup: int, total: int) -> Multiplier:
    """Multiplier by step: from 0 to 1 over `warmup` steps, then half a cosine to 0 at `total`."""
    return schedule("cosine_with_restarts", warmup=warmup, total=total)
