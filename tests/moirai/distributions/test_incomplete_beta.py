"""The incomplete beta function against scipy and its own identities."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from moirai.distributions.incomplete_beta import incomplete_beta


def beta(a, b, x):
    """I_x(a, b) of numbers."""
    one = torch.tensor([a, b, x, 1 - x], dtype=torch.float64)
    return incomplete_beta(*one).item()


def test_scipy_agrees():
    """From tiny to large arguments, around the middle of the distribution, scipy gives the same."""
    rng = np.random.default_rng(0)
    a, b = np.exp(rng.uniform(-4, 11, 4000)), np.exp(rng.uniform(-4, 11, 4000))
    x = np.clip(a / (a + b) * np.exp(rng.normal(0, 1, 4000) / np.sqrt(a + 1)), 1e-8, 1 - 1e-8)
    ours = incomplete_beta(*(torch.from_numpy(one) for one in (a, b, x, 1 - x)))
    np.testing.assert_allclose(ours.numpy(), special.betainc(a, b, x), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("small", [1e-6, 0.5, 1.0, 7.0, 60.0])
@pytest.mark.parametrize("large", [1e3, 1e5, 1e7, 1e10])
@pytest.mark.parametrize("quantile", [1e-6, 0.2, 0.8, 1 - 1e-6])
def test_very_different_arguments(small, large, quantile):
    """With a huge and a small argument, as for large counts, scipy gives the same on both sides."""
    x = special.betaincinv(small, large, quantile)
    assert beta(small, large, x) == pytest.approx(special.betainc(small, large, x), abs=1e-8)
    assert beta(large, small, 1 - x) == pytest.approx(special.betainc(large, small, 1 - x), abs=1e-8)


@pytest.mark.parametrize(("x", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_ends(x, expected):
    """0 at 0, 1 at 1."""
    assert beta(2.5, 0.5, x) == expected


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1 - 1e-3))
def test_reflection(a, b, x):
    """I_x(a, b) + I_{1-x}(b, a) = 1."""
    assert beta(a, b, x) + beta(b, a, 1 - x) == pytest.approx(1, abs=1e-9)


def test_tiny_complement_is_not_lost():
    """1 - x below the resolution of x still counts."""
    one = torch.tensor([1.0, 2.0, 1.0, 1e-30], dtype=torch.float64)
    assert incomplete_beta(*one).item() == 1.0
    swapped = torch.tensor([2.0, 1.0, 1e-30, 1.0], dtype=torch.float64)
    assert incomplete_beta(*swapped).item() == pytest.approx(1e-60, rel=1e-9)


def test_not_a_number_stays_one():
    """NaN in, NaN out, and the loop ends."""
    nan = torch.full((1,), float("nan"), dtype=torch.float64)
    assert incomplete_beta(nan, nan, nan, nan).isnan().all()
