"""LOTSA data sets as they lie on disk: what is read, what is drawn, and what is refused."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest

from moirai.config import MoiraiConfig
from moirai.errors import ConfigError, DataError
from moirai.training.data import PretrainData, PretrainDataSettings, WeightedSource, sampling_for
from moirai.training.sources.lotsa import LotsaSettings

LENGTHS = (30, 50, 20, 90, 10)
RNG = np.random.default_rng(0)


def read(source, record, row, start, stop):
    """One stretch."""
    wanted = {"record": record, "row": row, "start": start, "stop": stop}
    return source.read(RNG, **{name: np.array([value]) for name, value in wanted.items()})


def test_series_are_read_as_stored(save_to_disk, numbered):
    """Any stretch of any record, across record batches and files; names and frequencies with them."""
    source = LotsaSettings(path=str(save_to_disk(numbered(LENGTHS, freq="H")))).open()
    first = np.cumsum([0, *LENGTHS])
    for record, length in enumerate(LENGTHS):
        assert read(source, record, 0, 2, length).tolist() == list(range(first[record] + 2, first[record + 1]))
        assert source.item_id(record) == f"T{record}"
    assert source.name == "shops"
    assert source.frequencies == ("H",)


def test_variates_and_past_features(save_to_disk):
    """A fixed number of targets, and past features behind them, are rows of a record."""
    records = [
        (f"T{k}", 0, "D", [[10.0 * k + j + t / 100 for t in range(5 + k)] for j in range(2)], [[-k - 1.0] * (5 + k)])
        for k in range(3)
    ]
    source = LotsaSettings(path=str(save_to_disk(records, targets=2, past=1))).open()
    drawn = source.draw(RNG, 4)
    assert drawn.target_dim.tolist() == [2] * 4
    assert drawn.past_dim.tolist() == [1] * 4
    for k in range(3):
        for row, values in enumerate((*records[k][3], *records[k][4])):
            assert np.array_equal(read(source, k, row, 0, 5 + k), np.array(values, np.float32))


def test_missing_values(save_to_disk):
    """NaN and null are both missing."""
    source = LotsaSettings(path=str(save_to_disk([("T", 0, "D", [1.0, float("nan"), None, 4.0])], files=1))).open()
    assert np.array_equal(read(source, 0, 0, 0, 4), np.array([1, np.nan, np.nan, 4], np.float32), equal_nan=True)


@pytest.mark.parametrize("choice", ["proportional", "uniform"])
def test_items_are_drawn_as_chosen(save_to_disk, numbered, choice):
    """In proportion to length, or equally often."""
    source = LotsaSettings(path=str(save_to_disk(numbered(LENGTHS))), choice=choice).open()
    share = np.bincount(source.draw(np.random.default_rng(1), 20_000).record) / 20_000
    expected = np.array(LENGTHS) / sum(LENGTHS) if choice == "proportional" else np.full(5, 0.2)
    assert np.abs(share - expected).max() < 0.015


def test_items_in_stored_order(save_to_disk, numbered):
    """By index, neighbours follow one another from a random place on."""
    source = LotsaSettings(path=str(save_to_disk(numbered(LENGTHS))), choice="index").open()
    drawn = source.draw(np.random.default_rng(1), 7).record
    assert ((drawn[1:] - drawn[:-1]) % 5 == 1).all()


def test_stacked_items(save_to_disk, numbered):
    """An item is joined by others of its span, each once, as many as the beta-binomial law says; more often by few."""
    records = numbered([40] * 30) + numbered([60] * 3, start=86_400)
    folder = save_to_disk([(f"T{k}", *rest) for k, (_, *rest) in enumerate(records)])
    drawn = LotsaSettings(path=str(folder), stacked=True, choice="uniform").open().draw(np.random.default_rng(0), 4000)
    parts = np.split(drawn.record, np.cumsum(drawn.target_dim)[:-1])
    assert all(len(set(one.tolist())) == len(one) for one in parts)
    assert all((one < 30).all() == (length == 40) for one, length in zip(parts, drawn.length, strict=True))
    sizes = drawn.target_dim[drawn.length == 40]
    assert sizes.min() == 1
    assert sizes.max() <= 30
    # Mean and standard deviation of 1 + BetaBinomial(29; 2, 5).
    assert abs(sizes.mean() - (1 + 29 * 2 / 7)) < 4 * 5.15 / len(sizes) ** 0.5
    assert abs(sizes.std() - (29 * 2 * 5 * (7 + 29) / (49 * 8)) ** 0.5) < 0.3
    assert np.bincount(np.concatenate(parts), minlength=33).min() > 0


def test_stacked_variates_keep_targets_before_features(save_to_disk):
    """With past features, the targets of all joined series come first."""
    records = [(f"T{k}", 0, "D", [[1.0] * 8] * 2, [[2.0] * 8]) for k in range(6)]
    drawn = LotsaSettings(path=str(save_to_disk(records, targets=2, past=1)), stacked=True).open().draw(RNG, 50)
    parts = np.split(drawn.row, np.cumsum(drawn.target_dim + drawn.past_dim)[:-1])
    assert (drawn.target_dim == 2 * drawn.past_dim).all()
    for one, targets in zip(parts, drawn.target_dim, strict=True):
        assert (one[:targets] < 2).all()
        assert (one[targets:] == 2).all()


def test_batches_of_a_data_set(save_to_disk, numbered):
    """A run reads them, also after its data set was sent to another process; the held-out end is in none."""
    folder = save_to_disk(numbered([200] * 8))
    sampling = sampling_for(MoiraiConfig(d_model=64, num_layers=1, max_seq_len=32))
    sources = (WeightedSource(source=LotsaSettings(path=str(folder), stacked=True, end_share=0.25)),)
    data = PretrainData(PretrainDataSettings(steps=3, rows=8, sampling=sampling, sources=sources))
    sent = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own
    for n in range(3):
        assert np.array_equal(sent[n].tokens.target, data[n].tokens.target)
        values = data[n].tokens.target[data[n].tokens.observed_mask].numpy()
        assert (values % 200 < 150).all()


def rewrite(path, table, *, batches=None):
    """Write another Arrow stream in the place of one."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches()[:batches]:
            writer.write_batch(batch)


def cut_between_batches(folder):
    """Leave the first record batch of the first file."""
    with pa.OSFile(str(folder / FIRST)) as file, pa.ipc.open_stream(file) as stream:
        table = stream.read_all()
    rewrite(folder / FIRST, table, batches=1)


def other_target(folder):
    """Targets that are text."""
    for path in folder.glob("*.arrow"):
        rewrite(path, pa.table({"item_id": ["a"], "start": [0], "freq": ["D"], "target": ["no list"]}))
    (folder / "dataset_info.json").write_text("{}")


# What happens to files.
FIRST = "data-00000-of-00002.arrow"
SPOIL = {
    "cut": lambda folder: (folder / FIRST).write_bytes((folder / FIRST).read_bytes()[:-700]),
    "cut between batches": cut_between_batches,
    "text": lambda folder: (folder / FIRST).write_text("item_id,start,freq,target"),
    "pointer": lambda folder: (folder / FIRST).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
    "other columns": lambda folder: rewrite(folder / FIRST, pa.table({"text": ["a"]})),
    "other target": other_target,
    "missing file": lambda folder: (folder / FIRST).unlink(),
    "no state": lambda folder: (folder / "state.json").unlink(),
    "broken state": lambda folder: (folder / "state.json").write_text("{"),
    "no files": lambda folder: (folder / "state.json").write_text(json.dumps({"_data_files": []})),
}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", "data-00000-of-00002.arrow is cut off or no Arrow stream"),
        ("cut between batches", "holds 7 records, but dataset_info.json says 8"),
        ("text", "data-00000-of-00002.arrow is cut off or no Arrow stream"),
        ("pointer", "is a pointer of Git LFS"),
        ("other columns", "has no column 'item_id'"),
        ("other target", "column 'target' must hold lists of numbers"),
        ("missing file", "data-00000-of-00002.arrow, which state.json names, does not exist"),
        ("no state", "state.json does not exist; give the folder of one data set"),
        ("broken state", "state.json is no JSON"),
        ("no files", "names no data files"),
    ],
)
def test_what_is_wrong_is_said(save_to_disk, numbered, how, words):
    """One line that names source and file."""
    folder = save_to_disk(numbered([20] * 8), batch=3)
    SPOIL[how](folder)
    with pytest.raises(DataError, match=f"^source shops: .*{words}") as caught:
        LotsaSettings(path=str(folder)).open()
    assert "\n" not in str(caught.value)


def test_uneven_variates_are_said(save_to_disk):
    """All variates of a record span the same steps."""
    folder = save_to_disk([("odd", 0, "D", [[1.0, 2.0], [1.0]])], targets=2, files=1)
    with pytest.raises(DataError, match=r"column 'target' of item 'odd' has variates of \[1, 2\] steps"):
        LotsaSettings(path=str(folder)).open()


def test_nothing_left_is_said(save_to_disk, numbered):
    """A held-out end that leaves no step, or a share that cannot be one."""
    with pytest.raises(DataError, match=r"no item of .* has a step left"):
        LotsaSettings(path=str(save_to_disk(numbered([1, 1]))), end_share=0.9).open()
    with pytest.raises(ConfigError, match="end_share"):
        LotsaSettings(path="x", end_share=-0.1)
