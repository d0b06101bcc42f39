"""Pooled scores of groups of windows are the quotients of their sums."""

import pandas as pd
import pytest

from tasks.pooling import pooled_scores, scores_by_window, segment_rows, segments

ORIGINS = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"])


def window(item, origin, loss, level, error=None, *, model="m", observed=4.0):
    """The sums of one window in long form; without an error it had no scale."""
    sums = {"quantile_loss_sum": loss, "abs_target_sum": level, "scaled_error_sum": error, "observed": observed}
    keys = {"model_name": model, "model_version": "1", "item_id": item, "target_name": "y", "window_origin": origin}
    return [keys | {"metric": name, "value": value} for name, value in sums.items() if value is not None]


@pytest.fixture
def scores():
    """Series a and b, whose windows end at different times; b has no scale; the first window of a holds zeros."""
    rows = window("a", ORIGINS[0], 1.0, 0.0, 2.0) + window("a", ORIGINS[1], 2.0, 10.0, 4.0)
    rows += window("b", ORIGINS[1], 3.0, 20.0) + window("b", ORIGINS[2], 5.0, 40.0)
    return pd.DataFrame([*rows, *({**row, "model_name": "naive", "value": 2 * row["value"]} for row in rows)])


def test_scores_are_quotients_of_sums(scores):
    """Windows without a scale count for WQL and not for MASE."""
    found = pooled_scores(scores, ["model_name"]).set_index("model_name").loc["m"]
    assert found["wql"] == (1 + 2 + 3 + 5) / 70
    assert found["mase"] == (2 + 4) / 8
    assert found["windows"] == 4


def test_windows_are_numbered_from_the_oldest_of_each_series(scores):
    """The first windows of all series are pooled, whenever they were; nothing to divide by is no score."""
    mine = scores_by_window(scores).query("model_name == 'm'").set_index("window")
    assert mine.index.tolist() == [1, 2]
    assert mine["wql"].tolist() == [(1 + 3) / 20, (2 + 5) / 50]
    alone = scores_by_window(scores[scores["item_id"] == "b"]).query("model_name == 'm'")
    assert alone["mase"].isna().all()


@pytest.fixture
def folder(scores, tmp_path):
    """The backtest's folder, as far as segments need it."""
    scores.to_parquet(tmp_path / "scores.parquet")
    scores.to_parquet(tmp_path / "summary.parquet")
    return tmp_path


@pytest.mark.parametrize("sizes", [[10.0, 9.0, 1.0], ["10", "9", "1"]])
def test_segments_pool_the_series_of_a_value(folder, sizes):
    """Numbers are sorted as numbers and written without a point; a series that was not scored makes no segment."""
    static = pd.DataFrame({"item_id": ["a", "b", "c"], "size": sizes})
    (found,) = segments(folder, static, ["m", "naive"])
    assert [row["value"] for row in found.rows] == ["9", "10"]
    nine, ten = found.rows
    assert nine["scores"]["m"] == {"wql": 8 / 60, "mase": None}
    assert ten["scores"]["m"] == {"wql": 3 / 10, "mase": 6 / 8}
    assert (ten["series"], ten["windows"], ten["best"]) == (1, 2, {"wql": {"m", "naive"}, "mase": {"m", "naive"}})


def test_a_missing_value_is_a_segment_too(folder):
    """Series whose value is not known are not lost."""
    static = pd.DataFrame({"item_id": ["a", "b"], "region": ["north", None]})
    (found,) = segments(folder, static, ["m"])
    assert [(row["value"], row["series"]) for row in found.rows] == [("north", 1), ("(missing)", 1)]
    assert found.rows[0]["best"] == {"wql": set(), "mase": set()}, "one model is compared with nobody"


@pytest.mark.parametrize(("count", "shown"), [(1, 0), (2, 2), (12, 12), (13, 0)])
def test_only_a_handful_of_values_makes_segments(folder, count, shown):
    """A column with one value says nothing, one with many would say too much."""
    rows = [row for number in range(13) for row in window(f"s{number:02d}", ORIGINS[0], 1.0, 2.0)]
    pd.DataFrame(rows).to_parquet(folder / "scores.parquet")
    pd.DataFrame(rows).to_parquet(folder / "summary.parquet")
    static = pd.DataFrame({"item_id": [f"s{n:02d}" for n in range(13)], "shop": [n % count for n in range(13)]})
    (found,) = segments(folder, static, ["m"])
    assert (found.values, len(found.rows)) == (count, shown)


def test_the_flat_table_has_a_row_per_value_and_model(folder):
    """What Prefect and MLflow show."""
    static = pd.DataFrame({"item_id": ["a", "b"], "region": ["north", "south"]})
    rows = segment_rows(segments(folder, static, ["m", "naive"]))
    assert [(row["value"], row["model"]) for row in rows] == [
        ("north", "m"),
        ("north", "naive"),
        ("south", "m"),
        ("south", "naive"),
    ]
    assert rows[0] == {
        "column": "region",
        "value": "north",
        "series": 1,
        "windows": 2,
        "model": "m",
        "wql": 0.3,
        "mase": 0.75,
    }
