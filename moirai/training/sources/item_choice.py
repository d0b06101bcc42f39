"""Which items of a data set are drawn, and how much of each may be read."""

from typing import Literal

import numpy as np
from jaxtyping import Int

Choice = Literal["proportional", "uniform", "index"]


class ItemChoice:
    """Draws items with replacement.

    Args:
        length: of every item; those of length 0 are never drawn.
        choice: `proportional` to length: every step is as likely to be seen as another (unless samples are cut);
            `uniform`: every item; `index`: a run of neighbours from a random place on, which is fastest from a disk.
    """

    def __init__(self, length: Int[np.ndarray, "_item"], choice: Choice) -> None:
        self._items = np.flatnonzero(length > 0)
        assert len(self._items), "there is something to draw from"
        self._ends = np.cumsum(length[self._items]) if choice == "proportional" else None
        self._in_order = choice == "index"

    def draw(self, rng: np.random.Generator, count: int) -> Int[np.ndarray, "_drawn"]:
        """Numbers of items."""
        if self._ends is not None:
            return self._items[np.searchsorted(self._ends, rng.integers(0, self._ends[-1], count), side="right")]
        if self._in_order:
            return self._items[(rng.integers(0, len(self._items)) + np.arange(count)) % len(self._items)]
        return self._items[rng.integers(0, len(self._items), count)]


def kept_steps(length: Int[np.ndarray, "_item"], end_share: float) -> Int[np.ndarray, "_item"]:
    """Steps that are left when a share at the end of every series is held out, rounded up."""
    # 0.1 of 70 steps is 7, not 8: what a product of decimals adds in the sixteenth place is not meant.
    return length - np.ceil(np.round(length * end_share, 9)).astype(np.int64)
