"""Mixture of distributions with learned weights (specification, section 9).

    log p(y) = logsumexp_k(log w_k + log p_k(y))        w = softmax of the logits

A component whose support excludes y adds nothing, neither to the value nor to a gradient.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moirai.distributions.base import Distribution, DistributionFamily, Numbers
from moirai.distributions.domain import real
from moirai.distributions.inversion import invert
from moirai.errors import ConfigError


@dataclass(frozen=True)
class Mixture(Distribution):
    """Mixture law; the components share one batch."""

    weights_logits: Float[Tensor, "*batch component"]
    components: tuple[Distribution, ...]

    @property
    def weights(self) -> Float[Tensor, "*batch component"]:
        """Probability of each component."""
        return self.weights_logits.softmax(-1)

    @property
    def mean(self) -> Numbers:
        """Σ w_k m_k."""
        mean, _ = self._moments()
        return mean.to(self.weights_logits.dtype)

    @property
    def variance(self) -> Numbers:
        """Σ w_k (v_k + (m_k - m)²)."""
        _, variance = self._moments()
        return variance.to(self.weights_logits.dtype)

    def _moments(self) -> tuple[Numbers, Numbers]:
        """Mean and variance in float64, where a heavy component overflows later."""
        laws = [law.map(Tensor.double) for law in self.components]
        weights = self.weights_logits.double().softmax(-1)
        counts = weights > 0  # what never happens may well be infinite
        means = torch.where(counts, torch.stack([law.mean for law in laws], dim=-1), 0.0)
        variances = torch.where(counts, torch.stack([law.variance for law in laws], dim=-1), 0.0)
        mean = (weights * means).sum(-1)
        spread = torch.where(means.isfinite(), (means - mean[..., None]) ** 2, math.inf)
        variance = torch.where(mean.isfinite(), (weights * (variances + spread)).sum(-1), math.inf)
        return mean, variance

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors that make the law; the first has the shape of the batch."""
        return (*(parameter for law in self.components for parameter in law.parameters), self.weights_logits)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Mixture":
        """The same law with every parameter changed; the change keeps or adds leading axes only."""
        return Mixture(change(self.weights_logits), tuple(law.map(change) for law in self.components))

    def take(self, index: Int[Tensor, "chosen"]) -> "Mixture":
        """The laws at these places of the flattened batch."""
        logits = self.weights_logits.flatten(0, -2)[index]
        return Mixture(logits, tuple(law.take(index) for law in self.components))

    def in_support(self, value: Numbers) -> Bool[Tensor, "..."]:
        """Where any component is possible."""
        return torch.stack([law.in_support(value) for law in self.components]).any(0)

    def log_density(self, value: Numbers) -> Numbers:
        """The same as `log_prob`."""
        return self.log_prob(value)

    def log_prob(self, value: Numbers) -> Numbers:
        """See the module; -inf outside all supports."""
        densities = torch.stack([law.log_prob(value) for law in self.components], dim=-1)
        joint = self.weights_logits.log_softmax(-1) + densities
        inside = self.in_support(value)
        total = torch.where(inside[..., None], joint, 0.0).logsumexp(-1)
        return torch.where(inside, total, -math.inf)

    def cdf(self, value: Numbers) -> Numbers:
        """Σ w_k F_k(y)."""
        return (self.weights * torch.stack([law.cdf(value) for law in self.components], dim=-1)).sum(-1)

    def icdf(self, probability: Numbers) -> Numbers:
        """By inversion of the distribution function, deterministic; see `inversion`."""
        return invert(self.components, self.weights, probability)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Draws, `[n, *batch]`: the component first, then only what was chosen."""
        shape = self.batch_shape
        point = self.weights_logits.new_empty(n, *shape).uniform_(generator=generator)
        steps = self.weights.cumsum(-1)[..., :-1]
        chosen = (point[..., None] >= steps).sum(-1).flatten()
        drawn = point.new_empty(chosen.shape)
        for k, law in enumerate(self.components):
            places = (chosen == k).nonzero()[:, 0]
            drawn[places] = law.take(places % max(shape.numel(), 1)).sample(1, generator)[0]
        return drawn.reshape(n, *shape)


@dataclass(frozen=True, kw_only=True)
class MixtureFamily(DistributionFamily):
    """Mixture of other families."""

    target = "mixture.MixtureOutput"

    components: tuple[DistributionFamily, ...]

    def __post_init__(self) -> None:
        if not self.components or any(isinstance(one, MixtureFamily) for one in self.components):
            raise ConfigError("components of a mixture must be one or more distributions that are no mixtures")

    @property
    def constants(self) -> dict[str, float | int]:
        """None of its own."""
        return {}

    @property
    def args(self) -> dict[str, Any]:
        """One logit per component, and the arguments of each."""
        return {"weights_logits": len(self.components), "components": [one.args for one in self.components]}

    def law(self, raw: Mapping[str, Any]) -> Mixture:
        """The distribution of raw arguments, in scaled space."""
        laws = [family.law(one) for family, one in zip(self.components, raw["components"], strict=True)]
        return Mixture(real(raw["weights_logits"]), tuple(laws))

    def to_config(self) -> dict[str, Any]:
        """The mapping that a published `config.json` holds."""
        return {**super().to_config(), "components": [one.to_config() for one in self.components]}
