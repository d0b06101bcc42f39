"""Patch sizes that suit a frequency (specification, section 13).

| step of the series         | patch sizes  |
|----------------------------|--------------|
| second and finer           | 64 to 128    |
| minute                     | 32 to 128    |
| hour                       | 32 to 64     |
| day, business day, week    | 16 to 32     |
| month                      | 8 to 32      |
| quarter, year              | 1 to 8       |

The published models were trained with the configured sizes inside these ranges. The unit counts,
not its multiple: `15min` is minutes, `6h` hours, `60min` minutes.
"""

from collections.abc import Sequence

from moirai.errors import ConfigError
from moirai.evaluation.seasonality import to_offset

SECOND, MINUTE, HOUR, DAY, MONTH, QUARTER = (64, 128), (32, 128), (32, 64), (16, 32), (8, 32), (1, 8)
RANGES = {
    SECOND: ("ns", "us", "ms", "s"),
    MINUTE: ("min",),
    HOUR: ("h", "bh", "cbh"),
    DAY: ("D", "B", "C", "W"),
    MONTH: ("ME", "MS", "BME", "BMS", "CBME", "CBMS", "SME", "SMS", "WOM", "LWOM"),
    QUARTER: ("QE", "QS", "BQE", "BQS", "REQ", "YE", "YS", "BYE", "BYS", "RE"),
}
RANGE_OF = {unit: sizes for sizes, units in RANGES.items() for unit in units}
LEAST_PATCHES = 2  # of a context; training took no shorter series


def patch_size_range(freq: str) -> tuple[int, int]:
    """Smallest and largest patch size that suits a frequency.

    Args:
        freq: name of a frequency, old or new.

    Raises:
        ConfigError: it names no frequency, or one whose steps belong to none of the table's units.
    """
    offset = to_offset(freq)
    unit = offset.rule_code.partition("-")[0]
    if unit not in RANGE_OF:
        raise ConfigError(f"no patch size is known for frequency {freq!r}; give patch_size as a number")
    return RANGE_OF[unit]


def admissible_patch_sizes(freq: str, patch_sizes: Sequence[int]) -> tuple[int, ...]:
    """Patch sizes of a model that suit a frequency, in the model's order; maybe none.

    Args:
        freq: name of a frequency, old or new.
        patch_sizes: of the model.

    Raises:
        ConfigError: as `patch_size_range`.
    """
    least, most = patch_size_range(freq)
    return tuple(size for size in patch_sizes if least <= size <= most)


def patch_size_by_frequency(freq: str, patch_sizes: Sequence[int], *, context: int) -> int:
    """One patch size for series of a frequency.

    It is the largest that suits the frequency and leaves at least two patches of context: of the
    sizes that training drew from with equal chances it makes the fewest tokens. With too short a
    context it is the smallest that suits. Where none of the model's sizes suits, the nearest to the
    range, by ratio, take their place.

    Args:
        freq: name of a frequency, old or new.
        patch_sizes: of the model.
        context: steps that the model sees.

    Raises:
        ConfigError: as `patch_size_range`.
    """
    least, most = patch_size_range(freq)
    apart = {size: max(least / size, size / most, 1.0) for size in patch_sizes}  # 1 inside the range
    nearest = min(apart.values())
    suiting = [size for size in patch_sizes if apart[size] == nearest]
    long_enough = [size for size in suiting if context // size >= LEAST_PATCHES]
    return max(long_enough) if long_enough else min(suiting)
