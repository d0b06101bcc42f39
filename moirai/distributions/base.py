"""What every distribution offers, and what a family of them says of itself.

A *family* is configuration: which raw arguments a head must produce, how each is mapped into its
domain, which constants are fixed. A *distribution* is a family with parameters: one law per element
of a batch (specification, section 9). Nothing here draws a random number except `sample`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moirai.errors import ConfigError

Numbers = Float[Tensor, "..."]


class Distribution(ABC):
    """One law per element of a batch; subclasses are frozen dataclasses of their parameters.

    Values and probabilities broadcast against the batch, so leading axes may be added freely.
    """

    is_lattice: ClassVar[bool] = False  # samples are the whole numbers 0, 1, 2, …

    @property
    @abstractmethod
    def mean(self) -> Numbers:
        """Expectation; infinite where it does not exist."""

    @property
    @abstractmethod
    def variance(self) -> Numbers:
        """Second central moment; infinite where it does not exist."""

    @abstractmethod
    def log_density(self, value: Numbers) -> Numbers:
        """Log density at values inside the support; anything elsewhere."""

    @abstractmethod
    def cdf(self, value: Numbers) -> Numbers:
        """Probability of a sample not above the value."""

    @abstractmethod
    def icdf(self, probability: Numbers) -> Numbers:
        """Smallest value whose `cdf` reaches the probability, which lies inside (0, 1)."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Independent draws, `[n, *batch]`, without gradient."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors that make the law."""
        return tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of the batch of laws."""
        return self.parameters[0].shape

    def map(self, change: Callable[[Tensor], Tensor]) -> "Distribution":
        """The same law with every parameter changed: another dtype, device or shape."""
        changed = {field.name: change(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return replace(self, **changed)  # type: ignore[type-var]

    def take(self, index: Int[Tensor, "chosen"]) -> "Distribution":
        """The laws at these places of the flattened batch."""
        return self.map(lambda parameter: parameter.flatten()[index])

    def in_support(self, value: Numbers) -> Bool[Tensor, "..."]:
        """Where the value is possible; the whole line unless a family says otherwise."""
        return value.isfinite().expand(torch.broadcast_shapes(value.shape, self.batch_shape))

    @property
    def possible(self) -> Tensor | float:
        """A value inside the support, at which the density is evaluated instead of outside."""
        return 0.0

    def log_prob(self, value: Numbers) -> Numbers:
        """Log density; -inf outside the support, where every gradient is zero."""
        inside = self.in_support(value)
        density = self.log_density(torch.where(inside, value, self.possible))
        return torch.where(inside, density, -math.inf)

    def bracket(self, probability: Numbers) -> tuple[Numbers, Numbers]:
        """Two values that enclose the quantile; where no closed form exists, cheap bounds."""
        exact = self.icdf(probability)
        return exact, exact

    @torch.no_grad()
    def quantile(self, levels: Float[Tensor, "quantile"]) -> Numbers:
        """Quantiles of every law, `[quantile, *batch]`, without gradient and without sampling.

        Raises:
            ConfigError: a level lies outside (0, 1).
        """
        if not bool(((levels > 0) & (levels < 1)).all()):
            raise ConfigError(f"quantile levels must lie inside (0, 1), not {levels.tolist()}")
        return self.icdf(levels.reshape(-1, *[1] * len(self.batch_shape)))


@dataclass(frozen=True, kw_only=True)
class DistributionFamily(ABC):
    """A kind of distribution with its constants; the fields of a subclass are the constants."""

    target: ClassVar[str]  # class name in published config files, after `uni2ts.distribution.`

    def __post_init__(self) -> None:
        for name, value in self.constants.items():
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} of {self.target} must be a positive number, not {value!r}")

    @property
    def constants(self) -> dict[str, float | int]:
        """Parameters that are the same everywhere."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    @abstractmethod
    def args(self) -> dict[str, Any]:
        """Raw argument -> dimensionality; a mixture nests a list of the same as `components`."""

    @abstractmethod
    def law(self, raw: Mapping[str, Any]) -> Distribution:
        """The distribution of raw, unconstrained arguments, in scaled space."""

    def distribution(
        self, raw: Mapping[str, Any], loc: Numbers | None = None, scale: Numbers | None = None
    ) -> Distribution:
        """The distribution of raw arguments, in data units where loc and scale are given.

        Args:
            raw: tensors `[*batch, dimensionality]`, nested as `args`.
            loc: shift; broadcasts against the batch.
            scale: positive factor; broadcasts against the batch.
        """
        from moirai.distributions.affine import Affine  # noqa: PLC0415 - a distribution itself

        law = self.law(raw)
        if loc is None and scale is None:
            return law
        zeros = torch.zeros(law.batch_shape, dtype=law.parameters[0].dtype, device=law.parameters[0].device)
        return Affine(
            base=law,
            loc=zeros if loc is None else loc.expand(law.batch_shape),
            scale=zeros + 1 if scale is None else scale.expand(law.batch_shape),
        )

    def to_config(self) -> dict[str, Any]:
        """The mapping that a published `config.json` holds."""
        return {"_target_": f"uni2ts.distribution.{self.target}", **self.constants}


class MappedFamily(DistributionFamily):
    """A family whose arguments are mapped one by one."""

    maps: ClassVar[Mapping[str, Callable[[Tensor], Tensor]]]  # argument -> map into its domain
    makes: ClassVar[Callable[..., Distribution]]

    @property
    def args(self) -> dict[str, Any]:
        """Raw argument -> dimensionality."""
        return dict.fromkeys(self.maps, 1)

    def law(self, raw: Mapping[str, Any]) -> Distribution:
        """The distribution of raw arguments `[*batch, 1]`, in scaled space."""
        mapped = {name: domain(raw[name].squeeze(-1)) for name, domain in self.maps.items()}
        like = next(iter(mapped.values()))
        fixed = {name: like.new_tensor(value).expand_as(like) for name, value in self.constants.items()}
        return type(self).makes(**mapped, **fixed)
