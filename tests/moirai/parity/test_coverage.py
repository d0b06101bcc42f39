"""No stored fixture is skipped by accident."""

import ast
from pathlib import Path

import pytest

# Stored file -> the tests that compare with it.
COVERED = {
    "components/attention.safetensors": ["test_components::test_attention"],
    "components/attention_bias.safetensors": ["test_components::test_attention_bias"],
    "components/attention_linear_bias.safetensors": ["test_components::test_attention"],
    "components/ffn.safetensors": ["test_components::test_ffn"],
    "components/imputation.safetensors": ["test_components::test_imputation"],
    "components/losses.safetensors": ["test_components::test_losses"],
    "components/masks.safetensors": ["test_components::test_masks"],
    "components/optim.json": [
        "test_components::test_optim_schedule",
        "test_published::test_optim_groups",
    ],
    "components/rmsnorm.safetensors": ["test_components::test_rmsnorm"],
    "components/rotary.safetensors": ["test_components::test_rotary"],
    "components/scaler.safetensors": ["test_components::test_scaler"],
    "components/ts_embed.safetensors": ["test_components::test_ts_embed"],
    "moirai2/checkpoint/config.json": ["test_published::test_published_config"],
    "moirai2/checkpoint/model.safetensors": ["test_published::test_checkpoint"],
    "moirai2/module_packed.safetensors": [
        "test_module::test_module_statistics",
        "test_module::test_module_mask",
        "test_module::test_module_outputs",
        "test_module::test_module_layers",
        "test_module::test_module_predictions",
        "test_module::test_module_loss",
    ],
    "published/moirai-2.0-R-small/config.json": ["test_published::test_published_config"],
    "published/moirai-2.0-R-small/state_dict.json": [
        "test_published::test_published_state_dict",
        "test_published::test_published_parameter_count",
    ],
}
FORECAST_TESTS = ("token_layout", "first_forward", "second_forward", "quantiles")
for name in (
    "single_uni",
    "single_multi_feat",
    "ar_uni",
    "ar_uni_long",
    "ar_multi",
    "ar_multi_feat",
):
    COVERED[f"moirai2/forecast_{name}.safetensors"] = [f"test_forecast::test_{test}" for test in FORECAST_TESTS]
for name in ("uni", "multi", "long"):
    COVERED[f"moirai2/gluonts_forecast_{name}.safetensors"] = [
        f"test_forecast::test_{test}" for test in ("network_inputs", "gluonts_predictor")
    ]
for name in ("short", "long"):
    COVERED[f"moirai2/numpy_predict_{name}.safetensors"] = ["test_forecast::test_numpy_predict"]


def test_every_file_has_a_test(parity):
    """The files in the folder and the files of the table are the same."""
    files = {
        path.relative_to(parity).as_posix() for path in parity.rglob("*") if path.suffix in {".safetensors", ".json"}
    }
    assert files == set(COVERED)


@pytest.mark.parametrize("file", sorted(COVERED))
def test_every_test_reads_its_file(file):
    """The tests of the table exist in files that name the fixture's folder and case."""
    stem = Path(file).stem
    for test in COVERED[file]:
        module, function = test.split("::")
        source = (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")
        defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
        assert function in defined, test
        case = stem.removeprefix("gluonts_forecast_").removeprefix("forecast_")
        assert case.removeprefix("numpy_predict_") in source or "checkpoint" in file, test
