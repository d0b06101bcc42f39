"""What a fine-tuning process is asked survives the way through files."""

import json

import numpy as np
import pytest

from tasks.training.request import Request, Series, read_request, write_request


@pytest.fixture
def request_of():
    """Makes a request; named parts replace its own."""

    def make(**changes):
        return Request(
            **{
                "base": "base",
                "licence": "Apache-2.0",
                "settings": {"horizon": 6, "context": None, "learning_rate": 1e-3},
                "trainer": {"accelerator": "cpu", "devices": 1},
                "state": "state",
                "item_ids": ["a", "b", "c"],
                "context": 64,
                "season": 24,
                "frequency": "h",
                "inference": {"precision": "fp32"},
            }
            | changes
        )

    return make


def test_settings_and_series_come_back_as_they_were(request_of, tmp_path):
    """Lengths differ, values are missing, one series has no step; nothing of it changes."""
    values = [np.array([1.0, np.nan, 3.0], np.float32), np.empty(0, np.float32), np.array([5.5], np.float32)]
    covariates = [np.arange(2 * len(one), dtype=np.float32).reshape(2, -1) for one in values]
    for series in (Series(values), Series(values, covariates)):
        write_request(tmp_path, request_of(), series)
        request, read = read_request(tmp_path)
        assert request == request_of()
        assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(read.values, values, strict=True))
        assert (read.covariates is None) == (series.covariates is None)
    assert all(np.array_equal(one, other) for one, other in zip(read.covariates, covariates, strict=True))


def test_nothing_of_a_request_needs_pickle(request_of, tmp_path):
    """Settings are JSON that a person can read; the arrays load with pickles refused."""
    write_request(tmp_path, request_of(), Series([np.ones(3, np.float32)]))
    assert json.loads((tmp_path / "request.json").read_text())["settings"]["horizon"] == 6
    with np.load(tmp_path / "series.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"lengths", "values"}
