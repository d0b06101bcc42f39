"""Moirai time-series transformers: load, forecast, train.

The public names are imported when first used, so that `import moirai` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moirai.config import Moirai2Config
    from moirai.errors import MoiraiError
    from moirai.forecasting.forecast import MoiraiForecast
    from moirai.models.moirai2 import Moirai2Module
    from moirai.training.finetune_module import MoiraiFinetuneModule

_HOMES = {
    "Moirai2Config": "moirai.config",
    "Moirai2Module": "moirai.models.moirai2",
    "MoiraiError": "moirai.errors",
    "MoiraiFinetuneModule": "moirai.training.finetune_module",
    "MoiraiForecast": "moirai.forecasting.forecast",
}

__all__ = [
    "Moirai2Config",
    "Moirai2Module",
    "MoiraiError",
    "MoiraiFinetuneModule",
    "MoiraiForecast",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        msg = f"module 'moirai' has no attribute {name!r}; it offers {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
