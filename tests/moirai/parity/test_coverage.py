"""No stored fixture is skipped by accident."""

import ast
from pathlib import Path

import pytest


def published(name):
    """The files of a published checkpoint and their tests."""
    listing = "state_dict.json" if name == "moirai-2.0-R-small" else "state_dict.json.gz"
    tests = ("state_dict", "parameter_count", "buffers")
    return {
        f"published/{name}/config.json": ["test_published::test_published_config"],
        f"published/{name}/{listing}": [f"test_published::test_published_{test}" for test in tests],
    }


# Stored file -> the tests that compare with it.
COVERED = {
    "components/attention.safetensors": ["test_components::test_attention"],
    "components/attention_bias.safetensors": ["test_components::test_attention_bias"],
    "components/attention_linear_bias.safetensors": ["test_components::test_attention"],
    "components/collate.safetensors": ["test_packing::test_first_fit_decreasing", "test_packing::test_padding"],
    "components/ffn.safetensors": ["test_components::test_ffn"],
    "components/imputation.safetensors": ["test_components::test_imputation"],
    "components/losses.safetensors": [
        "test_components::test_losses",
        "test_losses::test_point_loss",
        "test_losses::test_rmse",
        "test_losses::test_nll",
    ],
    "components/masks.safetensors": ["test_components::test_masks"],
    "components/moe_ffn.safetensors": ["test_components::test_moe_ffn"],
    "components/optim.json": [
        "test_components::test_optim_schedule",
        "test_published::test_optim_groups",
        "test_optim::test_optim_patterns",
        "test_optim::test_optim_schedules",
    ],
    "components/patch_size_constraints.json": ["test_patch_sizes::test_patch_size_table"],
    "components/rmsnorm.safetensors": ["test_components::test_rmsnorm"],
    "components/rotary.safetensors": ["test_components::test_rotary"],
    "components/scaler.safetensors": ["test_components::test_scaler"],
    "components/transforms.safetensors": ["test_packing::test_pretraining_layout", "test_packing::test_window_layout"],
    "components/ts_embed.safetensors": ["test_components::test_ts_embed", "test_components::test_ts_embed_multi_size"],
    "moirai2/module_packed.safetensors": [
        "test_module::test_module_statistics",
        "test_module::test_module_mask",
        "test_module::test_module_outputs",
        "test_module::test_module_layers",
        "test_module::test_module_predictions",
        "test_module::test_module_loss",
    ],
}
for name in ("moirai", "moirai_2h", "moirai_moe", "moirai2"):
    COVERED[f"{name}/checkpoint/config.json"] = ["test_published::test_published_config"]
    COVERED[f"{name}/checkpoint/model.safetensors"] = ["test_published::test_checkpoint"]
MODULE_TESTS = ("statistics", "mask", "outputs", "layers", "raw_parameters", "one_patch_size")
MODULE_TESTS += ("parameters", "distribution", "loss", "training_loss")
for name in ("moirai", "moirai_2h", "moirai_moe"):
    COVERED[f"{name}/module_packed.safetensors"] = [f"test_distribution_modules::test_module_{t}" for t in MODULE_TESTS]
for name in (*(f"1.{n}-R-{size}" for n in (0, 1) for size in ("small", "base", "large")), "2.0-R-small"):
    COVERED |= published(f"moirai-{name}")
for name in ("small", "base"):
    COVERED |= published(f"moirai-moe-1.0-R-{name}")
for name in (
    "laplace",
    "laplace_fixed",
    "log_normal",
    "negative_binomial",
    "normal",
    "normal_fixed",
    "normal_fixed_05",
    "pareto",
    "pareto_fixed",
    "student_t",
):
    COVERED[f"components/distribution_{name}.safetensors"] = [
        f"test_distributions::test_{test}" for test in ("parameters", "domain_maps", "law", "affine")
    ]
for name in ("mixture_other", "mixture_standard"):
    COVERED[f"components/distribution_{name}.safetensors"] = [
        f"test_distributions::test_mixture_{test}" for test in ("parameters", "law", "gradients", "sampling", "affine")
    ]
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
for name in ("moirai/fixed_uni", "moirai/fixed_uni_nan_pad", "moirai/fixed_multi_feat", "moirai_2h/fixed_uni"):
    COVERED[f"{name.replace('/', '/forecast_')}.safetensors"] = [
        f"test_distribution_forecasts::test_{test}"
        for test in ("token_layout", "laws", "distribution_function", "quantiles_without_sampling")
    ]
for name in ("uni", "multi_feat"):
    COVERED[f"moirai/forecast_auto_{name}.safetensors"] = [
        f"test_distribution_forecasts::test_{test}"
        for test in ("patch_choice", "distribution_function", "quantiles_without_sampling")
    ]
    COVERED[f"moirai_moe/forecast_single_{name}.safetensors"] = [
        f"test_distribution_forecasts::test_{test}"
        for test in ("token_layout", "laws", "distribution_function", "quantiles_without_sampling")
    ]
    COVERED[f"moirai_moe/forecast_ar_{name}.safetensors"] = [
        f"test_distribution_forecasts::test_{test}" for test in ("token_layout", "laws", "roll_out")
    ]
for name in ("uni", "multi"):
    for file in (f"moirai/gluonts_inputs_{name}_fixed", f"moirai/gluonts_inputs_{name}_auto"):
        COVERED[f"{file}.safetensors"] = ["test_distribution_forecasts::test_network_inputs"]
    COVERED[f"moirai_moe/gluonts_inputs_{name}.safetensors"] = ["test_distribution_forecasts::test_network_inputs"]
for name in ("short", "long"):
    COVERED[f"moirai2/numpy_predict_{name}.safetensors"] = ["test_forecast::test_numpy_predict"]


def test_every_file_has_a_test(parity):
    """The files in the folder and the files of the table are the same."""
    endings = {".safetensors", ".json", ".gz"}
    files = {path.relative_to(parity).as_posix() for path in parity.rglob("*") if path.suffix in endings}
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
