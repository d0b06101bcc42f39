"""Optimiser groups and learning-rate schedules (specification, section 15)."""

import math
from collections.abc import Callable

import torch
from torch import nn

from moirai.layers.multi_size import MultiSize

BETAS = (0.9, 0.98)
EPS = 1e-6
WEIGHT_DECAY = 0.1


def adamw(module: nn.Module, *, learning_rate: float, weight_decay: float = WEIGHT_DECAY) -> torch.optim.AdamW:
    """AdamW that decays the weights of linear layers and projections: no biases, norms or embeddings.

    Args:
        module: parameters that do not require a gradient are left out.
        learning_rate: peak rate.
        weight_decay: decay of those weights.
    """
    decayed = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, nn.Linear | MultiSize)}
    trained = {name: p for name, p in sorted(module.named_parameters()) if p.requires_grad}
    groups = [
        {
            "params": [p for name, p in trained.items() if name in decayed],
            "weight_decay": weight_decay,
        },
        {"params": [p for name, p in trained.items() if name not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, betas=BETAS, eps=EPS)


def warmup_cosine(warmup: int, total: int) -> Callable[[int], float]:
    """Multiplier by step: from 0 to 1 over `warmup` steps, then half a cosine to 0 at `total`."""

    def multiplier(step: int) -> float:
        if step < warmup:
            return step / warmup
        progress = (step - warmup) / max(1, total - warmup)
        return 0.5 * (1 + math.cos(math.pi * progress)) if progress < 1 else 0.0

    return multiplier
