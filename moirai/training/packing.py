"""Packing: samples of different lengths side by side in rows of equal length (specification, section 14).

In: the lengths of samples, in tokens. Out: the row of each, where it begins there, and its number inside the row
(`sample_id`, from 1 on). What is left of a row is padding. The fields of the samples follow by one copy per field.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Where samples stand.

    Attributes:
        row: of every sample.
        position: of a sample's first token inside its row.
        number: of a sample inside its row, from 1 on.
        rows: how many there are.
        max_tokens: length of a row.
    """

    row: Int[np.ndarray, "sample"]
    position: Int[np.ndarray, "sample"]
    number: Int[np.ndarray, "sample"]
    rows: int
    max_tokens: int

    def places(self, lengths: Int[np.ndarray, "_sample"]) -> Int[np.ndarray, "_token"]:
        """Where the tokens of the samples, one sample after the other, stand in the flattened rows."""
        return np.repeat(self.row * self.max_tokens + self.position, lengths) + counted(lengths)

    def spread(self, values: Shaped[np.ndarray, "_token *rest"], places: Int[np.ndarray, "_token"]) -> np.ndarray:
        """A field of all tokens as rows, 0 where there is padding: [row, token, ...]."""
        rows = np.zeros((self.rows * self.max_tokens, *values.shape[1:]), values.dtype)
        rows[places] = values
        return rows.reshape(self.rows, self.max_tokens, *values.shape[1:])


def counted(lengths: Int[np.ndarray, "_part"]) -> Int[np.ndarray, "_token"]:
    """0, 1, 2, … inside every part of these lengths."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def one_per_row(lengths: Int[np.ndarray, "_sample"], max_tokens: int) -> Packing:
    """No packing: every sample at the start of a row of its own."""
    zero = np.zeros(len(lengths), np.int64)
    row = np.arange(len(lengths))
    return Packing(row=row, position=zero, number=zero + 1, rows=len(lengths), max_tokens=max_tokens)


def first_fit_decreasing(lengths: Int[np.ndarray, "_sample"], max_tokens: int) -> Packing:
    """Place the longest sample first, each in the first row that has room; equally long ones in the order they come.

    Args:
        lengths: of the samples, each from 1 to `max_tokens`.
        max_tokens: length of a row.
    """
    samples = len(lengths)
    assert not samples or (lengths.min() >= 1 and lengths.max() <= max_tokens), "a sample is as long as a row at most"
    order = np.argsort(-lengths, kind="stable")
    placed = np.empty((3, samples), np.int64)  # row, position and number of the samples in this order
    room, members = np.full(samples, max_tokens), np.zeros(samples, np.int64)
    used = done = 0
    # Equally long samples fill the first row with room for one, then the next: a whole size is placed at once.
    for size, count in zip(*(part[::-1] for part in np.unique(lengths, return_counts=True)), strict=True):
        fits = np.flatnonzero(room[:used] >= size)
        capacity = room[fits] // size
        before = np.cumsum(capacity) - capacity
        taken = np.clip(count - before, 0, capacity)
        left = int(count - taken.sum())
        if left:
            per_row = max_tokens // int(size)
            new = -(-left // per_row)
            fits = np.concatenate((fits, np.arange(used, used + new)))
            full = np.full(new, per_row)
            full[-1] = left - (new - 1) * per_row
            taken = np.concatenate((taken, full))
            used += new
        inside = counted(taken)
        row = np.repeat(fits, taken)
        placed[:, done : done + count] = (row, max_tokens - room[row] + inside * size, members[row] + inside + 1)
        room[fits] -= taken * size
        members[fits] += taken
        done += int(count)
    result = np.empty_like(placed)
    result[:, order] = placed
    return Packing(row=result[0], position=result[1], number=result[2], rows=used, max_tokens=max_tokens)


def fill_rows(
    rng: np.random.Generator, lengths: Int[np.ndarray, "_sample"], *, rows: int, max_tokens: int
) -> tuple[Int[np.ndarray, "_used"], Packing]:
    """Fill a number of rows with the first of these samples, the rows in random order.

    As many samples as would fill the rows to the last token are packed; as packing is not perfect they need a few rows
    more, and random ones are left out. So every sample is left out with the same chance: neither long nor short ones
    are rarer in the rows than in what was drawn.

    Args:
        rng: source of everything random.
        lengths: of enough samples to fill the rows, in an order that has nothing to do with length.
        rows: to fill.
        max_tokens: length of a row.

    Returns:
        Which samples are used, in their order, and where they stand.
    """
    ends = np.cumsum(lengths)
    count = 1 + int(np.searchsorted(ends, rows * max_tokens))
    assert count <= len(lengths), "there are enough samples to fill the rows"
    packing = first_fit_decreasing(lengths[:count], max_tokens)
    row = rng.permutation(packing.rows)[packing.row]
    used = np.flatnonzero(row < rows)
    return used, Packing(
        row=row[used], position=packing.position[used], number=packing.number[used], rows=rows, max_tokens=max_tokens
    )
