"""Sources: files and queries in, chunks of their rows out, and chunks put together to one raw panel.

    chunk.py          what passes between the modules here, and words for a place in a source
    listing.py        path, folder, glob or list -> files in order
    text_files.py     CSV and TSV, plain or compressed
    parquet_files.py  Parquet
    database.py       a query of any SQLAlchemy URL
    layout.py         columns or rows per series -> one row per series and time stamp (column_per_series.py,
                      row_per_series.py, patterns.py, headers.py, series_ids.py)
    stamps.py         cells -> time stamps (periods.py, zones.py); cells.py and numbers.py: cells -> texts and numbers
    assemble.py       chunks -> the raw panel, in bounded memory (numbered.py, statics.py)

Only `tasks/ingest.py` reads sources; what proposes a job file opens text with `text_files.py` as well.
"""
