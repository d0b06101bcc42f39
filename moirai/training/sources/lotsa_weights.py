"""How often each data set of LOTSA is drawn (specification, section 17).

A group is what counts as one data set: usually it is one; the yearly or five-yearly chunks of CMIP6, ERA5 and LargeST
are one group each. Its chance is its share of all time steps, but at most `CAP`, so that the largest do not drown the
others.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from moirai.errors import ConfigError

CAP = 0.001


@dataclass(frozen=True, kw_only=True)
class DataSetSize:
    """A stored data set.

    Attributes:
        name: of the data set.
        series: how many it holds.
        steps: time steps of all of them.
        group: which group it is a chunk of; None: it is a group of its own.
    """

    name: str
    series: int
    steps: int
    group: str | None = None


def lotsa_weights(sizes: Sequence[DataSetSize]) -> dict[str, float]:
    """Weight of every data set: what its number of series is multiplied by in the mixture.

    The chunks of a group hold the same series at different times, so a group has as many series as one of its chunks
    (on average, should they differ).

    Args:
        sizes: of all data sets of the mixture.

    Raises:
        ConfigError: one of them is empty, or two have one name.
    """
    groups: dict[str, list[DataSetSize]] = defaultdict(list)
    for one in sizes:
        if one.series < 1 or one.steps < 1:
            raise ConfigError(f"data set {one.name!r} holds {one.series} series of {one.steps} steps; leave it out")
        groups[one.group or one.name].append(one)
    if len({one.name for one in sizes}) < len(sizes):
        raise ConfigError(f"two data sets have one name: {sorted(one.name for one in sizes)}")
    all_steps = sum(one.steps for one in sizes)
    capped = {name: min(sum(one.steps for one in chunks) / all_steps, CAP) for name, chunks in groups.items()}
    series = {name: sum(one.series for one in chunks) / len(chunks) for name, chunks in groups.items()}
    total_chance, total_series = sum(capped.values()), sum(series.values())
    return {
        one.name: capped[name] / total_chance * total_series / series[name] / len(chunks)
        for name, chunks in groups.items()
        for one in chunks
    }


def draw_weight(series: int, weight: float) -> int:
    """How often a data set is drawn, relative to the others: its length in the concatenation of all of them."""
    return ceil(series * weight)
