"""Series that are made when they are read: synthetic ones and mixtures of real ones; and series in memory."""

import numpy as np
import pytest

from moirai.errors import ConfigError, DataError
from moirai.training.sources.memory import SeriesSettings
from moirai.training.sources.mixing import MixedSettings
from moirai.training.sources.source import Source, SourceSettings
from moirai.training.sources.synthetic import SyntheticSettings


def read(source, rng, record, start, stop):
    """Stretches of first variates as a list."""
    record, start, stop = (np.array(one) for one in (record, start, stop))
    values = source.read(rng, record=record, row=0 * record, start=start, stop=stop)
    return np.split(values, np.cumsum(stop - start)[:-1])


def test_synthetic_series_have_their_lengths():
    """Drawn as often as the weights say, made as long as asked for, the same for the same generator, all different."""
    source = SyntheticSettings(lengths=(32, 64), weights=(3, 1)).open()
    drawn = source.draw(np.random.default_rng(0), 8000)
    assert abs((drawn.length == 32).mean() - 0.75) < 0.02
    parts, again = (
        read(source, np.random.default_rng(1), [0, 1, 0, 1], [0, 3, 5, 0], [32, 64, 30, 64]) for _ in range(2)
    )
    assert [len(one) for one in parts] == [32, 61, 25, 64]
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(parts, again, strict=True))
    assert not np.array_equal(parts[0][5:30], parts[2], equal_nan=True)


def test_synthetic_settings_are_checked():
    """Too short series and weights that do not match are refused."""
    with pytest.raises(ConfigError, match="lengths must be of at least 8"):
        SyntheticSettings(lengths=(4,))
    with pytest.raises(ConfigError, match="weights must be one number"):
        SyntheticSettings(lengths=(32, 64), weights=(1.0,))


def real_series():
    """Three kinds of series: one that counts, one that alternates, one that stands still; the last is short."""
    time = np.arange(100, dtype=np.float32)
    return [one[None] for one in (1 + time, 50 * (-1) ** time, np.full(100, 7, np.float32), np.full(20, 3, np.float32))]


def test_mixed_series_are_convex_combinations():
    """Of scaled series: constant ones stay at 1 whatever their number and weights."""
    source = MixedSettings(
        source=SeriesSettings(targets=[np.full((1, 60), k + 1, np.float32) for k in range(4)])
    ).open()
    parts = read(source, np.random.default_rng(0), [0, 1, 2, 3] * 20, [0, 5, 10, 30] * 20, [60, 50, 20, 60] * 20)
    assert [len(one) for one in parts[:4]] == [60, 45, 10, 30]
    assert np.allclose(np.concatenate(parts), 1, atol=1e-5)


def test_mixed_series_are_one_to_three():
    """A third is a series by itself; the others have partners' values in them."""
    source = MixedSettings(source=SeriesSettings(targets=real_series(), choice="uniform")).open()
    parts = read(source, np.random.default_rng(0), [2] * 3000, [0] * 3000, [100] * 3000)
    alone = np.mean([np.ptp(one) < 1e-5 for one in parts])
    # With one or two partners none of which moves or is long enough it looks alone too: 1/2 of single partners are
    # (standing or short), 1/4 of pairs.
    assert abs(alone - (1 + 0.5 + 0.25) / 3) < 0.04


def test_mixed_series_repeat_and_keep_gaps():
    """The same generator gives the same mixture; a step that the series lacks is missing."""
    series = real_series()
    series[0][0, 10:20] = np.nan
    source = MixedSettings(source=SeriesSettings(targets=series)).open()
    one, other = (read(source, np.random.default_rng(5), [0] * 9, [0] * 9, [60] * 9) for _ in range(2))
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))
    assert all(np.isnan(part[10:20]).all() for part in one)


def test_mixed_series_take_one_target():
    """Of items with several variates one target each; past features are left."""
    values = np.arange(60, dtype=np.float32).reshape(3, 20)
    source = MixedSettings(source=SeriesSettings(targets=[values[:2]], past=[values[2:]]), most=1).open()
    drawn = source.draw(np.random.default_rng(0), 50)
    assert (drawn.target_dim == 1).all()
    assert (drawn.past_dim == 0).all()
    assert set(drawn.row.tolist()) == {0, 1}


def test_infinite_partners_are_named():
    """A mixture does not hide that a series of it is infinite."""
    series = real_series()
    series[1][0, 50] = np.inf
    source = MixedSettings(source=SeriesSettings(targets=series, name="real")).open()
    with pytest.raises(DataError, match="source real: item '1' holds an infinite value"):
        read(source, np.random.default_rng(0), [0] * 20, [0] * 20, [100] * 20)


def test_mixing_settings_are_checked():
    """At least one series, and a law of weights."""
    with pytest.raises(ConfigError, match="most must be at least 1"):
        MixedSettings(source=SyntheticSettings(), most=0)


def test_series_in_memory_are_checked():
    """Items without past features beside items with them, of other lengths, or none at all."""
    one = np.zeros((1, 5), np.float32)
    with pytest.raises(DataError, match="1 items with 0 sets"):
        SeriesSettings(targets=[one], past=[]).open()
    with pytest.raises(DataError, match="past features of item 0 have 4 steps, its targets 5"):
        SeriesSettings(targets=[one], past=[one[:, :4]]).open()
    with pytest.raises(DataError, match="are empty"):
        SeriesSettings(targets=[one[:, :0]]).open()


@pytest.mark.parametrize("settings", [SyntheticSettings(), SeriesSettings(targets=real_series())])
def test_sources_keep_the_protocol(settings):
    """What a mixture needs of a source is there."""
    assert isinstance(settings, SourceSettings)
    assert isinstance(settings.open(), Source)
