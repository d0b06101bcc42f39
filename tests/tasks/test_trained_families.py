"""A fine-tuned checkpoint of every family is an ordinary one: by folder and by alias it forecasts the same numbers."""

import pandas as pd
import pytest
import torch

from moirai import Moirai2Config, Moirai2Module, MoiraiConfig, MoiraiModule, MoiraiMoEConfig, MoiraiMoEModule
from moirai.hub import resolve
from tasks.forecast import forecast_panel
from tasks.model_reference import resolve_model
from tasks.register import register_model, set_alias
from tasks.train import train_model

SMALL = {"d_model": 64, "num_layers": 1}
MODULES = {
    "Moirai 1.x": lambda: MoiraiModule(MoiraiConfig(**SMALL, patch_sizes=(8, 16))),
    "Moirai-MoE": lambda: MoiraiMoEModule(MoiraiMoEConfig(**SMALL, d_ff=32, patch_sizes=(16,))),
    "Moirai 2.0": lambda: Moirai2Module(Moirai2Config(**SMALL, d_ff=64, patch_size=8, num_predict_token=2)),
}


@pytest.mark.parametrize(
    ("family", "method"), [("Moirai 1.x", "frozen_ffn"), ("Moirai-MoE", "lora"), ("Moirai 2.0", "head")]
)
def test_a_fine_tuned_model_reloads_by_folder_and_by_alias(family, method, small_job, clean_panel, tracking_uri):
    """Trained, saved, registered and found again: the same weights, the same forecasts, and not those of the base."""
    settings = {"method": method, "learning_rate": 1e-2, "max_steps": 4, "batch_size": 4, "validate_every": 2}
    job = small_job(finetune=settings | {"validation_windows": 2, "accelerator": "cpu"}, tracking=tracking_uri)
    torch.manual_seed(0)
    base = resolve_model(job, str(MODULES[family]().save_pretrained(job.folder / "base")))
    trained = train_model(job, clean_panel, base, apart=False)
    assert trained.best_step > 0
    assert (trained.settings["method"], trained.settings["patch_size"]) == (method, trained.settings["patch_size"])
    assert 0 < trained.trained_share < 1
    assert set(trained.held_out) == {"zero_shot", "fine_tuned", "seasonal_naive:24"}
    assert set(trained.derived) >= {"patch_size"}

    version = register_model(job, **trained.registration, panel=clean_panel)
    set_alias(job, "champion", version.version)
    found = [resolve_model(job, trained.folder), resolve_model(job, "models:/shops@champion")]
    assert {one.digest for one in found} == {resolve(trained.folder).digest}
    by_folder, by_alias, zero_shot = (
        pd.read_parquet(forecast_panel(job, clean_panel, one).path).drop(columns=["model_name", "model_version"])
        for one in (*found, base)
    )
    pd.testing.assert_frame_equal(by_folder, by_alias, check_exact=True)
    assert (by_folder["mean"] != zero_shot["mean"]).all()
