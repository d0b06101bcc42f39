"""Synthetic series made ahead of time, for runs that train faster than series are made.

    python -m moirai.training.sources.synthetic_store --out FOLDER --series N [--seed N] [--workers N]

In: how many series, a seed. Out: a data set in the layout of LOTSA, which `LotsaSettings(path=..., choice="uniform",
whole=True)` reads as often as wanted. File k depends on the seed and k alone: the number of processes changes nothing,
and a call that was interrupted goes on with the files that are missing. Fails with `ConfigError` where the folder holds
something else.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from moirai.errors import ConfigError
from moirai.training.sources.arrow_records import INFO, STATE
from moirai.training.sources.synthetic import SyntheticSettings
from moirai.training.synthetic import synthetic_series

SERIES_OF_A_BATCH = 512  # made together, those of one length by one call
BATCHES_OF_A_FILE = 16
TYPES = {"item_id": pa.string(), "start": pa.timestamp("s"), "freq": pa.string(), "target": pa.list_(pa.float32())}
SCHEMA = pa.schema(TYPES)


def store_synthetic(
    folder: Path, settings: SyntheticSettings, *, series: int, seed: int = 0, workers: int = 1
) -> list[Path]:
    """Make series and write them.

    Args:
        folder: of the data set; made when missing.
        settings: which lengths, and how often.
        series: how many.
        seed: of everything random.
        workers: processes.

    Returns:
        The files.

    Raises:
        ConfigError: the folder holds series of other settings, or the number is none.
    """
    if series < 1:
        raise ConfigError(f"series must be at least 1, not {series}")
    folder.mkdir(parents=True, exist_ok=True)
    made_from = {"lengths": list(settings.lengths), "weights": settings.weights, "series": series, "seed": seed}
    made_from = json.loads(json.dumps(made_from))
    noted = folder / "made_from.json"
    if noted.exists() and json.loads(noted.read_text("utf-8")) != made_from:
        raise ConfigError(f"{folder} holds series of other settings ({noted.name}); take another folder, or empty it")
    noted.write_text(json.dumps(made_from), encoding="utf-8")
    batches = -(-series // SERIES_OF_A_BATCH)
    files = -(-batches // BATCHES_OF_A_FILE)
    paths = [folder / f"data-{number:05d}-of-{files:05d}.arrow" for number in range(files)]
    jobs = (paths, range(files), repeat(settings), repeat(series), repeat(seed))
    if workers == 1:
        list(map(_write, *jobs))
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(_write, *jobs))
    info = {"splits": {"train": {"name": "train", "num_examples": series}}, "license": "apache-2.0"}
    (folder / INFO).write_text(json.dumps(info), encoding="utf-8")
    state = {"_data_files": [{"filename": path.name} for path in paths], "_split": "train"}
    (folder / STATE).write_text(json.dumps(state), encoding="utf-8")
    return paths


def _write(path: Path, number: int, settings: SyntheticSettings, series: int, seed: int) -> None:
    """Write one file, whole or not at all; one that is there stays."""
    if path.exists():
        return
    partial = path.with_suffix(f".partial{os.getpid()}")
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as writer:
        first = number * BATCHES_OF_A_FILE * SERIES_OF_A_BATCH
        for begin in range(first, min(series, first + BATCHES_OF_A_FILE * SERIES_OF_A_BATCH), SERIES_OF_A_BATCH):
            writer.write_batch(_batch(settings, begin, min(SERIES_OF_A_BATCH, series - begin), seed))
    partial.replace(path)


def _batch(settings: SyntheticSettings, first: int, count: int, seed: int) -> pa.RecordBatch:
    """Series `first` and those that follow."""
    rng = np.random.default_rng([seed, first])
    places = np.sort(settings.open().draw(rng, count).record)
    lengths, counts = np.unique(np.array(settings.lengths)[places], return_counts=True)
    values = [synthetic_series(rng, int(n), int(length)).ravel() for length, n in zip(lengths, counts, strict=True)]
    ends = np.cumsum(np.repeat(lengths, counts))
    offsets = pa.array(np.concatenate(([0], ends)), pa.int32())
    return pa.RecordBatch.from_arrays(
        [
            pa.array([str(first + place) for place in range(count)], pa.string()),
            pa.array(np.zeros(count, np.int64)).cast(TYPES["start"]),
            pa.nulls(count, pa.string()),  # no clock
            pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(values), pa.float32())),
        ],
        schema=SCHEMA,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--series", type=int, required=True, help="how many series")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    given = parser.parse_args()
    store_synthetic(given.out, SyntheticSettings(), series=given.series, seed=given.seed, workers=given.workers)


if __name__ == "__main__":
    main()
