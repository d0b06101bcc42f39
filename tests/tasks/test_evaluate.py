"""Scoring on public data sets: what is checked before the work, what is scored, how it compares."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from moirai import Moirai2Config, Moirai2Module, MoiraiConfig, MoiraiModule
from moirai.errors import CheckpointError, ConfigError, DataError
from moirai.forecasting.covariates import CovariateEncoding
from tasks.evaluate import Score, prepare
from tasks.register import register_model, resolve_model
from tasks.standings import published_baselines, published_models, standings, wins

from .shop import make_job, make_panel

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def gasoline(tmp_path):
    """A data folder with one short weekly series."""
    weeks = pd.date_range("2005-01-03", periods=300, freq="W-MON").strftime("%G W%V")
    barrels = 8 + np.sin(2 * np.pi * np.arange(300) / 52) + np.random.default_rng(0).normal(0, 0.1, 300)
    (tmp_path / "sets" / "us_gasoline").mkdir(parents=True)
    frame = pd.DataFrame({"Week": weeks, "Barrels": barrels})
    frame.to_csv(tmp_path / "sets" / "us_gasoline" / "us_gasoline.csv", index=False)
    return tmp_path / "sets"


def save_tiny(folder):
    """A tiny untrained Moirai 2.0."""
    torch.manual_seed(0)
    return Moirai2Module(
        Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2)
    ).save_pretrained(folder)


def nothing(*_):
    """No progress is shown."""


def test_models_and_baselines_are_scored_on_the_same_windows(gasoline, tmp_path):
    """Each once, in the order asked for; ratios are those to the seasonal naive forecast of the task."""
    references = [str(save_tiny(tmp_path / "tiny")), "seasonal_naive", "naive", "seasonal_naive"]
    evaluation = prepare(references, gasoline, tasks=["us_gasoline"], context_length=64)
    reports = []
    scores = list(evaluation.scores(lambda *report: reports.append(report)))
    assert [one.model for one in scores] == references[:3]
    assert {one.forecasts for one in scores} == {11}
    assert scores[1].ratios == {"mase": 1.0, "wql": 1.0}
    assert all(one.ratios["wql"] == one.values["wql"] / scores[1].values["wql"] for one in scores)
    assert reports[0][:2] == ("us_gasoline", references[0])
    assert reports[-1][2:] == (11, 11)


def test_the_long_sequence_protocol_scores_models_too(tmp_path):
    """A model of each kind on every thousandth origin of the hourly file."""
    hours = pd.date_range("2016-07-01", periods=14_400, freq="h", name="date")
    noise = np.random.default_rng(0).normal(0, 1, (2, 14_400))
    (tmp_path / "etth1").mkdir()
    frame = pd.DataFrame(
        {"HUFL": noise[0].cumsum(), "OT": noise[1] + np.sin(np.arange(14_400) * np.pi / 12)}, index=hours
    )
    frame.to_csv(tmp_path / "etth1" / "ETTh1.csv")
    references = [str(save_tiny(tmp_path / "tiny")), "naive"]
    evaluation = prepare(references, tmp_path, protocol="lsf", tasks=["ETTh1-96"], stride=1000, context_length=64)
    scores = list(evaluation.scores(nothing))
    assert [(one.model, one.forecasts) for one in scores] == [(name, 6) for name in references]
    assert all(set(one.values) == {"mse", "mae"} and one.values["mae"] > 0 for one in scores)


def test_a_registered_model_is_found_through_its_job(gasoline, tracking_uri, tmp_path):
    """`models:/…` means the registry of the job that is named, and needs one."""
    job = make_job(tmp_path, tracking=tracking_uri)
    save_tiny(tmp_path / "base")
    register_model(
        job,
        folder=save_tiny(tmp_path / "tuned"),
        training_key="key",
        panel=make_panel(tmp_path),
        base=resolve_model(job, "base"),
        metrics={"wql": 0.1},
    )
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job.model_dump(mode="json")), encoding="utf-8")
    evaluation = prepare(["models:/shop/1"], gasoline, tasks=["us_gasoline"], job_file=file, context_length=64)
    (score,) = evaluation.scores(nothing)
    assert (score.model, score.forecasts) == ("models:/shop/1", 11)
    with pytest.raises(ConfigError, match="models:/shop/1 lies in the registry of a job; name its job file with --job"):
        prepare(["models:/shop/1"], gasoline, tasks=["us_gasoline"])


def test_what_is_asked_for_is_checked_before_the_work(gasoline, tmp_path):
    """Unknown tasks, absent files and folders, references and options that fit no model: one line each."""
    tiny = str(save_tiny(tmp_path / "tiny"))
    with pytest.raises(ConfigError, match="unknown task 'gasoline'; known: etth1"):
        prepare([tiny], gasoline, tasks=["gasoline"])
    with pytest.raises(ConfigError, match="unknown LSF task 'etth1'; known: ETTh1-96"):
        prepare([tiny], gasoline, protocol="lsf", tasks=["etth1"])
    with pytest.raises(DataError, match=r"data folder .*none does not exist"):
        prepare([tiny], tmp_path / "none")
    with pytest.raises(DataError, match=r"task etth1 needs .*ETTh1.csv, which does not exist; .* --tasks us_gasoline$"):
        prepare([tiny], gasoline)
    with pytest.raises(DataError, match=r"ETTh1.csv, which does not exist; .*docs/evaluation.md"):
        prepare([tiny], gasoline, tasks=["etth1"])
    with pytest.raises(CheckpointError, match="'tinny' is no folder and no hub id"):
        prepare(["tinny"], gasoline, tasks=["us_gasoline"])
    with pytest.raises(ConfigError, match="unknown baseline 'seasonal_naive:0'"):
        prepare(["seasonal_naive:0"], gasoline, tasks=["us_gasoline"])
    with pytest.raises(ConfigError, match=r"model .*tiny: patch_size of this model is 8, it cannot be 64"):
        prepare([tiny], gasoline, tasks=["us_gasoline"], patch_size=64)
    with pytest.raises(ConfigError, match="stride is for the lsf protocol"):
        prepare([tiny], gasoline, tasks=["us_gasoline"], stride=2)
    with pytest.raises(ConfigError, match="stride must be 1 or more"):
        prepare([tiny], gasoline, protocol="lsf", stride=0)


def test_a_model_that_knows_covariates_is_scored_without_and_says_so(gasoline, tmp_path, caplog):
    """The public tasks have no covariates to show."""
    folder = save_tiny(tmp_path / "tiny")
    CovariateEncoding(known=("promo",), lead=7).write(folder)
    prepare([str(folder)], gasoline, tasks=["us_gasoline"])
    assert "was fine-tuned with covariates; these tasks have none" in caplog.text


def test_the_patch_size_goes_to_the_models_that_choose_one(gasoline, tmp_path):
    """Moirai 1.x at a size of its own, and by the frequency of the task."""
    torch.manual_seed(0)
    folder = MoiraiModule(MoiraiConfig(d_model=64, num_layers=1, patch_sizes=(8, 16))).save_pretrained(tmp_path / "one")
    found = []
    for size in (8, "frequency"):
        evaluation = prepare([str(folder)], gasoline, tasks=["us_gasoline"], context_length=64, patch_size=size)
        found += [score.values["wql"] for score in evaluation.scores(nothing)]
    assert np.isfinite(found).all()


def made(task, model, mase, wql):
    """A score whose seasonal naive has 1 and 0.5."""
    return Score(task, model, {"mase": mase, "wql": wql}, {"mase": 1.0, "wql": 0.5}, 1, 0.0)


def write_published(folder):
    """Published files with a model that is better, one that is worse, and one that lacks a task."""
    (folder / "published-scores.csv").write_text(
        "config,model,MASE,WQL,MAE\n"
        "ett1/D/short,seasonal_naive,1.0,0.5,0\nett1/W/short,seasonal_naive,1.0,0.5,0\n"
        "ett1/D/short,good,0.5,0.2,0\nett1/W/short,good,0.5,0.2,0\n"
        "ett1/D/short,bad,1.5,0.8,0\nett1/W/short,bad,1.5,0.8,0\n"
        "ett1/D/short,half,0.1,0.1,0\nother/D/short,good,9,9,0\n",
        encoding="utf-8",
    )
    (folder / "baselines.csv").write_text(
        "task,model,MASE,WQL\nett1_D,AutoETS,1.1,0.35\nett1_D,Naive,1.1,0.1\nett1_W,AutoETS,1.1,0.2\n", encoding="utf-8"
    )


def test_our_models_stand_among_the_published_ones(tmp_path):
    """Geometric means over the marked tasks that were scored; who lacks one of them has no place."""
    write_published(tmp_path)
    scores = [made("ett1_D", "ours", 0.9, 0.25), made("ett1_W", "ours", 0.4, 0.36), made("etth1", "ours", 9.0, 9.0)]
    places = standings(scores, published_models(tmp_path))
    assert [(one.model, one.is_ours) for one in places] == [
        ("good", False),
        ("ours", True),
        ("seasonal_naive", False),
        ("bad", False),
    ]
    assert places[1].mase == pytest.approx(0.6)
    assert places[1].wql == pytest.approx(0.6)
    assert standings(scores[2:], published_models(tmp_path)) == []


def test_tasks_are_won_against_seasonal_naive_and_auto_ets(tmp_path):
    """AutoETS has no row for every task, and it alone is counted."""
    write_published(tmp_path)
    scores = [made("ett1_D", "ours", 0.9, 0.3), made("ett1_W", "ours", 1.1, 0.3), made("etth1", "ours", 0.9, 0.6)]
    (won,) = wins(scores, published_baselines(tmp_path))
    assert (won.tasks, won.mase, won.wql, won.with_auto_ets, won.auto_ets) == (3, 2, 2, 2, 1)


def test_without_published_files_ours_stand_alone(tmp_path):
    """Neither file is needed."""
    scores = [made("ett1_D", "ours", 0.9, 0.25)]
    assert published_baselines(tmp_path) == published_models(tmp_path) == []
    assert [one.model for one in standings(scores, [])] == ["ours"]
    assert wins(scores, [])[0].with_auto_ets == 0


@pytest.mark.parametrize(
    "content", ["config,model,MASE\nett1/D/short,a,1\n", "config,model,MASE,WQL\nett1/D/short,a,1,x\n", ""]
)
def test_a_damaged_published_file_is_named(content, tmp_path):
    """A column that is absent, and a score that is no number."""
    (tmp_path / "published-scores.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"published-scores.csv needs the columns config, model, MASE and WQL"):
        published_models(tmp_path)
