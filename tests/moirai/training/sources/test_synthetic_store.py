"""Synthetic series on disk: the same whoever makes them, completed after an interruption, read as a source."""

import numpy as np
import pytest

from moirai.errors import ConfigError
from moirai.training.sources import synthetic_store
from moirai.training.sources.lotsa import LotsaSettings
from moirai.training.sources.synthetic import SyntheticSettings
from moirai.training.sources.synthetic_store import store_synthetic

SETTINGS = SyntheticSettings(lengths=(8, 16), weights=(1, 3))


def test_stored_series_are_read_as_a_source(tmp_path):
    """As many as asked for, of the lengths and with the weights of the settings, without a clock, all different."""
    store_synthetic(tmp_path, SETTINGS, series=700)
    source = LotsaSettings(path=str(tmp_path), choice="uniform", whole=True).open()
    assert source.whole
    assert source.frequencies == (None,)
    drawn = source.draw(np.random.default_rng(0), 4000)
    assert drawn.record.max() == 699
    assert set(drawn.length.tolist()) == {8, 16}
    assert abs((drawn.length == 16).mean() - 0.75) < 0.06
    records = np.arange(700)
    first = np.zeros(700, np.int64)
    values = source.read(np.random.default_rng(0), record=records, row=first, start=first, stop=first + 8).reshape(
        -1, 8
    )
    assert np.isnan(values).mean() < 0.5
    assert len({row.tobytes() for row in np.nan_to_num(values)}) > 600


def test_missing_files_are_made_again(tmp_path, monkeypatch):
    """A call goes on where another ended: a file that is gone comes back bit for bit, one that is there stays."""
    monkeypatch.setattr(synthetic_store, "SERIES_OF_A_BATCH", 4)  # smaller files
    series = 4 * synthetic_store.BATCHES_OF_A_FILE + 1
    paths = store_synthetic(tmp_path, SyntheticSettings(lengths=(8,)), series=series)
    assert len(paths) == 2
    kept, written = paths[1].read_bytes(), paths[0].stat().st_mtime_ns
    paths[1].unlink()
    store_synthetic(tmp_path, SyntheticSettings(lengths=(8,)), series=series)
    assert paths[1].read_bytes() == kept
    assert paths[0].stat().st_mtime_ns == written


def test_other_settings_need_another_folder(tmp_path):
    """Series of two settings or seeds are not mixed; none at all are no data set."""
    store_synthetic(tmp_path, SETTINGS, series=3)
    with pytest.raises(ConfigError, match="holds series of other settings"):
        store_synthetic(tmp_path, SETTINGS, series=3, seed=1)
    with pytest.raises(ConfigError, match="series must be at least 1"):
        store_synthetic(tmp_path, SETTINGS, series=0)
