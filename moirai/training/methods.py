"""Which parameters a fine-tuning trains.

In: a module of any family and the name of a method. Out: the same module with everything else frozen.

| method | trains |
|---|---|
| `full` | everything |
| `head` | the output: the parameter projection, of Moirai 2.0 the quantile head |
| `frozen_ffn` | everything but the feed-forward networks (of Moirai-MoE: the experts) |
| `lora` | low-rank adapters beside the weights, see `lora.py`, and norms and biases |

Fails with `ConfigError`: no method of that name, or a rank below 1. `finish` makes it an ordinary module again.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal

from torch import nn

from moirai.errors import ConfigError
from moirai.training.lora import adapt, adaptable, merge

Method = Literal["full", "head", "frozen_ffn", "lora"]
HEADS = ("param_proj.", "out_proj.")  # how the parameters of an output begin
MOST_RANK = 8  # of adapters, where none is given
MOST_SHARE = 0.03  # of the parameters, that adapters of such a rank train

# Of the methods that freeze whole parameters: which ones, by name.
_FROZEN: Mapping[str, Callable[[str], bool]] = {
    "full": lambda _name: False,
    "head": lambda name: not name.startswith(HEADS),
    "frozen_ffn": lambda name: "ffn" in name,
}
METHODS = (*_FROZEN, "lora")


def choose_trained(module: nn.Module, method: str, *, lora_rank: int | None = None) -> None:
    """Freeze what a method leaves as it is.

    Args:
        module: changed in place.
        method: one of `METHODS`.
        lora_rank: rank of the adapters of `lora`; None: by `default_rank`.

    Raises:
        ConfigError: there is no such method, or the rank is below 1.
    """
    if method not in METHODS:
        raise ConfigError(f"there is no fine-tuning method {method!r}; known: {', '.join(METHODS)}")
    if method != "lora":
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(not _FROZEN[method](name))
        return
    rank = default_rank(module) if lora_rank is None else lora_rank
    if rank < 1:
        raise ConfigError(f"lora_rank must be at least 1, not {rank}")
    adapt(module, rank)
    for name, parameter in module.named_parameters():
        if _is_trained_beside(name):
            parameter.requires_grad_(True)


def default_rank(module: nn.Module) -> int:
    """The largest rank with which `lora` trains a small part of the parameters, and 1 at least.

    Args:
        module: without adapters.
    """
    total = sum(p.numel() for p in module.parameters())
    beside = sum(p.numel() for name, p in module.named_parameters() if _is_trained_beside(name))
    shapes = [part.weight.shape for part in adaptable(module)]
    per_rank = sum(math.prod(slabs) * (rows + columns) for *slabs, rows, columns in shapes)
    return int(min(MOST_RANK, max(1, (MOST_SHARE * total - beside) // per_rank)))


def finish(module: nn.Module) -> None:
    """Merge adapters and free everything: an ordinary module, with the names of its checkpoint."""
    merge(module)


def trained_share(module: nn.Module) -> float:
    """Share of the parameters that are trained, of those that a checkpoint of the module holds."""
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    added = sum(p.numel() for name, p in module.named_parameters() if is_adapter(name))
    return trained / (sum(p.numel() for p in module.parameters()) - added)


def _is_trained_beside(name: str) -> bool:
    """Whether `lora` trains a parameter as it is: biases and the weights of norms."""
    return name.endswith(".bias") or "norm" in name


def is_adapter(name: str) -> bool:
    """Whether a parameter belongs to an adapter and not to the checkpoint."""
    return ".parametrizations." in f".{name}" and not name.endswith(".original")
