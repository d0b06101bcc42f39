"""Frozen configurations of the model families, in the dialect of the published `config.json` files.

In: keyword arguments or a mapping read from `config.json`. Out: a checked `MoiraiConfig` (1.x),
`MoiraiMoEConfig` or `Moirai2Config`. Fails with `ConfigError`, which names the field, its value and
the rule.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING, asdict, dataclass, field, fields
from itertools import pairwise
from typing import Any, ClassVar, TypeVar

from moirai.errors import ConfigError

# Width of one attention head; the head count is not configured (specification, section 1).
HEAD_DIM = 64
DISTRIBUTIONS = "uni2ts.distribution."  # how published files name the classes of `distr_output`
STANDARD_MIXTURE = {
    "_target_": "uni2ts.distribution.mixture.MixtureOutput",
    "components": [
        {"_target_": "uni2ts.distribution.student_t.StudentTOutput"},
        {"_target_": "uni2ts.distribution.normal.NormalFixedScaleOutput", "scale": 0.001},
        {"_target_": "uni2ts.distribution.negative_binomial.NegativeBinomialOutput"},
        {"_target_": "uni2ts.distribution.log_normal.LogNormalOutput"},
    ],
}  # the head of every published Moirai 1.x and Moirai-MoE

ConfigT = TypeVar("ConfigT", bound="_Config")


@dataclass(frozen=True, kw_only=True)
class _Config:
    """What the families share: the encoder."""

    FAMILY: ClassVar[str]  # as messages call it
    COUNTS: ClassVar[tuple[str, ...]] = ("d_model", "num_layers", "max_seq_len")

    d_model: int  # width of a token
    num_layers: int  # encoder blocks
    max_seq_len: int = 512  # tokens in a training row; forecasts may be longer
    attn_dropout_p: float | int = 0.0  # published files say 0
    dropout_p: float | int = 0.0
    scaling: bool = True  # standardise each variate by its context

    def __post_init__(self) -> None:
        for name in self.COUNTS:
            if not _is_count(value := getattr(self, name)):
                raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.d_model % HEAD_DIM:
            raise ConfigError(f"d_model must be a multiple of {HEAD_DIM} (one head), not {self.d_model}")
        for name in ("attn_dropout_p", "dropout_p"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < 1:
                raise ConfigError(f"{name} must be a number in [0, 1), not {value!r}")
        if not isinstance(self.scaling, bool):
            raise ConfigError(f"scaling must be true or false, not {self.scaling!r}")

    @property
    def num_heads(self) -> int:
        """Attention heads."""
        return self.d_model // HEAD_DIM

    def to_dict(self) -> dict[str, Any]:
        """The mapping that `config.json` holds."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls: type[ConfigT], settings: Mapping[str, Any]) -> ConfigT:
        """Check a mapping read from `config.json`.

        Raises:
            ConfigError: a field is missing, unknown or impossible.
        """
        known = {one.name: one for one in fields(cls)}
        if unknown := sorted(set(settings) - set(known)):
            raise ConfigError(f"unknown field {unknown[0]!r} in a {cls.FAMILY} config; known: {sorted(known)}")
        required = {name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING}
        if missing := sorted(required - set(settings)):
            raise ConfigError(f"field {missing[0]!r} is missing in a {cls.FAMILY} config")
        given: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in settings.items()}
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class Moirai2Config(_Config):
    """Architecture of Moirai 2.0 (specification, sections 1 and 8)."""

    FAMILY = "Moirai 2.0"
    COUNTS = ("d_model", "d_ff", "num_layers", "patch_size", "max_seq_len", "num_predict_token")

    d_ff: int  # hidden width of the gated feed-forward
    patch_size: int  # time steps in a token
    num_predict_token: int = 1  # patches that one token predicts
    quantile_levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = self.quantile_levels
        numbers = isinstance(levels, tuple) and all(isinstance(one, float) for one in levels)
        if not numbers or not levels or not _rise(0.0, *levels, 1.0):
            raise ConfigError(f"quantile_levels must be numbers that rise inside (0, 1): {levels!r}")

    @property
    def num_quantiles(self) -> int:
        """Quantile levels that the head predicts."""
        return len(self.quantile_levels)


@dataclass(frozen=True, kw_only=True)
class _MultiSizeConfig(_Config):
    """What the families with several patch sizes and a distribution head share."""

    patch_sizes: tuple[int, ...] = (8, 16, 32, 64, 128)  # one slab of each projection per size, in this order
    distr_output: dict[str, Any] = field(default_factory=lambda: STANDARD_MIXTURE, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = self.patch_sizes
        counts = isinstance(sizes, tuple) and all(_is_count(size) for size in sizes)
        if not counts or not sizes or len(set(sizes)) < len(sizes):
            raise ConfigError(f"patch_sizes must be different whole numbers of at least 1: {sizes!r}")
        _check_distribution(self.distr_output)
        object.__setattr__(self, "distr_output", deepcopy(self.distr_output))  # the caller's may change

    @property
    def max_patch_size(self) -> int:
        """Width of the patch axis where sizes are mixed."""
        return max(self.patch_sizes)


@dataclass(frozen=True, kw_only=True)
class MoiraiConfig(_MultiSizeConfig):
    """Architecture of Moirai 1.0 and 1.1 (specification, sections 1 and 6)."""

    FAMILY = "Moirai 1.x"

    @property
    def d_ff(self) -> int:
        """Hidden width of the gated feed-forward: two thirds of four widths, in steps of eight."""
        return (4 * self.d_model * 2 // 3 + 7) // 8 * 8


@dataclass(frozen=True, kw_only=True)
class MoiraiMoEConfig(_MultiSizeConfig):
    """Architecture of Moirai-MoE (specification, sections 1 and 7)."""

    FAMILY = "Moirai-MoE"
    COUNTS = ("d_model", "d_ff", "num_layers", "max_seq_len")

    d_ff: int  # hidden width of each expert
    patch_sizes: tuple[int, ...] = (16,)


AnyConfig = MoiraiConfig | MoiraiMoEConfig | Moirai2Config


def config_from_dict(settings: Mapping[str, Any]) -> AnyConfig:
    """Check a mapping read from `config.json` of any family, which its fields tell.

    Several patch sizes and a feed-forward width make a Moirai-MoE, without the width a Moirai 1.x;
    everything else is a Moirai 2.0.

    Raises:
        ConfigError: a field is missing, unknown or impossible.
    """
    if "patch_sizes" not in settings and "distr_output" not in settings:
        return Moirai2Config.from_dict(settings)
    if "d_ff" in settings:
        return MoiraiMoEConfig.from_dict(settings)
    return MoiraiConfig.from_dict(settings)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _rise(*numbers: float) -> bool:
    return all(low < high for low, high in pairwise(numbers))


def _check_distribution(settings: Any) -> None:
    """A distribution names its class; which classes there are is for `moirai.distributions` to say."""
    if not isinstance(settings, dict) or not str(settings.get("_target_", "")).startswith(DISTRIBUTIONS):
        raise ConfigError(f"distr_output must name its class as '_target_: {DISTRIBUTIONS}...': {settings!r}")
    components = settings.get("components", [])
    if not isinstance(components, list):
        raise ConfigError(f"distr_output: components must be a list, not {components!r}")
    for component in components:
        _check_distribution(component)
