"""Training: what decides a checkpoint, when one is reused, what it keeps."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moirai.hub import resolve, save_module
from moirai.models.moirai2 import Moirai2Module
from tasks.model_reference import resolve_model
from tasks.panel import target_series, write_panel
from tasks.train import train_model, training_key
from tasks.training.span import training_span

train_here = partial(train_model, apart=False)  # a process of its own takes seconds to start: tests/tasks/training


def test_the_training_span_ends_before_the_first_backtest_window(small_job, clean_frame):
    """Three windows of six steps are cut off every series."""
    spans = training_span(small_job(), target_series(clean_frame, ["sales"]))
    assert [len(one) for one in spans] == [240 - 18, 140 - 18]


def test_series_that_end_at_different_times_share_one_training_end(small_job, clean_frame):
    """The earliest first origin of any series ends the training of all: no later value reaches the weights."""
    ended = clean_frame.query("item_id == 'a'").head(200).assign(item_id="ended")
    series = target_series(pd.concat([clean_frame, ended], ignore_index=True), ["sales"])
    spans = dict(zip([one.item_id for one in series], training_span(small_job(), series), strict=True))
    assert {item: len(values) for item, values in spans.items()} == {"a": 182, "b": 82, "ended": 182}


def test_later_values_of_a_longer_series_change_nothing(small_job, clean_frame, tiny_model, tmp_path):
    """Values after the first origin of a series that ended early are no part of the training of any."""
    ended = clean_frame.query("item_id == 'a'").head(200).assign(item_id="ended")
    frame = pd.concat([clean_frame, ended], ignore_index=True)
    changed = frame.copy()
    changed.loc[changed["timestamp"] > ended["timestamp"].iloc[-19], "sales"] += 100
    keys, weights = [], []
    for one in (frame, changed):
        made = train_here(small_job(), write_panel(one, tmp_path / "panels", stage="clean"), tiny_model)
        keys.append(made.training_key)
        weights.append(resolve(made.folder).digest)
    assert keys[0] == keys[1]
    assert weights[0] == weights[1]


def test_a_checkpoint_is_made_once(small_job, clean_panel, tiny_model):
    """The second training finds the first one's checkpoint and says so."""
    first = train_here(small_job(), clean_panel, tiny_model)
    again = train_here(small_job(), clean_panel, tiny_model)
    assert (first.reused, again.reused) == (False, True)
    assert again == first.model_copy(update={"reused": True})
    curve = pd.read_parquet(first.curve_path)
    assert curve["step"].tolist() == [0, 2, 4]
    assert first.best_loss == curve["validation_loss"].min()
    assert not [one.name for one in Path(first.folder).parent.iterdir() if one.name.endswith(".state")]


def test_values_after_the_span_do_not_change_the_key(small_job, clean_frame, clean_panel, tiny_model, tmp_path):
    """New values in the backtest windows give the same checkpoint; an older value another one."""
    first = train_here(small_job(), clean_panel, tiny_model)
    later, older = clean_frame.copy(), clean_frame.copy()
    later.loc[later["timestamp"] >= later["timestamp"].max() - pd.Timedelta(hours=17), "sales"] = -1.0
    older.loc[3, "sales"] = -1.0
    panels = [write_panel(frame, tmp_path / "panels", stage="clean") for frame in (later, older)]
    keys = [train_here(small_job(), panel, tiny_model).training_key for panel in panels]
    assert keys[0] == first.training_key
    assert keys[1] != first.training_key


@pytest.mark.parametrize(
    "change",
    [{"context": 32}, {"horizon": 5}]
    + [
        {"finetune": one}
        for one in (
            {"seed": 1},
            {"method": "head"},
            {"context": 32},
            {"patch_size": 16},
            {"batch_size": 8},
            {"learning_rate": 1e-4},
            {"max_steps": 5},
            {"validate_every": 1},
            {"patience": 1},
            {"validation_windows": 1},
            {"precision": "bf16"},
            {"devices": 2},  # each takes batches of its own
        )
    ],
)
def test_every_setting_that_decides_the_weights_is_in_the_key(small_job, change):
    """Another context, horizon, method, rate, arithmetic, … is another training, and so is another base."""
    values = [np.arange(50, dtype=np.float32)]
    plain = training_key(small_job(finetune={}), values, "x")
    assert plain != training_key(small_job(**{"finetune": {}} | change), values, "x")
    assert plain != training_key(small_job(finetune={}), values, "y")


@pytest.mark.parametrize("change", [{"lora_rank": 2}, {"accelerator": "cpu"}, {"base": "elsewhere"}])
def test_what_decides_no_weight_is_not_in_the_key(small_job, change):
    """The rank of adapters that there are none of, where it runs, and what the base is called."""
    values = [np.arange(50, dtype=np.float32)]
    assert training_key(small_job(finetune={}), values, "x") == training_key(small_job(finetune=change), values, "x")
    adapted = [small_job(finetune={"method": "lora", "lora_rank": rank}) for rank in (2, 4)]
    assert training_key(adapted[0], values, "x") != training_key(adapted[1], values, "x")


def test_the_licence_of_the_base_goes_with_the_weights(small_job, clean_panel, tiny_model):
    """A model tuned from non-commercial weights says so itself."""
    module = Moirai2Module.from_pretrained(tiny_model.folder)
    save_module(module, tiny_model.folder, licence="CC-BY-NC-4.0")
    base = tiny_model.model_copy(update={"licence": "CC-BY-NC-4.0"})
    trained = train_here(small_job(), clean_panel, base)
    assert resolve(trained.folder).licence == "CC-BY-NC-4.0"


def test_a_checkpoint_knows_until_when_its_training_saw(small_job, clean_frame, clean_panel, tiny_model):
    """The first backtest origin, or what the base had seen where that is later; also from its folder alone."""
    job = small_job()
    origin = clean_frame["timestamp"].max() - pd.Timedelta(hours=3 * 6)
    trained = train_here(job, clean_panel, tiny_model)
    assert trained.trained_until == origin
    found = resolve_model(job, trained.folder)
    assert (found.trained_until, found.base, found.root) == (origin, "tiny", "tiny")
    later = origin + pd.Timedelta(days=9)
    again = train_here(job, clean_panel, tiny_model.model_copy(update={"trained_until": later}))
    assert (again.reused, again.trained_until) == (True, later)


def test_a_training_that_was_cut_off_leaves_no_checkpoint(small_job, clean_panel, tiny_model):
    """An exception in the middle leaves nothing that looks like a result, and the next run trains."""

    def stop(*_):
        raise RuntimeError("cut off")

    job = small_job()
    with pytest.raises(RuntimeError, match="cut off"):
        train_here(job, clean_panel, tiny_model, on_step=stop)
    assert not list((job.workspace_path / "checkpoints").glob("*/training.json"))
    assert not train_here(job, clean_panel, tiny_model).reused


@pytest.mark.parametrize("lost", ["training.json", "model.safetensors", "curve.parquet"])
def test_a_checkpoint_that_lost_a_file_is_trained_anew(small_job, clean_panel, tiny_model, lost):
    """A damaged folder is neither trusted nor in the way."""
    first = train_here(small_job(), clean_panel, tiny_model)
    (Path(first.folder) / lost).unlink()
    assert not train_here(small_job(), clean_panel, tiny_model).reused
    assert train_here(small_job(), clean_panel, tiny_model).reused


def test_a_checkpoint_that_stands_is_scored_as_the_job_forecasts_now(small_job, clean_panel, tiny_model):
    """Another season changes the scores of the held-out windows and their record, and trains nothing."""
    first = train_here(small_job(), clean_panel, tiny_model)
    weights = (Path(first.folder) / "model.safetensors").stat().st_mtime_ns
    again, third = (train_here(small_job(season=12), clean_panel, tiny_model) for _ in range(2))
    assert (again.training_key, again.reused) == (first.training_key, True)
    assert set(first.held_out) - set(again.held_out) == {"seasonal_naive:24"}
    assert again.held_out["fine_tuned"]["mase"] != first.held_out["fine_tuned"]["mase"]
    assert again.held_out["fine_tuned"]["wql"] == first.held_out["fine_tuned"]["wql"]
    assert third == again, "the record on disk holds the new scores"
    assert (Path(first.folder) / "model.safetensors").stat().st_mtime_ns == weights


def test_what_was_left_open_is_stated(small_job, clean_panel, tiny_model):
    """Context, batch, patches and rate that the series decided stand in the record, marked as such."""
    job = small_job(context=1024, finetune={"max_steps": 2, "validate_every": 2, "validation_windows": 2})
    trained = train_here(job, clean_panel, tiny_model)
    assert set(trained.derived) == {"context", "patch_size", "batch_size", "learning_rate"}
    assert trained.settings["patch_size"] == 8
    assert trained.settings["context"] == 208  # 222 steps less two held-out horizons and one to predict, in patches
    assert trained.told["context"] == "208 (derived)"
    assert trained.told["max_steps"] == "2"
    short = train_here(small_job(finetune=job.finetune.model_dump()), clean_panel, tiny_model)
    assert short.settings["context"] == 64, "no longer than what the job's forecasts see"
    assert "context" in short.derived


def test_two_runs_of_the_same_training_make_it_once(small_job, clean_panel, tiny_model):
    """The second waits for the first and finds its checkpoint."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(train_here, small_job(), clean_panel, tiny_model) for _ in range(2)]
        assert sorted(run.result().reused for run in runs) == [False, True]
