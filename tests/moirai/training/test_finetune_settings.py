"""What is derived from series and model where no setting is given."""

import pytest

from moirai.errors import ConfigError
from moirai.training.finetune_settings import FinetuneSettings, complete, derived_settings, patch_sizes


@pytest.fixture
def large(make_module):
    """Patches of 16 steps, as the starter has."""
    return make_module(patch_size=16)


@pytest.mark.parametrize(
    ("lengths", "horizon", "context", "windows"),
    [
        ([20_000], 48, 2048, 4),  # plenty: the usual context, the usual windows
        ([400, 500, 600], 8, 560, 4),  # what the longest holds beside five horizons
        ([76] * 9, 8, 64, 1),  # a tenth is held out at most, a window at least
        ([30], 8, 32, 1),  # two patches of context, however short the series
        ([], 8, 32, 1),
    ],
)
def test_context_and_held_out_windows_follow_from_the_lengths(large, lengths, horizon, context, windows):
    """Rows are not longer than the series can fill; a series is not held out beyond about a tenth."""
    plan = complete(FinetuneSettings(horizon=horizon), large, lengths)
    assert (plan.context, plan.validation_windows) == (context, windows)


@pytest.mark.parametrize(
    ("context", "covariates", "batch"), [(2048, 0, 32), (1024, 0, 64), (128, 0, 64), (2048, 3, 8), (2048, 30, 8)]
)
def test_the_batch_makes_about_as_many_tokens_whatever_a_window_holds(large, context, covariates, batch):
    """Longer windows and covariates make for fewer windows in a step."""
    plan = complete(FinetuneSettings(horizon=48, context=context), large, [9000], covariates=covariates)
    assert plan.batch_size == batch


def test_patch_sizes_are_those_that_leave_two_patches_of_context(make_module, make_distribution_module):
    """Only a Moirai 1.x has a choice; a given size is the choice."""
    masked = make_distribution_module("moirai", patch_sizes=(8, 16, 32))
    assert patch_sizes(masked, None, 40) == (8, 16)
    assert patch_sizes(masked, None, 4) == (8,)
    assert patch_sizes(masked, 32, 4) == (32,)
    assert patch_sizes(make_distribution_module("moe", patch_sizes=(8, 16, 32)), None, 40) == (16,)
    assert patch_sizes(make_module(), None, 40) == (4,)


def test_rates_differ_between_methods_and_fall_with_the_width(large, make_module):
    """Adapters and heads are trained at higher rates, wider models at lower ones; a given rate stands."""

    def rate(module, method, given=None):
        settings = FinetuneSettings(horizon=8, method=method, learning_rate=given)
        return complete(settings, module, [500]).learning_rate

    assert rate(large, "full") == rate(large, "frozen_ffn") < rate(large, "head") == rate(large, "lora")
    assert rate(make_module(d_model=128), "full") == pytest.approx(rate(large, "full") / 2, rel=0.05)
    assert rate(large, "full", 1e-6) == 1e-6


def test_what_was_derived_is_told_and_nothing_else(large):
    """Given settings are not among it."""
    given = FinetuneSettings(horizon=8, context=64, batch_size=4)
    plan = complete(given, large, [500])
    assert derived_settings(given, plan) == {
        "patch_size": 16,
        "learning_rate": plan.learning_rate,
        "validation_windows": 4,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "adapter"}, "'adapter'; known: full"),
        ({"precision": "fp16"}, "fp32 or bf16, not 'fp16'"),
        ({"horizon": 0}, "horizon of a fine-tuning must be at least 1, not 0"),
        ({"context": 0}, "context of a fine-tuning must be at least 1, not 0"),
        ({"learning_rate": 0.0}, "learning_rate of a fine-tuning must be above 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    """The error names the setting, its value and what is possible."""
    with pytest.raises(ConfigError, match=message):
        FinetuneSettings(**({"horizon": 8} | changes))


def test_a_patch_size_of_another_model_is_refused(large, make_distribution_module):
    """Before any work."""
    with pytest.raises(ConfigError, match="patch_size of this model is 16"):
        complete(FinetuneSettings(horizon=8, patch_size=8), large, [500])
    with pytest.raises(ConfigError, match="none of the model's"):
        complete(FinetuneSettings(horizon=8, patch_size=5), make_distribution_module("moirai"), [500])
