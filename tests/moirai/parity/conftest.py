"""The tolerances of the stored fixtures, in one place."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

# Kind of tensor -> (rtol, atol), as stated with the fixtures: float32 on a CPU against float32 on a CPU.
TOLERANCES = {
    "component": (1e-4, 1e-5),  # layers by themselves, embeddings that enter the encoder, losses
    "statistics": (1e-5, 1e-6),  # loc and scale
    "scaled target": (1e-5, 1e-5),
    "layer": (1e-4, 1e-4),  # times the row's largest absolute value
    "encoder": (1e-4, 2e-5),  # after the final norm; also the head in scaled space
    "data units": (1e-4, 2e-4),  # times the typical magnitude of the series, at least 1
    "domain map": (1e-5, 1e-6),
    "parameter": (1e-4, 2e-5),  # of a distribution, after the domain map
    "log density": (1e-4, 1e-3),
    "variance": (1e-3, 1e-3),
    "gradient": (1e-3, 1e-5),
    "gradient norm": (1e-3, 1e-6),
    "network input": (1e-6, 1e-6),
    "schedule": (0.0, 1e-6),
}


@pytest.fixture(scope="session")
def assert_close() -> Callable[..., None]:
    """Compare with the tolerance of a kind; `magnitude` multiplies the absolute part.

    Of a `share` below 1 the rest may differ by up to twice the tolerance.
    """

    def compare(
        actual: Tensor, expected: Tensor, kind: str, *, magnitude: Tensor | float = 1.0, share: float = 1.0
    ) -> None:
        rtol, atol = TOLERANCES[kind]
        assert actual.shape == expected.shape
        allowed = rtol * expected.abs() + atol * torch.as_tensor(magnitude)
        excess = (actual - expected).abs() / allowed
        largest, within = excess.max().item(), (excess <= 1).double().mean().item()
        assert largest <= (1 if share == 1 else 2), f"{kind}: largest difference is {largest:.2f} times the tolerance"
        assert within >= share, f"{kind}: {within:.1%} of the values are within the tolerance"

    return compare


@pytest.fixture(scope="session")
def magnitude() -> Callable[[Tensor, Tensor], Tensor]:
    """Typical magnitude of each row's series: mean absolute observed value, at least 1."""

    def typical(values: Tensor, observed: Tensor) -> Tensor:
        observed = observed.flatten(1)
        total = (values.flatten(1).abs() * observed).sum(1)
        return (total / observed.sum(1).clamp(min=1)).clamp(min=1)

    return typical
