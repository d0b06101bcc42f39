"""The weights of LOTSA: shares of time steps, capped, with chunks as one group."""

import pytest

from moirai.errors import ConfigError
from moirai.training.sources.lotsa_weights import DataSetSize, draw_weight, lotsa_weights


def chances(sizes):
    """How likely a series of each data set is drawn, before rounding."""
    weights = lotsa_weights(sizes)
    total = sum(one.series * weights[one.name] for one in sizes)
    return {one.name: one.series * weights[one.name] / total for one in sizes}


def test_small_data_sets_by_steps_large_ones_alike():
    """Below the cap the share of steps counts; above it all are equal."""
    sizes = [
        DataSetSize(name="huge", series=1000, steps=8_000_000),
        DataSetSize(name="large", series=10, steps=1_990_000),
        DataSetSize(name="small", series=40, steps=5_000),
        DataSetSize(name="tiny", series=5, steps=2_500),
    ]
    drawn = chances(sizes)
    assert drawn["huge"] == pytest.approx(drawn["large"])
    assert drawn["small"] == pytest.approx(drawn["tiny"] * 2)
    assert drawn["large"] == pytest.approx(drawn["small"] * 0.001 / (5_000 / 9_997_500))
    assert sum(drawn.values()) == pytest.approx(1)


def test_chunks_share_the_chance_of_their_group():
    """Four chunks of one group are drawn together as often as one data set of all their steps."""
    other = DataSetSize(name="other", series=10, steps=10_000_000)
    whole = chances([other, DataSetSize(name="climate", series=20, steps=4_000)])
    chunks = [DataSetSize(name=f"climate {k}", series=20, steps=1_000, group="climate") for k in range(4)]
    parts = chances([other, *chunks])
    assert all(parts[f"climate {k}"] == pytest.approx(whole["climate"] / 4) for k in range(4))


def test_draw_weight_is_rounded_up():
    """The length in the concatenation is a whole number, at least 1."""
    assert draw_weight(10, 0.01) == 1
    assert draw_weight(10, 0.55) == 6


def test_impossible_sizes_are_said():
    """An empty data set and a name that occurs twice."""
    one = DataSetSize(name="one", series=1, steps=1)
    with pytest.raises(ConfigError, match="data set 'none' holds 0 series"):
        lotsa_weights([one, DataSetSize(name="none", series=0, steps=0)])
    with pytest.raises(ConfigError, match="one name"):
        lotsa_weights([one, one])
