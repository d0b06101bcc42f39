"""Windows that a model may have seen: flagged with a count and a reason, and left out where a day is named."""

import pandas as pd
import pytest

from moirai.corpora import is_listed, pretrained_on
from moirai.errors import DataError
from tasks.backtest import backtest_panel
from tasks.contamination import clean_from

LOTSA = "LOTSA v1"


@pytest.fixture
def tested(small_job, clean_panel, tiny_model):
    """Makes a backtest of the tiny model with named facts of its training."""

    def make(model=None, **settings):
        return backtest_panel(small_job(**settings), clean_panel, [tiny_model.model_copy(update=model or {})])

    return make


def test_windows_before_the_end_of_a_training_are_flagged(tested):
    """Of three windows per series, those that begin up to the moment; the sentence has numbers and the moment."""
    assert tested().seen == []
    origins = pd.read_parquet(tested().scores_path)["window_origin"].drop_duplicates().sort_values()
    assert tested({"trained_until": origins.iloc[0]}).seen == [], "a window begins after its origin"
    (seen,) = tested({"trained_until": origins.iloc[1]}).seen
    assert (seen.model, seen.windows, seen.of) == ("tiny", 2, 6)
    assert seen.sentence().startswith("tiny may have seen 2 of 6 windows that it is scored on: it was trained on data")
    assert str(origins.iloc[1]) in seen.sentence()


def test_a_model_that_was_pretrained_on_the_data_is_flagged(tested):
    """By the pretrained model that a version comes from; the sentence names the corpus and the mend."""
    (seen,) = tested({"root": "Salesforce/moirai-1.1-R-small"}, dataset="M4 hourly").seen
    assert (seen.windows, seen.of) == (6, 6)
    for part in ("may have seen all 6 windows", "Salesforce/moirai-1.1-R-small", LOTSA, "`backtest.after`"):
        assert part in seen.sentence()
    assert tested({"root": "starter"}, dataset="M4 hourly").seen == []
    assert tested({"root": "Salesforce/moirai-1.1-R-small"}).seen == []


def test_a_data_set_in_no_list_is_said_to_be_in_none(tested, caplog):
    """A typing error would otherwise pass for a clean bill."""
    caplog.set_level("INFO", logger="tasks.contamination")
    assert tested({"root": "Salesforce/moirai-1.1-R-small"}, dataset="m4_hurly").seen == []
    assert "m4_hurly is in no list" in caplog.text


@pytest.mark.parametrize(
    ("reference", "dataset", "corpora"),
    [
        ("Salesforce/moirai-1.0-R-large", "m4_hourly", [LOTSA]),
        ("salesforce/moirai-moe-1.0-R-base@main", "hierarchical-sales", [LOTSA]),
        ("Salesforce/moirai-1.1-R-small", "pasta_sales", [LOTSA]),
        ("Salesforce/moirai-1.1-R-small", "kdd_cup_2018_with_missing", [LOTSA]),
        ("Salesforce/moirai-1.1-R-small", "era5_1994", [LOTSA]),
        ("Salesforce/moirai-1.1-R-small", "ett1", []),
        ("Salesforce/moirai-1.1-R-small", "metro_traffic", []),
        ("Salesforce/moirai-2.0-R-small", "ett1", ["GIFT-Eval, training parts"]),
        ("Salesforce/moirai-2.0-R-small", "LOS_LOOP", ["GIFT-Eval Pretrain"]),
        ("Salesforce/moirai-2.0-R-small", "beijing_air_quality", []),
        ("starter", "m4_hourly", []),
        ("some/moirai-1.1-R-small", "m4_hourly", []),
    ],
)
def test_what_published_models_were_pretrained_on(reference, dataset, corpora):
    """By published lists; capitals, dashes and the marks of a data set's variants do not matter."""
    assert [one.name for one in pretrained_on(reference, dataset)] == corpora
    assert all(one.source for one in pretrained_on(reference, dataset))


def test_a_data_set_is_looked_up_in_every_list():
    """Whichever model was trained on it."""
    assert is_listed("ett1")
    assert is_listed("Pasta sales")
    assert not is_listed("metro_traffic")


def test_after_restricts_a_backtest_to_later_windows(tested):
    """Only windows that begin on a later day are scored; how many are left out is counted."""
    settings = {"windows": 8, "baselines": ["naive"]}
    first = pd.read_parquet(tested(backtest=settings).folder + "/forecasts.parquet").query("step == 1")["timestamp"]
    day = first.min().date()
    restricted = tested(backtest=settings | {"after": day})
    kept = pd.read_parquet(restricted.folder + "/forecasts.parquet").query("step == 1")["timestamp"]
    assert 0 < len(kept) < len(first)
    assert sorted(kept) == sorted(first[first.dt.date > day])
    assert restricted.windows + restricted.too_early == 16
    assert restricted.folder != tested(backtest=settings).folder


def test_after_the_last_window_there_is_nothing_to_score(tested):
    """The error says when the latest one begins, and what helps."""
    with pytest.raises(DataError, match=r"backtest.after, 2024-01-10; the latest begins at 2024-01-10 18:00:00"):
        tested(backtest={"windows": 2, "after": "2024-01-10"})


def test_the_latest_training_counts_for_all(tiny_model):
    """Models that are judged together are judged on windows that none of them has seen."""
    moments = [None, pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-01")]
    models = [tiny_model.model_copy(update={"trained_until": moment}) for moment in moments]
    assert clean_from(models) == pd.Timestamp("2024-01-02")
    assert clean_from(models[:1]) is None
