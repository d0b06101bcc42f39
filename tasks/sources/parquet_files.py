"""A Parquet file, read in batches of the wanted columns only.

In: a path and the names of the wanted columns. Out: chunks of typed columns, the rows counted from 1. Fails with
`SourceError` where the file is missing or damaged (cut off, say); an `OSError` of the system passes. Text that names
series comes as a categorical, decimals come as floating point numbers.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.errors import SourceError
from tasks.job import Job
from tasks.sources.chunk import Chunk, OpenPart, Place, chunk_rows
from tasks.sources.text_files import PACKED, explained, open_bytes

ENDINGS = {".parquet", ".pq"}
BUFFER = 2**22  # bytes of a column read at a time: a row group may be as large as the file


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by the ending of its name, that of packing left aside."""
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return name.suffix.lower() in ENDINGS


@contextmanager
def open_parquet_file(path: Path, job: Job) -> Iterator[OpenPart]:
    """Open a Parquet file.

    Args:
        path: the file; a packed one is unpacked into a temporary file first.
        job: which columns hold series and names.

    Yields:
        The names of its columns and a way to read their rows; the index counts rows from 1.

    Raises:
        SourceError: the file is missing or damaged.
    """
    place = Place(str(path), "row")
    texts = {*job.columns.item_columns, *job.columns.static, *job.columns.categorical}
    with ExitStack() as stack:
        with _explained(path):
            source = stack.enter_context(_unpacked(path))
            schema = pq.read_schema(source)
            encoded = [field.name for field in schema if field.name in texts and _is_text(field.type)]
            options = {"read_dictionary": encoded, "buffer_size": BUFFER, "page_checksum_verification": True}
            file = stack.enter_context(pq.ParquetFile(source, **options))

        def read(columns: Sequence[str]) -> Iterator[Chunk]:
            row, wanted = 1, list(dict.fromkeys(columns))
            with _explained(path):
                for batch in file.iter_batches(chunk_rows(len(wanted)), columns=wanted):
                    rows = pd.RangeIndex(row, row + len(batch))
                    row += len(batch)
                    yield Chunk(_frame(batch, wanted, texts).set_index(rows), place)

        yield OpenPart(place, list(schema.names), read)


def _frame(batch: pa.RecordBatch, columns: Sequence[str], texts: set[str]) -> pd.DataFrame:
    """The wanted columns of a batch as pandas holds them."""
    made = {}
    for name in columns:
        column = batch.column(batch.schema.get_field_index(name))  # reading `a` also brings `a.b`
        if name in texts and pa.types.is_integer(column.type) and column.null_count:
            column = pc.cast(column, pa.string())  # pandas would make floating point numbers of them
        elif pa.types.is_decimal(column.type):
            column = pc.cast(column, pa.float64(), safe=False)
        made[name] = column.to_pandas(date_as_object=False)
    return pd.DataFrame(made, copy=False)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


@contextmanager
def _unpacked(path: Path) -> Iterator[object]:
    """The file, or, where it is packed, a temporary file with its content: Parquet is read from its end."""
    if path.suffix.lower() not in PACKED:
        with path.open("rb"):  # a missing or forbidden file is explained by the system, not by Arrow
            yield path
        return
    with open_bytes(path) as packed, tempfile.TemporaryFile() as file:
        shutil.copyfileobj(packed, file)
        file.seek(0)
        yield file


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading into one sentence; trouble of the outside world passes."""
    with explained(path, "utf-8"):
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) is not None:  # the system's, not Arrow's
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SourceError(f"{path} is damaged or not what its ending says: {reason}") from error
