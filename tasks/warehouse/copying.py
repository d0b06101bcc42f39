"""Frames to and from PostgreSQL by COPY, and SQL texts with psycopg's place holders.

In: a cursor of psycopg, an Arrow table or a query. Out: rows in a temporary table, or a frame. Both
ways rows travel as CSV that Arrow writes and reads: no Python runs per row, and what is no number
or no text stays apart from what is empty. Fails as psycopg does.
"""

import re
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from tasks.warehouse.engine import Value
from tasks.warehouse.statements import quoted

if TYPE_CHECKING:
    from psycopg import Cursor

BATCH = 50_000  # rows that travel at once
TEXT = 'TEXT COLLATE "C"'  # sorted by bytes, as DuckDB sorts
LITERAL_OR_PLACE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[?%]""")
ARROW_TYPES = {  # of the object identifiers of PostgreSQL's types; all others are texts
    16: pa.bool_(),
    **dict.fromkeys((20, 21, 23), pa.int64()),
    **dict.fromkeys((700, 701, 1700), pa.float64()),
    1114: pa.timestamp("us"),
}


def with_places(sql: str) -> str:
    """A statement with `%s` for every `?` outside of quotes, and every `%` doubled."""

    def translated(found: re.Match[str]) -> str:
        return "%s" if found[0] == "?" else found[0].replace("%", "%%")

    return LITERAL_OR_PLACE.sub(translated, sql)


def copy_in(cursor: "Cursor[Any]", rows: pa.Table, *, name: str) -> None:
    """Make a temporary table of rows, which is gone at the end of the transaction."""
    columns = ", ".join(f"{quoted(field.name)} {_column_type(field.type)}" for field in rows.schema)
    cursor.execute(f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP")
    plain = rows.cast(pa.schema([(field.name, _plain(field.type)) for field in rows.schema]))
    without_header = csv.WriteOptions(include_header=False)
    with cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
        for batch in plain.to_batches(max_chunksize=BATCH):
            buffer = BytesIO()
            csv.write_csv(batch, buffer, without_header)
            copy.write(buffer.getvalue())
    cursor.execute(f"ANALYZE {name}")


def copy_out(cursor: "Cursor[Any]", sql: str, values: Sequence[Value]) -> pd.DataFrame:
    """The rows of a query; `sql` has psycopg's place holders."""
    cursor.execute(f"SELECT * FROM ({sql}) AS asked LIMIT 0", values)  # noqa: S608 - names its columns
    schema = [(column.name, ARROW_TYPES.get(column.type_code, pa.string())) for column in cursor.description or ()]
    buffer = BytesIO()
    with cursor.copy(f"COPY ({sql}) TO STDOUT (FORMAT csv)", values) as copy:
        for data in copy:
            buffer.write(data)
    if not buffer.tell():
        return _frame(pa.schema(schema).empty_table())
    buffer.seek(0)
    table = csv.read_csv(
        buffer,
        read_options=csv.ReadOptions(column_names=[name for name, _ in schema], block_size=16 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict(schema),
            null_values=[""],  # PostgreSQL quotes texts that are empty
            true_values=["t"],
            false_values=["f"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return _frame(table)


def _frame(table: pa.Table) -> pd.DataFrame:
    """The frame that DuckDB would give: a column of flags has its own type where some are missing."""
    frame = table.to_pandas()
    flags = [f.name for f in table.schema if pa.types.is_boolean(f.type) and table[f.name].null_count]
    return frame.astype(dict.fromkeys(flags, "boolean"))


def _column_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    return "DOUBLE PRECISION" if pa.types.is_floating(kind) else TEXT


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that Arrow writes as CSV: texts are not encoded."""
    return pa.string() if pa.types.is_dictionary(kind) else kind
