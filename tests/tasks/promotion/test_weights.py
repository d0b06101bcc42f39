"""Which settings a version depends on, and how a change of the job file is named."""

import pytest

from tasks.promotion import weights
from tasks.promotion.weights import changed_settings, settings_tags

COLUMNS = {"timestamp": "day", "target": ["sales"], "past": ["temp"]}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"horizon": 14}, "horizon (was 7, is 14)"),
        ({"frequency": "W"}, "frequency (was D, is W)"),
        ({"context": 64}, "context (was 2048, is 64)"),
        (
            {"columns": COLUMNS | {"target": ["sales", "stock"]}},
            'columns.target (was ["sales"], is ["sales", "stock"])',
        ),
        ({"columns": COLUMNS | {"past": []}}, 'columns.past (was ["temp"], is [])'),
        ({"transform": {"duplicates": "mean"}}, "transform.duplicates"),
        ({"validation": {"ranges": {"temp": {"max": 50}}}}, "validation.ranges.temp.max (was not set, is 50.0)"),
        ({"finetune": {"base": "base", "max_steps": 5}}, "finetune.max_steps (was 400, is 5)"),
        ({"source": {"path": "shop.csv", "to_timezone": "UTC"}}, "source.to_timezone (was null, is UTC)"),
    ],
)
def test_a_setting_that_decides_the_weights_is_named(make_job, settings, told):
    """With what it was and what it is."""
    (found, *_) = changed_settings(settings_tags(make_job()), make_job(**settings))
    assert found.startswith(told)


@pytest.mark.parametrize(
    "settings",
    [
        {"source": {"path": "elsewhere.csv", "delimiter": ";"}},
        {"quantiles": [0.1, 0.5, 0.9]},
        {"model": "models:/shop@champion"},
        {"backtest": {"windows": 3}},
        {"inference": {"decoding": "cached"}},
        {"promotion": {"min_gain": 0.1}},
        {"finetune": {"base": "base", "accelerator": "cpu", "devices": 2}},
        {"validation": {"max_missing": 0.1}},
        {"columns": COLUMNS | {"checked": ["rain"], "static": ["region"]}},
        {
            "columns": COLUMNS | {"checked": ["rain"]},
            "validation": {"ranges": {"rain": {"min": 0}}},
        },
        {"workspace": "other"},
    ],
)
def test_a_setting_that_does_not_is_none(make_job, settings):
    """Where data and results lie, what is checked, forecast or shown, and how the promotion itself is judged."""
    assert changed_settings(settings_tags(make_job()), make_job(**settings)) == []


def test_a_version_of_an_older_release_has_no_known_difference(make_job):
    """Neither without tags, nor where a setting has come since."""
    assert changed_settings({}, make_job()) == []
    tags = settings_tags(make_job())
    older = {weights.HASH: "1", weights.SETTINGS: tags[weights.SETTINGS].replace('"finetune.patience": 4, ', "")}
    assert older[weights.SETTINGS] != tags[weights.SETTINGS]
    assert changed_settings(older, make_job()) == []


def test_settings_too_long_to_be_kept_are_known_by_their_hash(make_job):
    """Then a difference is found, though not named."""
    many = COLUMNS | {"target": [f"sales of shop {number}" for number in range(500)]}
    tags = settings_tags(make_job(columns=many))
    assert set(tags) == {weights.HASH}
    assert changed_settings(tags, make_job(columns=many)) == []
    (found,) = changed_settings(tags, make_job(columns=many, horizon=3))
    assert "too long to be kept" in found
