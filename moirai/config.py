"""Frozen configuration of the model, in the dialect of the published `config.json` files.

In: keyword arguments or a mapping read from `config.json`. Out: a checked `Moirai2Config`. Fails
with `ConfigError`, which names the field, its value and the rule.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from moirai.errors import ConfigError

# Width of one attention head; the head count is not configured (specification, section 1).
HEAD_DIM = 64
COUNTS = ("d_model", "d_ff", "num_layers", "patch_size", "max_seq_len", "num_predict_token")


@dataclass(frozen=True, kw_only=True)
class Moirai2Config:
    """Architecture of Moirai 2.0 (specification, sections 1 and 8)."""

    d_model: int  # width of a token
    d_ff: int  # hidden width of the gated feed-forward
    num_layers: int  # encoder blocks
    patch_size: int  # time steps in a token
    max_seq_len: int = 512  # tokens in a training row; forecasts may be longer
    attn_dropout_p: float | int = 0.0  # published files say 0
    dropout_p: float | int = 0.0
    scaling: bool = True  # standardise each variate by its context
    num_predict_token: int = 1  # patches that one token predicts
    quantile_levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

    def __post_init__(self) -> None:
        for name in COUNTS:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.d_model % HEAD_DIM:
            raise ConfigError(f"d_model must be a multiple of {HEAD_DIM} (one head), not {self.d_model}")
        for name in ("attn_dropout_p", "dropout_p"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < 1:
                raise ConfigError(f"{name} must be a number in [0, 1), not {value!r}")
        if not isinstance(self.scaling, bool):
            raise ConfigError(f"scaling must be true or false, not {self.scaling!r}")
        levels = self.quantile_levels
        numbers = isinstance(levels, tuple) and all(isinstance(one, float) for one in levels)
        if not numbers or not levels or not _rise(0.0, *levels, 1.0):
            raise ConfigError(f"quantile_levels must be numbers that rise inside (0, 1): {levels!r}")

    @property
    def num_heads(self) -> int:
        """Attention heads."""
        return self.d_model // HEAD_DIM

    @property
    def num_quantiles(self) -> int:
        """Quantile levels that the head predicts."""
        return len(self.quantile_levels)

    def to_dict(self) -> dict[str, Any]:
        """The mapping that `config.json` holds."""
        return asdict(self) | {"quantile_levels": list(self.quantile_levels)}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Moirai2Config":
        """Check a mapping read from `config.json`.

        Raises:
            ConfigError: a field is missing, unknown or impossible.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise ConfigError(f"unknown field {unknown[0]!r} in a Moirai 2.0 config; known: {sorted(known)}")
        required = {"d_model", "d_ff", "num_layers", "patch_size"}
        if missing := sorted(required - set(settings)):
            raise ConfigError(f"field {missing[0]!r} is missing in a Moirai 2.0 config")
        levels = settings.get("quantile_levels")
        as_tuple = {"quantile_levels": tuple(levels)} if isinstance(levels, list) else {}
        return cls(**{**settings, **as_tuple})


def _rise(*numbers: float) -> bool:
    return all(low < high for low, high in pairwise(numbers))
