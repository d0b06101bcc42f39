"""Frozen configuration of the model, in the dialect of the published `config.json` files.

In: keyword arguments or a mapping read from `config.json`. Out: a checked `Moirai2Config`. Fails with `ConfigError`, which
names the field, its value and the rule.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from moirai.errors import ConfigError

HEAD_DIM = (
    64  # width of one attention head; the head count is not configured (specification, section 1)
)


@dataclass(frozen=True, kw_only=True)
class Moirai2Config:
    """Architecture of Moirai 2.0 (specification, sections 1 and 8)."""

    d_model: int  # width of a token
    d_ff: int  # hidden width of the gated feed-forward
    num_layers: int  # encoder blocks
    patch_size: int  # time steps in a token
    max_seq_len: int = 512  # tokens in a training row; forecasts may be longer
    attn_dropout_p: float = 0.0
    dropout_p: float = 0.0
    scaling: bool = True  # standardise each variate by its context
    num_predict_token: int = 1  # patches that one token predicts
    quantile_levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantile_levels", tuple(self.quantile_levels))
        for name in (
            "d_model",
            "d_ff",
            "num_layers",
            "patch_size",
            "max_seq_len",
            "num_predict_token",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.d_model % HEAD_DIM:
            raise ConfigError(
                f"d_model must be a multiple of {HEAD_DIM} (one head), not {self.d_model}"
            )
        for name in ("attn_dropout_p", "dropout_p"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must lie in [0, 1), not {getattr(self, name)!r}")
        levels = self.quantile_levels
        rising = all(low < high for low, high in zip(levels, levels[1:], strict=False))
        if not levels or not rising or not (0 < levels[0] and levels[-1] < 1):
            raise ConfigError(f"quantile_levels must rise inside (0, 1), not {list(levels)}")

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
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Check a mapping read from `config.json`.

        Raises:
            ConfigError: a field is missing, unknown or impossible.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise ConfigError(
                f"unknown field {unknown[0]!r} in a Moirai 2.0 config; known: {sorted(known)}"
            )
        required = {"d_model", "d_ff", "num_layers", "patch_size"}
        if missing := sorted(required - set(settings)):
            raise ConfigError(f"field {missing[0]!r} is missing in a Moirai 2.0 config")
        return cls(**settings)
