"""The frozen configuration and its checks."""

import json
from dataclasses import FrozenInstanceError

import pytest

from moirai.config import STANDARD_MIXTURE, Moirai2Config, MoiraiConfig, MoiraiMoEConfig, config_from_dict
from moirai.errors import ConfigError

TINY = {"d_model": 128, "d_ff": 32, "num_layers": 1, "patch_size": 8}


def test_round_trip():
    """A configuration survives being written to a mapping and read back."""
    config = Moirai2Config(**TINY, quantile_levels=(0.25, 0.5))
    assert Moirai2Config.from_dict(config.to_dict()) == config


def test_derived_values():
    """Heads follow from the width, the number of quantiles from the levels."""
    config = Moirai2Config(**TINY, quantile_levels=(0.25, 0.5))
    assert (config.num_heads, config.num_quantiles) == (2, 2)


def test_is_frozen():
    """A configuration cannot be changed after it was checked."""
    with pytest.raises(FrozenInstanceError):
        Moirai2Config(**TINY).d_model = 64  # type: ignore[misc] - the point of the test


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("d_model", 100, "multiple of 64"),
        ("d_model", 0, "at least 1"),
        ("num_layers", -1, "at least 1"),
        ("num_layers", True, "at least 1"),
        ("dropout_p", 1.0, r"in \[0, 1\)"),
        ("attn_dropout_p", -0.1, r"in \[0, 1\)"),
        ("quantile_levels", [], "rise inside"),
        ("quantile_levels", [0.5, 0.1], "rise inside"),
        ("quantile_levels", [0.5, 0.5], "rise inside"),
        ("quantile_levels", [0.0, 0.5], "rise inside"),
        ("quantile_levels", [0.5, 1.0], "rise inside"),
        ("quantile_levels", [0.5, float("nan")], "rise inside"),
        ("heads", 2, "unknown field 'heads'"),
    ],
)
def test_impossible_values(field, value, says):
    """An impossible value is refused by an error that names the field and the rule."""
    with pytest.raises(ConfigError, match=says) as caught:
        Moirai2Config.from_dict(TINY | {field: value})
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("d_model", "64"), ("d_ff", 1.5), ("dropout_p", "x"), ("scaling", 1), ("quantile_levels", ["a"])],
)
def test_wrong_types(field, value):
    """A value of the wrong type is refused, by us or by the run-time check of types before us."""
    with pytest.raises((ConfigError, TypeError), match=field):
        Moirai2Config.from_dict(TINY | {field: value})


@pytest.mark.parametrize("field", sorted(TINY))
def test_missing_fields(field):
    """A missing field is named."""
    with pytest.raises(ConfigError, match=f"'{field}' is missing"):
        Moirai2Config.from_dict({name: value for name, value in TINY.items() if name != field})


WIDTHS = {"d_model": 128, "num_layers": 1}
STUDENT_T = {"_target_": "uni2ts.distribution.student_t.StudentTOutput"}


@pytest.mark.parametrize(
    ("settings", "family"),
    [
        (TINY, Moirai2Config),
        (WIDTHS | {"patch_sizes": [8, 16]}, MoiraiConfig),
        (WIDTHS | {"distr_output": STUDENT_T}, MoiraiConfig),
        (WIDTHS | {"patch_sizes": [8, 16], "d_ff": 32}, MoiraiMoEConfig),
    ],
)
def test_family_of_a_mapping(settings, family):
    """The fields of a configuration tell its family, and survive being written and read back."""
    config = config_from_dict(settings)
    assert type(config) is family
    assert config_from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(("d_model", "d_ff"), [(64, 176), (384, 1024), (768, 2048), (1024, 2736)])
def test_derived_width(d_model, d_ff):
    """The feed-forward of Moirai 1.x follows from its width."""
    config = MoiraiConfig(d_model=d_model, num_layers=1)
    assert (config.d_ff, config.num_heads, config.max_patch_size) == (d_ff, d_model // 64, 128)


@pytest.mark.parametrize("sizes", [(5,), (500,), (5, 7, 250, 500), (64, 8, 16), tuple(range(5, 501))])
def test_any_patch_sizes(sizes):
    """Any different patch sizes will do, in any order."""
    config = config_from_dict(WIDTHS | {"patch_sizes": list(sizes)})
    assert (config.patch_sizes, config.max_patch_size) == (sizes, max(sizes))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("patch_sizes", [], "different whole numbers"),
        ("patch_sizes", [8, 8], "different whole numbers"),
        ("patch_sizes", [0, 8], "different whole numbers"),
        ("distr_output", {"_target_": "os.system"}, "must name its class"),
        ("distr_output", {}, "must name its class"),
        ("distr_output", STANDARD_MIXTURE | {"components": 3}, "must be a list"),
        ("distr_output", STANDARD_MIXTURE | {"components": [{"scale": 1}]}, "must name its class"),
        ("d_model", 100, "multiple of 64"),
        ("d_ff", 0, "at least 1"),
        ("quantile_levels", [0.5], "unknown field 'quantile_levels' in a Moirai 1.x config"),
    ],
)
def test_impossible_values_of_other_families(field, value, says):
    """An impossible value is refused by an error that names the field and the rule."""
    with pytest.raises(ConfigError, match=says) as caught:
        config_from_dict(WIDTHS | {"patch_sizes": [8, 16]} | {field: value})
    assert field in str(caught.value)


def test_distribution_is_copied():
    """A mapping that changes after the configuration was made does not change the configuration."""
    given = {"_target_": STANDARD_MIXTURE["_target_"], "components": [dict(STUDENT_T)]}
    config = MoiraiConfig(**WIDTHS, distr_output=given)
    given["components"].clear()
    config.to_dict()["distr_output"]["components"].clear()
    assert config.distr_output["components"] == [STUDENT_T]
    assert hash(config) == hash(MoiraiConfig(**WIDTHS, distr_output=config.distr_output))
