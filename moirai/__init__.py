"""Moirai time-series transformers: load, forecast, train.

The public names are imported when first used, so that `import moirai` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moirai.config import Moirai2Config, MoiraiConfig, MoiraiMoEConfig
    from moirai.errors import MoiraiError
    from moirai.forecasting.forecast import MoiraiForecast
    from moirai.models.moirai1 import MoiraiModule
    from moirai.models.moirai2 import Moirai2Module
    from moirai.models.moirai_moe import MoiraiMoEModule
    from moirai.training.finetune_module import MoiraiFinetuneModule

_HOMES = {
    "Moirai2Config": "moirai.config",
    "Moirai2Module": "moirai.models.moirai2",
    "MoiraiConfig": "moirai.config",
    "MoiraiError": "moirai.errors",
    "MoiraiFinetuneModule": "moirai.training.finetune_module",
    "MoiraiForecast": "moirai.forecasting.forecast",
    "MoiraiMoEConfig": "moirai.config",
    "MoiraiMoEModule": "moirai.models.moirai_moe",
    "MoiraiModule": "moirai.models.moirai1",
}

__all__ = [
    "Moirai2Config",
    "Moirai2Module",
    "MoiraiConfig",
    "MoiraiError",
    "MoiraiFinetuneModule",
    "MoiraiForecast",
    "MoiraiMoEConfig",
    "MoiraiMoEModule",
    "MoiraiModule",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        msg = f"module 'moirai' has no attribute {name!r}; it offers {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
