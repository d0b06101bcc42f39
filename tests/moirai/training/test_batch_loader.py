"""Batches in order, from any number on, by a thread or by processes, whatever goes wrong in them."""

from dataclasses import dataclass

import pytest
import torch

from moirai.errors import DataError
from moirai.tokens import PackedTokens
from moirai.training.batch import TrainingBatch
from moirai.training.batch_loader import BatchLoader


@dataclass(frozen=True)
class Numbered:
    """Batch n holds the number n; some fail."""

    length: int
    wrong: int = -1  # number of a batch whose data is wrong
    broken: int = -1  # number of a batch with a defect of ours

    def __len__(self):
        return self.length

    def __getitem__(self, number):
        if number == self.wrong:
            raise DataError(f"batch {number} is wrong")
        if number == self.broken:
            raise ZeroDivisionError
        ids = torch.ones(1, 2, dtype=torch.long)
        values = torch.full((1, 2, 3), float(number))
        return TrainingBatch(
            tokens=PackedTokens(values, values > -1, ids, ids, ids, ids > 1), patch_size=3, item_ids=((str(number),),)
        )


def numbers(loader):
    """The numbers that come out."""
    return [int(batch.tokens.target[0, 0, 0]) for batch in loader]


@pytest.mark.parametrize(("length", "first"), [(7, 0), (7, 4), (2, 0), (7, 7), (1, 0)])
def test_from_a_number_on(length, first):
    """All batches from the first on come in order, each once."""
    assert numbers(BatchLoader(Numbered(length), first=first)) == list(range(first, length))


def test_processes_give_the_same():
    """Two worker processes give what a thread gives, in the same order, and hand an error over in one line."""
    loader = BatchLoader(Numbered(6, wrong=4), first=1, workers=2)
    seen = []
    with pytest.raises(DataError) as caught:
        seen.extend(int(batch.tokens.target[0, 0, 0]) for batch in loader)
    assert str(caught.value) == "batch 4 is wrong"


def test_an_error_comes_where_its_batch_would():
    """Batches before a wrong one are trained on; then its error is raised as it was."""
    loader = iter(BatchLoader(Numbered(6, wrong=2)))
    assert [next(loader).item_ids[0][0] for _ in range(2)] == ["0", "1"]
    with pytest.raises(DataError, match=r"^batch 2 is wrong$"):
        next(loader)


def test_a_defect_is_no_wrong_data():
    """Anything else that a data set raises passes as it is."""
    with pytest.raises(ZeroDivisionError):
        numbers(BatchLoader(Numbered(3, broken=1)))
