"""Batches of a run in order, made ahead while the one before trains.

In: a data set whose element n is batch n of the run, a first number. Out: the batches of one process, from there to the
end. Fails with the `MoiraiError` of the data set, raised where the batch would have been. Which process or worker makes
a batch changes nothing in it.
"""

import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

from torch import distributed
from torch.utils.data import DataLoader, Dataset

from moirai.errors import MoiraiError
from moirai.training.batch import TrainingBatch

AHEAD = 3  # batches of a thread that wait to be trained on
WORKER_AHEAD = 4  # batches of each worker process


@runtime_checkable
class Batches(Protocol):
    """A map-style data set: batch n of a run under number n."""

    def __len__(self) -> int:
        """How many batches there are."""

    def __getitem__(self, number: int) -> TrainingBatch:
        """Batch n, whatever was asked for before."""


class BatchLoader:
    """The batches of this process, in order: of every `ranks` batches one.

    Args:
        data: map-style; its length is the number of batches of all processes together.
        first: number of the first batch of all processes together.
        workers: processes that make batches; 0: a thread of this process.
    """

    def __init__(self, data: Batches, *, first: int = 0, workers: int = 0) -> None:
        self.data, self.first, self.workers = _Careful(data), first, workers
        self.end = len(data)

    def __iter__(self) -> Iterator[TrainingBatch]:
        together = distributed.is_available() and distributed.is_initialized()
        rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)
        numbers = range(self.first + rank, self.end, ranks)
        for batch in self._by_workers(numbers) if self.workers else self._by_thread(numbers):
            if isinstance(batch, MoiraiError):
                raise batch
            yield batch

    def _by_thread(self, numbers: range) -> Iterator[Any]:
        pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        try:
            waiting = deque(pool.submit(self.data.__getitem__, number) for number in numbers[:AHEAD])
            for number in numbers[AHEAD:]:
                made = waiting.popleft().result()
                waiting.append(pool.submit(self.data.__getitem__, number))
                yield made
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _by_workers(self, numbers: range) -> Iterator[Any]:
        return iter(
            DataLoader(
                self.data,
                batch_size=None,
                sampler=numbers,
                num_workers=self.workers,
                prefetch_factor=WORKER_AHEAD,
                collate_fn=_as_it_is,
                worker_init_fn=_ignore_interrupts,
                multiprocessing_context="spawn",  # a fork of a process with threads may wait for a lock for ever
            )
        )


class _Careful(Dataset):
    """Hands an error over as a value: raised in a worker it would come back as a page of text."""

    def __init__(self, data: Batches) -> None:
        self.data = data

    def __getitem__(self, number: int) -> TrainingBatch | MoiraiError:
        try:
            return self.data[number]
        except MoiraiError as error:
            return error


def _as_it_is(batch: Any) -> Any:
    return batch


def _ignore_interrupts(worker: int) -> None:  # noqa: ARG001 - the loader's signature
    """An interrupt is for the training process, which ends its workers in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
