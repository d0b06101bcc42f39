"""Forecasts on a GPU: run where there is one, reported as not run elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch

from moirai.forecasting.forecast import MoiraiForecast

CHECKPOINTS = Path(__file__).parents[1] / "parity"
CASES = [
    ("moirai", {"patch_size": 8}),
    ("moirai", {"patch_size": "auto"}),
    ("moirai2", {}),
    ("moirai2", {"decoding": "cached"}),
    ("moirai_moe", {"patch_size": 8, "num_samples": 10}),
]
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize(("folder", "options"), CASES)
def test_a_gpu_forecasts_what_a_processor_does(folder, options):
    """The same quantiles within float32 rounding; of sampled paths the first patch, which is not drawn."""
    rng = np.random.default_rng(0)
    series = [rng.normal(10, 3, length).astype(np.float32) for length in (60, 7, 24)]
    steps = 8 if folder == "moirai_moe" else 20
    made = {
        device: MoiraiForecast.from_pretrained(
            CHECKPOINTS / folder / "checkpoint", context_length=48, device=device, **options
        ).predict_arrays(series, horizon=20)[..., :steps]
        for device in ("cpu", "cuda")
    }
    np.testing.assert_allclose(made["cuda"], made["cpu"], rtol=1e-3, atol=1e-2)


def test_memory_of_a_gpu_does_not_grow_with_the_series():
    """Ten times the series take the memory of one batch."""
    model = MoiraiForecast.from_pretrained(CHECKPOINTS / "moirai2" / "checkpoint", device="cuda", batch_size=32)
    peaks = []
    for count in (32, 320):
        torch.cuda.reset_peak_memory_stats()
        model.predict_arrays([np.sin(np.arange(300.0))] * count, horizon=8)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= 1.1 * peaks[0]
