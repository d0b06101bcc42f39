"""Ingest: what it reads, and one clear error for everything it cannot read."""

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks import ingest as ingest_module
from tasks.errors import JobError, SourceError
from tasks.ingest import _is_worth_a_retry, ingest_source, read_source
from tasks.job import PANEL_NAMES, Job, job_from_settings, load_job
from tasks.panel import KEYS, SOURCE_ROW, panel_digest, read_panel

EXAMPLE = Path(__file__).parents[2] / "deployments" / "examples" / "metro_traffic" / "job.yaml"
TWO_SERIES = "shop,when,sold,note\nb,2024-01-02,4,x\na,2024-01-02,3,\na,2024-01-01,NA,y\n"


def make_job(folder: Path, text: str | bytes, *, name: str = "sales.csv", **settings) -> Job:
    """A job on a source with the given content; `item_id` and `source` may be overridden."""
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(content)
    return job_from_settings(
        {
            "name": "sales",
            "source": {"path": name, **settings.pop("source", {})},
            "columns": {
                "timestamp": "when",
                "target": ["sold"],
                "item_id": settings.pop("item_id", "shop"),
            },
            "frequency": "D",
            "horizon": 7,
            **settings,
        },
        folder=folder,
    )


def test_panel_is_sorted_and_keeps_names_and_lines(tmp_path):
    """A raw panel has the source's value names and lines, sorted by series and time stamp."""
    frame = read_source(make_job(tmp_path, TWO_SERIES))
    assert frame.columns.tolist() == [*KEYS, SOURCE_ROW, "sold"]
    assert frame["item_id"].tolist() == ["a", "a", "b"]
    assert frame[SOURCE_ROW].tolist() == [4, 3, 2]
    assert np.isnan(frame["sold"].iloc[0])
    assert frame["sold"].iloc[1:].tolist() == [3.0, 4.0]
    assert frame["timestamp"].dtype == "datetime64[ns]"


def test_file_without_item_column_is_one_series(tmp_path):
    """Without an item_id column the file is one series that bears the job's name."""
    job = make_job(tmp_path, "when,sold\n2024-01-01,1\n", item_id=None)
    assert read_source(job)["item_id"].tolist() == ["sales"]


def test_repeated_time_stamps_stay_in_source_order(tmp_path):
    """Rows of one time stamp are all kept, in the order of the source."""
    text = "shop,when,sold\na,2024-01-01,2\na,2024-01-01,1\na,2024-01-01,2\n"
    frame = read_source(make_job(tmp_path, text))
    assert frame["sold"].tolist() == [2.0, 1.0, 2.0]
    assert frame[SOURCE_ROW].tolist() == [2, 3, 4]


def test_rows_after_as_of_are_not_seen(tmp_path):
    """Rows after as_of are dropped before their values are looked at; as_of itself is seen."""
    job = make_job(tmp_path, TWO_SERIES + "a,2024-01-03,broken,\n")
    frame = read_source(job, pd.Timestamp("2024-01-02"))
    assert frame["timestamp"].max() == pd.Timestamp("2024-01-02")
    assert len(frame) == 3


def test_the_same_source_gives_the_same_file(tmp_path):
    """Reading twice writes one file, and the reference describes what is in it."""
    job = make_job(tmp_path, TWO_SERIES)
    first, second = ingest_source(job), ingest_source(job)
    assert first == second
    assert Path(first.path).parent == job.workspace_path / "panels"
    assert (first.rows, first.items, first.values) == (3, 2, ["sold"])
    pd.testing.assert_frame_equal(read_panel(first), read_source(job))


@pytest.mark.parametrize(
    ("name", "pack"), [("s.csv.gz", gzip.compress), ("s.csv.bz2", bz2.compress), ("s.xz", lzma.compress)]
)
def test_compressed_files_read_like_plain_ones(tmp_path, name, pack):
    """The ending of the file says how it is packed."""
    job = make_job(tmp_path, pack(TWO_SERIES.encode()), name=name)
    assert read_source(job).equals(read_source(make_job(tmp_path, TWO_SERIES)))


def test_zip_holds_one_file(tmp_path):
    """A zip with one file is read, one with two is refused."""
    job = make_job(tmp_path, b"", name="sales.zip")
    with zipfile.ZipFile(tmp_path / "sales.zip", "w") as archive:
        archive.writestr("sales.csv", TWO_SERIES)
    assert len(read_source(job)) == 3
    with zipfile.ZipFile(tmp_path / "sales.zip", "a") as archive:
        archive.writestr("more.csv", TWO_SERIES)
    with pytest.raises(SourceError, match="holds 2 files; pack exactly one"):
        read_source(job)


def test_zip_with_password(tmp_path):
    """A zip that needs a password says so."""
    job = make_job(tmp_path, b"", name="sales.zip")
    with zipfile.ZipFile(tmp_path / "sales.zip", "w") as archive:
        archive.writestr("sales.csv", TWO_SERIES)
    content = bytearray((tmp_path / "sales.zip").read_bytes())
    content[6] |= 1  # the flag in the member's head and in the directory
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "sales.zip").write_bytes(content)
    with pytest.raises(SourceError, match=r"sales.zip cannot be unpacked: .*password"):
        read_source(job)


@pytest.mark.parametrize(("name", "delimiter"), [("s.tsv", "\t"), ("s.TAB.gz", "\t"), ("s.txt", ","), ("s.csv", ",")])
def test_delimiter_by_ending(tmp_path, name, delimiter):
    """Without a setting, .tsv and .tab are cut at tabs, everything else at commas."""
    content = TWO_SERIES.replace(",", delimiter).encode()
    job = make_job(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name=name)
    assert len(read_source(job)) == 3


def test_dialects(tmp_path):
    """Delimiter, encoding, byte order mark and time stamp format are those of the job."""
    text = "shop;when;sold\nKöln;31.01.2024 06:00;1\n"
    source = {"delimiter": ";", "timestamp_format": "%d.%m.%Y %H:%M"}
    marked = make_job(tmp_path, text.encode("utf-8-sig"), source=source)
    latin = make_job(tmp_path, text.encode("latin-1"), name="l.csv", source={**source, "encoding": "latin-1"})
    for job in (marked, latin):
        frame = read_source(job)
        assert frame["item_id"].tolist() == ["Köln"]
        assert frame["timestamp"].tolist() == [pd.Timestamp("2024-01-31 06:00")]


def test_lines_count_blank_lines_and_quoted_breaks(tmp_path):
    """A row stands on the line where it starts, whatever blank lines and quoted breaks come before."""
    text = 'note,shop,when,sold\n"two\nlines",a,2024-01-01,1\n\nx,a,2024-01-02,oops\n'
    with pytest.raises(SourceError, match=r"column 'sold', line 5: 'oops'"):
        read_source(make_job(tmp_path, text))
    with pytest.raises(SourceError, match=r"sales.csv, line 5: .* check its quotes"):
        read_source(make_job(tmp_path, text.replace("x,a", '"x"y,a')))
    fine = read_source(make_job(tmp_path, text.replace("oops", "2")))
    assert fine[SOURCE_ROW].tolist() == [2, 5]


def test_lines_are_right_beyond_the_first_chunk(tmp_path, monkeypatch):
    """Files longer than one chunk keep counting."""
    monkeypatch.setattr("tasks.sources.chunk.ROWS", 2)
    rows = [f"a,2024-01-{day:02},{day}\n" for day in range(1, 8)]
    frame = read_source(make_job(tmp_path, "shop,when,sold\n" + "".join(rows)))
    assert frame["sold"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert frame[SOURCE_ROW].tolist() == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("text", ["", "NA", "n/a", "NaN", "null", "None", " "])
def test_missing_values(tmp_path, text):
    """What people write for a missing value is missing."""
    frame = read_source(make_job(tmp_path, f"shop,when,sold\na,2024-01-01,{text}\n"))
    assert frame["sold"].isna().all()


def test_an_item_may_be_called_na(tmp_path):
    """NA is Namibia, not a missing item id."""
    frame = read_source(make_job(tmp_path, "shop,when,sold\nNA,2024-01-01,1\n"))
    assert frame["item_id"].tolist() == ["NA"]


@pytest.mark.parametrize("text", ["1,5", "12%", "1_000", "inf", "-Infinity", "1e999", "True", "0x10"])
def test_values_that_are_no_finite_number(tmp_path, text):
    """A value that is no finite number is named with column, line and mend."""
    job = make_job(tmp_path, f'shop,when,sold\na,2024-01-01,1\na,2024-01-02,"{text}"\n')
    with pytest.raises(SourceError, match=rf"column 'sold', line 3: '{text}' .*decimal point"):
        read_source(job)


@pytest.mark.parametrize("text", ["1/2/2024", "2024-13-01", "1991 W06", "now", "today", "1500-01-01"])
def test_time_stamps_that_do_not_parse(tmp_path, text):
    """The first time stamp that does not parse is named with column, line and mend."""
    job = make_job(tmp_path, f"shop,when,sold\na,2024-01-01,1\na,{text},1\na,worse,1\n")
    with pytest.raises(SourceError, match=rf"column 'when', line 3: '{text}' is no time stamp"):
        read_source(job)


def test_time_stamps_of_another_format(tmp_path):
    """With a format of its own, the error names that format."""
    text = "shop,when,sold\na,31.01.2024,1\na,2024-01-31,1\n"
    job = make_job(tmp_path, text, source={"timestamp_format": "%d.%m.%Y"})
    with pytest.raises(SourceError, match=r"line 3: '2024-01-31' .*timestamp_format is '%d.%m.%Y'"):
        read_source(job)


def test_default_format_names_the_setting(tmp_path):
    """Without a format the error says which setting takes one."""
    job = make_job(tmp_path, "shop,when,sold\na,31.01.2024,1\n")
    with pytest.raises(SourceError, match=r"ISO 8601.*set source.timestamp_format"):
        read_source(job)


@pytest.mark.parametrize("zone", ["Z", "+01:00", "-05"])
def test_time_zones_are_refused(tmp_path, zone):
    """A time stamp with a time zone is refused, also between others without."""
    text = f"shop,when,sold\na,2024-01-01 00:00,1\na,2024-01-02 00:00{zone},1\n"
    with pytest.raises(SourceError, match=r"column 'when', line 3: .*has a time zone.*UTC"):
        read_source(make_job(tmp_path, text))


def test_as_of_with_time_zone_is_refused(tmp_path):
    """as_of is a moment in the source's time, so it has no zone either."""
    with pytest.raises(SourceError, match=r"as_of .* has a time zone"):
        read_source(make_job(tmp_path, TWO_SERIES), pd.Timestamp("2024-01-02", tz="UTC"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line names the columns"),
        ("shop,when,sold\n", "has a header but no rows"),
        ("shop,when\na,2024-01-01\n", "has no column 'sold'; it has shop, when"),
        ("shop;when;sold\na;2024-01-01;1\n", "has no column .* is source.delimiter ',' right?"),
        ("shop,when,sold,sold\na,2024-01-01,1,2\n", "more than one column 'sold'"),
        ("shop,when,sold\na,2024-01-01\n", "line 2: 2 fields where the header has 3"),
        ("shop,when,sold\na,2024-01-01,1,2\n", "line 2: 4 fields where the header has 3"),
        ('shop,when,sold\na,2024-01-01,"1\n', "line 2: unexpected end of data; check its quotes"),
        ("shop,when,sold\n,2024-01-01,1\n", "column 'shop', line 2: no item id"),
        ("shop,when,sold\na,,1\n", "column 'when', line 2: '' is no time stamp"),
        ("shop,when,sold\na,NaT,1\n", "column 'when', line 2: 'NaT' is no time stamp"),
        (b"shop,when,sold\nK\xf6ln,2024-01-01,1\n", "is not utf-8 text .*; set source.encoding"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, message):
    """Whatever is wrong with a file is one sentence that names the place and the mend."""
    with pytest.raises(SourceError, match=message) as caught:
        read_source(make_job(tmp_path, text))
    assert "sales.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wide_files_are_not_listed_in_full(tmp_path):
    """An error about a file with thousands of columns stays readable."""
    names = ",".join(f"c{number}" for number in range(1000))
    with pytest.raises(SourceError, match="c29 and 970 more"):
        read_source(make_job(tmp_path, names + "\n"))


def test_missing_file_and_empty_folder(tmp_path):
    """A path that leads nowhere, or to a folder without tables, is named."""
    job = make_job(tmp_path, TWO_SERIES)
    (tmp_path / "sales.csv").unlink()
    with pytest.raises(SourceError, match=r"sales.csv does not exist; set source.path"):
        read_source(job)
    (tmp_path / "sales.csv").mkdir()
    with pytest.raises(SourceError, match="is a folder without CSV, TSV or Parquet files"):
        read_source(job)


@pytest.mark.parametrize("name", ["s.csv.gz", "s.csv.bz2", "s.csv.xz", "s.zip"])
def test_damaged_archives(tmp_path, name):
    """A file that is not what its ending says is the source's fault, not the disk's."""
    with pytest.raises(SourceError, match="damaged or not what its ending says"):
        read_source(make_job(tmp_path, TWO_SERIES, name=name))


def test_cut_off_archive(tmp_path):
    """A download that broke off is noticed."""
    packed = gzip.compress(TWO_SERIES.encode() * 100)
    with pytest.raises(SourceError, match="damaged"):
        read_source(make_job(tmp_path, packed[: len(packed) // 2], name="s.csv.gz"))


def test_unknown_encoding(tmp_path):
    """An encoding that Python does not know is named."""
    job = make_job(tmp_path, TWO_SERIES, source={"encoding": "utf-9"})
    with pytest.raises(SourceError, match=r"source.encoding 'utf-9' is unknown"):
        read_source(job)


def test_nothing_at_or_before_as_of(tmp_path):
    """When every row is later than as_of, the error names the first row's time stamp."""
    job = make_job(tmp_path, TWO_SERIES)
    with pytest.raises(SourceError, match=r"no row at or before as_of 2023.*first is at 2024-01-01"):
        read_source(job, pd.Timestamp("2023-01-01"))


def test_only_the_outside_world_is_tried_again(tmp_path, monkeypatch):
    """A failing disk passes as OSError and is retried; a wrong source is not."""

    class State:
        def __init__(self, error):
            self.error = error

        def result(self, *, raise_on_failure):
            assert not raise_on_failure
            return self.error

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    job = make_job(tmp_path, TWO_SERIES)
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        read_source(job)
    assert _is_worth_a_retry(None, None, State(caught.value))
    assert not _is_worth_a_retry(None, None, State(SourceError("wrong")))


def test_task_hands_on_the_reference(tmp_path):
    """The task is the plain function, retried twice."""
    job = make_job(tmp_path, TWO_SERIES)
    assert ingest_module.ingest.fn(job) == ingest_source(job)
    assert ingest_module.ingest.retries == 2


@pytest.mark.parametrize("name", PANEL_NAMES)
def test_names_of_the_panel_are_reserved(tmp_path, name):
    """A value column cannot bear a name that panels use."""
    columns = {"timestamp": "when", "target": [name]}
    with pytest.raises(JobError, match=f"cannot be called '{name}'"):
        make_job(tmp_path, "", columns=columns)
    assert set(PANEL_NAMES) == {*KEYS, SOURCE_ROW}


def test_metro_example_is_read_whole():
    """The example has 48,204 rows, and lines of its file are found again."""
    job = load_job(EXAMPLE)
    frame = read_source(job)
    assert len(frame) == 48_204
    assert panel_digest(frame) == "a0ab6779892c36cd"  # as of the first version: scores refer to it
    assert frame["timestamp"].min() == pd.Timestamp("2012-10-02 09:00")
    assert frame["timestamp"].max() == pd.Timestamp("2018-09-30 23:00")
    lines = gzip.decompress(job.resolve(job.source.path).read_bytes()).decode().splitlines()
    row = frame[frame["rain_1h"] > 9000].iloc[0]
    assert lines[row[SOURCE_ROW] - 1].split(",")[2] == "9831.3"
