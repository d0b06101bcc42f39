"""A panel on disk: read in parts, never beyond what may be read, and refused with a reason."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moirai.config import Moirai2Config
from moirai.errors import ConfigError, DataError
from moirai.training.data import PretrainData, PretrainDataSettings, WeightedSource, sampling_for
from moirai.training.sources.panel import PanelSettings

LENGTHS = (40, 7, 200, 90, 1, 130)


def panel(lengths=LENGTHS, *, columns=("sales", "visits")):
    """Items whose values count all rows, so that a value tells where it stands; `visits` counts from a million."""
    rows = sum(lengths)
    frame = pd.DataFrame(
        {
            "item_id": np.repeat([f"shop {k}" for k in range(len(lengths))], lengths),
            "timestamp": np.concatenate([pd.date_range("2024-01-01", periods=n, freq="D") for n in lengths]),
            **{name: np.arange(rows, dtype=float) + 1e6 * k for k, name in enumerate(columns)},
        }
    )
    frame["source_row"] = np.arange(rows)
    return frame


def written(folder, frame, *, group=32, name="panel.parquet"):
    """Path of a file with row groups of a few rows."""
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / name, row_group_size=group)
    return str(folder / name)


@pytest.fixture
def path(tmp_path):
    """A panel whose items lie across the borders of its row groups."""
    return written(tmp_path, panel())


def read_all(source):
    """Every item's values, as the source reads them: [variate, time]."""
    index = source._index
    rng = np.random.default_rng(0)
    values = {}
    for item, length in enumerate(index.length):
        wanted = np.arange(len(index.columns))
        one = np.ones_like(wanted)
        read = source.read(rng, record=item * one, row=wanted, start=0 * one, stop=int(length) * one)
        values[source.item_id(item)] = read.reshape(len(wanted), int(length))
    return values


def test_items_are_read_whole(path):
    """All values come back, of all value columns, across row groups; keys and `source_row` are no values."""
    frame = panel()
    values = read_all(PanelSettings(path=path).open())
    for item_id, rows in frame.groupby("item_id"):
        assert np.array_equal(values[item_id], rows[["sales", "visits"]].to_numpy(np.float32).T)


def test_stretches_come_back_in_the_order_asked_for(path):
    """Whatever the order of the items in the file."""
    source = PanelSettings(path=path, targets=("visits",)).open()
    record, start, stop = np.array([5, 0, 2, 0]), np.array([100, 39, 3, 0]), np.array([103, 40, 5, 2])
    values = source.read(np.random.default_rng(0), record=record, row=0 * record, start=start, stop=stop)
    first = np.cumsum([0, *LENGTHS])[record]
    expected = np.concatenate([1e6 + f + np.arange(a, b) for f, a, b in zip(first, start, stop, strict=True)])
    assert np.array_equal(values, expected.astype(np.float32))


def test_files_of_a_folder_are_one_panel(tmp_path, path):
    """A folder is read in the order of its files' names; an item may go on in the next."""
    frame = panel()
    folder = tmp_path / "parts"
    for part, rows in enumerate((slice(0, 150), slice(150, None))):
        written(folder, frame[rows], name=f"{part}.parquet")
    whole, parts = (read_all(PanelSettings(path=str(where)).open()) for where in (path, folder))
    assert whole.keys() == parts.keys()
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_little_memory_gives_the_same_values(path):
    """The cache holds what it may; what was dropped is read again."""
    source = PanelSettings(path=path, cache_bytes=300).open()
    small, large = read_all(source), read_all(PanelSettings(path=path).open())
    assert source._cached <= 300
    assert len(source._cache) < 5
    assert all(np.array_equal(small[name], large[name]) for name in large)


@pytest.mark.parametrize("choice", ["proportional", "uniform"])
def test_items_are_drawn_as_chosen(path, choice):
    """In proportion to length, or equally often, although a draw looks at a few row groups only."""
    source = PanelSettings(path=path, choice=choice).open()
    rng = np.random.default_rng(0)
    drawn = np.concatenate([source.draw(rng, 8).record[::2] for _ in range(4000)])
    share = np.bincount(drawn, minlength=6) / len(drawn)
    expected = np.array(LENGTHS) / sum(LENGTHS) if choice == "proportional" else np.full(6, 1 / 6)
    assert np.abs(share - expected).max() < 0.02


def test_held_out_end_is_never_read(path):
    """With `end_share` the last part of every item, rounded up, and with `until` all from a moment on, is left out."""
    tenth = PanelSettings(path=path, end_share=0.1).open()
    assert tenth._index.length.tolist() == [36, 6, 180, 81, 0, 117]
    january = PanelSettings(path=path, until="2024-02-01").open()
    assert january._index.length.tolist() == [31, 7, 31, 31, 1, 31]
    both = PanelSettings(path=path, end_share=0.1, until="2024-02-01").open()
    assert both._index.length.tolist() == [31, 6, 31, 31, 0, 31]


@pytest.mark.parametrize("limits", [{"end_share": 0.1}, {"until": "2024-02-20"}, {"end_share": 0.3}])
def test_no_batch_holds_a_held_out_value(tmp_path, limits):
    """Whatever a run draws, every observed value lies before the held-out end of its series."""
    lengths = (60, 100, 75)
    path = written(tmp_path, panel(lengths, columns=("sales",)))
    sampling = sampling_for(Moirai2Config(d_model=64, num_layers=1, max_seq_len=16, d_ff=16, patch_size=4))
    sources = (WeightedSource(source=PanelSettings(path=path, freq="D", **limits)),)
    data = PretrainData(PretrainDataSettings(steps=10, rows=8, sampling=sampling, sources=sources))
    seen = {round(value) for batch in data for value in batch.tokens.target[batch.tokens.observed_mask].tolist()}
    kept = data.sources[0]._index.length
    assert (kept < lengths).all()
    first = np.cumsum([0, *lengths[:-1]])
    allowed = {value for begin, length in zip(first, kept, strict=True) for value in range(begin, begin + length)}
    assert seen == allowed


def test_past_features_follow_targets(path):
    """A column named as past is a past feature, after the targets."""
    source = PanelSettings(path=path, past=("sales",)).open()
    drawn = source.draw(np.random.default_rng(0), 3)
    assert drawn.target_dim.tolist() == drawn.past_dim.tolist() == [1, 1, 1]
    assert source._index.columns == ("visits", "sales")


def test_missing_values_and_kinds_of_numbers(tmp_path):
    """Whole numbers, truth values and nulls are read; a null is missing."""
    frame = panel((4,)).drop(columns=["sales", "visits"])
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.append_column("count", pa.array([1, None, 3, 4], pa.int32()))
    table = table.append_column("open", pa.array([True, False, None, True]))
    pq.write_table(table, tmp_path / "kinds.parquet")
    values = read_all(PanelSettings(path=str(tmp_path / "kinds.parquet")).open())["shop 0"]
    assert np.array_equal(values, np.array([[1, np.nan, 3, 4], [1, 0, np.nan, 1]], np.float32), equal_nan=True)


def spoilt(frame, how):
    """A panel with one thing wrong."""
    if how == "apart":
        return pd.concat([frame, frame.iloc[:3]])
    if how == "backwards":
        return frame.assign(timestamp=frame["timestamp"].where(frame.index != 34, frame["timestamp"][33]))
    if how == "text":
        return frame.assign(visits="many")
    if how == "no time":
        return frame.assign(timestamp="yesterday")
    return frame.drop(columns=how)


@pytest.mark.parametrize(
    ("how", "settings", "words"),
    [
        ("apart", {}, "rows of item 'shop 0' stand apart"),
        ("backwards", {}, "time stamp 2024-02-03 00:00:00 of item 'shop 0' does not follow"),
        ("timestamp", {}, "no column 'timestamp'"),
        ("visits", {"targets": ("visits",)}, "column 'visits' .* does not exist"),
        ("text", {"targets": ("visits",)}, "column 'visits' .* holds no numbers"),
        ("no time", {}, "column 'timestamp' .* holds no time stamps"),
        ("source_row", {"until": "2020-01-01"}, "no row of .* may be read"),
        (["sales", "visits"], {}, "no column of numbers"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, how, settings, words):
    """One line that names source, file, and column or item."""
    path = written(tmp_path, spoilt(panel(), how))
    with pytest.raises(DataError, match=f"^source panel: .*{words}") as caught:
        PanelSettings(path=path, **settings).open()
    assert "panel.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    """A missing file, text, an empty folder and an impossible share are told apart."""
    with pytest.raises(DataError, match=r"nowhere\.parquet cannot be read"):
        PanelSettings(path=str(tmp_path / "nowhere.parquet")).open()
    (tmp_path / "text.parquet").write_text("item_id,timestamp")
    with pytest.raises(DataError, match=r"text\.parquet cannot be read as Parquet"):
        PanelSettings(path=str(tmp_path / "text.parquet")).open()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no"):
        PanelSettings(path=str(tmp_path / "empty")).open()
    with pytest.raises(ConfigError, match="end_share"):
        PanelSettings(path="x", end_share=1.0)


@pytest.mark.parametrize("until", ["soon", "2024-01-31T00:00Z"])
def test_until_is_a_moment_without_zone(until):
    """As the time stamps of a panel are."""
    with pytest.raises(ConfigError, match="source panel: until"):
        PanelSettings(path="x", until=until)
