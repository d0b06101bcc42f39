"""The two tiny models of the repository: what their page says of them, and that they have learnt something."""

from pathlib import Path

import numpy as np
import pytest

from moirai import MoiraiForecast
from moirai.hub import resolve

FOLDER = Path(__file__).parents[2] / "deployments" / "examples" / "tiny_models"
HORIZON, DAY = 24, 24


def daily(phase):
    """Four weeks of a daily pattern with noise."""
    hours = np.arange(28 * DAY)
    return 50 + 10 * np.sin(2 * np.pi * hours / DAY + phase) + np.random.default_rng(phase).normal(0, 1, len(hours))


@pytest.mark.parametrize("name", ["tiny-moirai1", "tiny-moe"])
def test_a_tiny_model_is_the_one_of_its_page_and_has_learnt_what_a_season_is(name):
    """Digest and licence as told; the median of a day ahead is closer than the last value repeated."""
    checkpoint = resolve(FOLDER / name)
    assert f"`{checkpoint.digest}`" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert checkpoint.licence == "Apache-2.0"
    series = np.stack([daily(phase) for phase in range(4)])
    history, actual = series[:, :-HORIZON], series[:, -HORIZON:]
    model = MoiraiForecast.from_pretrained(FOLDER / name, context_length=480, num_samples=20)
    median = model.predict_arrays(list(history), horizon=HORIZON)[:, 4]
    naive = np.abs(history[:, -1:] - actual).mean()
    assert np.abs(median - actual).mean() < 0.9 * naive
