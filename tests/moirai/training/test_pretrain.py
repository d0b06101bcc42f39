"""Pretraining runs: what they learn, go on from, keep, tell and refuse."""

import json
import logging
import math
import os
import signal
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from moirai.errors import ConfigError, DataError
from moirai.hub import load_module, resolve
from moirai.layers.scaler import Scaling
from moirai.models.moirai2 import Moirai2Module
from moirai.training import objectives
from moirai.training.pretrain import LOCK_FILE, PretrainSettings, pretrain, save_result
from moirai.training.pretrain_callbacks import LOG_FILE, STOP_FILE

FAMILIES = ("moirai", "moirai_moe", "moirai2")
FIXED_SCALE = {"_target_": "uni2ts.distribution.normal.NormalFixedScaleOutput", "scale": 0.2}
FLOOR = math.log(FIXED_SCALE["scale"] * math.sqrt(2 * math.pi))  # likelihood of exact means in scaled space


def assert_equal(first, second):
    """Two modules have the same weights, bit for bit."""
    other = second.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())


def at(step, action):
    """A listener that acts at one point of the curve."""
    return lambda point: action() if point.step == step else None


@pytest.mark.parametrize("family", FAMILIES)
def test_eight_series_are_learnt_by_heart(make_config, waves, family):
    """The loss of the same eight series over and over goes near its floor: exact quantiles, or exact means."""
    changes = {} if family == "moirai2" else {"distr_output": FIXED_SCALE}
    settings = PretrainSettings(
        steps=200, learning_rate=8e-3, warmup=20, log_every=20, accelerator="cpu", schedule="linear"
    )
    data, points = waves(200, rows=8, same=True), []
    pretrain(make_config(family, num_layers=2, **changes), data, settings, on_log=points.append)
    first, last = points[0].loss, points[-1].loss
    if family == "moirai2":
        assert first > 0.2
        assert last < 0.03
    else:
        floor = FLOOR + Scaling.of(data[0].tokens).scale[:, 0].log().mean()
        assert first > floor + 5
        assert floor < last < floor + 0.1


@pytest.mark.parametrize(
    ("family", "changes", "settings"),
    [
        ("moirai2", {}, {"ema_decay": 0.9, "accumulate": 2}),
        ("moirai2", {}, {"optimizer": "muon"}),
        ("moirai", {"dropout_p": 0.2, "attn_dropout_p": 0.1}, {}),
        ("moirai_moe", {}, {"precision": "bf16"}),
    ],
    ids=["average and accumulation", "muon", "dropout", "bf16"],
)
@pytest.mark.parametrize("ends_at", [3, 4])
def test_a_run_that_was_stopped_goes_on(make_config, waves, short_run, tmp_path, *, family, changes, settings, ends_at):
    """A run stopped by a signal and taken up again ends with the weights and the curve of one that was not."""
    config, run = make_config(family, **changes), replace(short_run, log_every=1, **settings)
    data = waves(run.batches)
    expected = pretrain(config, data, run)
    part = pretrain(config, data, run, state=tmp_path, on_log=at(ends_at, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert (part.step, part.stopped_by) == (ends_at, "SIGTERM")
    assert part.message == f"stopped by SIGTERM at step {ends_at} of 6; the same command goes on from there"
    whole = pretrain(config, data, run, state=tmp_path)
    assert (whole.step, whole.stopped_by) == (6, None)
    assert_equal(whole.module, expected.module)
    if expected.average is not None:
        assert_equal(whole.average, expected.average)
    curve = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert [point["step"] for point in curve] == [1, 2, 3, 4, 5, 6]
    assert curve[-1]["loss"] == expected.last.loss


def test_a_run_that_died_goes_on_from_its_last_state(make_config, waves, short_run, tmp_path, caplog):
    """What was not saved is done again, with the same result; points of the curve behind the state are forgotten."""
    config, run = make_config("moirai2"), replace(short_run, log_every=1)
    expected = pretrain(config, waves(6), run)

    def die():
        raise KeyError("power cut")

    with pytest.raises(KeyError):
        pretrain(config, waves(6), run, state=tmp_path, on_log=at(5, die))
    with (tmp_path / LOG_FILE).open("a") as file:
        file.write('{"step": 5, "lo')  # cut off
    with caplog.at_level(logging.INFO, logger="moirai"):
        whole = pretrain(config, waves(6), run, state=tmp_path)
    assert "going on from step 4 of 6" in caplog.text
    assert_equal(whole.module, expected.module)
    assert [json.loads(line)["step"] for line in (tmp_path / LOG_FILE).read_text().splitlines()] == [1, 2, 3, 4, 5, 6]


def test_a_damaged_state_is_passed_over(make_config, waves, short_run, tmp_path, caplog):
    """The newest two states are kept; where the last cannot be read, the one before it serves."""
    config = make_config("moirai2")
    expected = pretrain(config, waves(6), short_run, state=tmp_path)
    newest = tmp_path / "step-00000006.ckpt"
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["step-00000004.ckpt", newest.name]
    newest.write_bytes(newest.read_bytes()[:1000])
    again = pretrain(config, waves(6), short_run, state=tmp_path)
    assert "step-00000006.ckpt cannot be read" in caplog.text
    assert_equal(again.module, expected.module)


def test_a_finished_run_is_not_repeated(make_config, waves, short_run, tmp_path, monkeypatch):
    """A run whose state is complete returns its module without another step."""
    config = make_config("moirai2")
    first = pretrain(config, waves(6), short_run, state=tmp_path)
    monkeypatch.setattr(objectives, "quantile_objective", None)
    again = pretrain(config, waves(6), short_run, state=tmp_path)
    assert_equal(again.module, first.module)
    assert (again.step, again.last) == (6, None)


def test_a_run_may_become_longer(make_config, waves, short_run, tmp_path):
    """More steps go on from the state; anything that decides the weights is another run."""
    config = make_config("moirai2")
    settings = replace(short_run, schedule="constant")
    pretrain(config, waves(6), settings, state=tmp_path)
    longer = pretrain(config, waves(8), replace(settings, steps=8), state=tmp_path)
    assert_equal(longer.module, pretrain(config, waves(8), replace(settings, steps=8)).module)
    for changed in ({"learning_rate": 1e-4}, {"seed": 3}, {"accumulate": 2}):
        with pytest.raises(ConfigError, match=f"holds another run: its settings.{next(iter(changed))} is"):
            pretrain(config, waves(24), replace(settings, **changed), state=tmp_path)
    with pytest.raises(ConfigError, match=r"its architecture.d_ff is 32, this one's 40; name another folder"):
        pretrain(make_config("moirai2", d_ff=40), waves(6), settings, state=tmp_path)
    with pytest.raises(ConfigError, match=r"its data.rows is None, this one's 7"):
        pretrain(config, waves(6), settings, state=tmp_path, data_settings={"rows": 7})


def test_the_stop_file_ends_a_run(make_config, waves, short_run, tmp_path, monkeypatch):
    """The run saves and ends after the step in which it sees the file, takes it away, and goes on later."""
    monkeypatch.setattr("moirai.training.pretrain_callbacks.LOOK_EVERY", 0.0)
    stop = tmp_path / STOP_FILE
    stop.touch()  # of yesterday: nobody asks this run to end
    part = pretrain(make_config("moirai2"), waves(6), short_run, state=tmp_path, on_log=at(3, stop.touch))
    assert (part.step, part.stopped_by) == (3, f"the file {stop}")
    assert not stop.exists()
    assert pretrain(make_config("moirai2"), waves(6), short_run, state=tmp_path).step == 6


def test_signals_are_handled_as_before_afterwards(make_config, waves, short_run):
    """A run leaves the handlers of its process as they were, however it ends."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    config = make_config("moirai2")
    pretrain(config, waves(6), short_run)
    pretrain(config, waves(6), short_run, on_log=at(3, lambda: os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(ZeroDivisionError):
        pretrain(config, waves(6), short_run, on_log=lambda _: 1 / 0)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_same_seed_same_weights(make_config, waves, short_run):
    """Runs of one seed end with the same weights whatever was drawn before; another seed gives others."""
    config = make_config("moirai")
    first = pretrain(config, waves(6), short_run).module
    torch.rand(7)
    assert_equal(first, pretrain(config, waves(6), short_run).module)
    other = pretrain(config, waves(6), replace(short_run, seed=1)).module
    assert not torch.equal(first.in_proj.weight, other.in_proj.weight)
    assert not first.training


def test_accumulated_batches_are_one_step(make_config, waves, short_run):
    """Two batches per step take twice as many batches, and as many steps."""
    config, run = make_config("moirai2"), replace(short_run, accumulate=2)
    with pytest.raises(ConfigError, match="the run takes 12 batches, but the data has 11"):
        pretrain(config, waves(11), run)
    result = pretrain(config, waves(12), run)
    assert result.step == 6
    assert not torch.equal(
        result.module.in_proj.hidden_layer.weight,
        pretrain(config, waves(6), short_run).module.in_proj.hidden_layer.weight,
    )


def test_the_curve_tells_loss_rate_throughput_and_fill(make_config, waves, short_run):
    """A point comes every few steps and at the end; its loss is the mean of the steps since the last."""
    points, every = [], []
    config, run = make_config("moirai2"), replace(short_run, steps=5)
    pretrain(config, waves(5), run, on_log=points.append)
    pretrain(config, waves(5), replace(run, log_every=1), on_log=every.append)
    assert [point.step for point in points] == [3, 5]
    assert points[0].loss == pytest.approx(sum(point.loss for point in every[:3]) / 3)
    assert points[0].fill == 1
    assert points[0].tokens_per_second > 0
    assert points[0].gradient_norm == every[2].gradient_norm
    assert every[0].learning_rate == pytest.approx(5e-3 / 2)


def test_the_average_follows_the_weights(make_config, waves, short_run):
    """It is another module, between the first weights and the last."""
    config = make_config("moirai2")
    result = pretrain(config, waves(6), replace(short_run, ema_decay=0.5))
    alone = pretrain(config, waves(6), short_run)
    assert alone.average is None
    assert_equal(alone.module, result.module)
    last, mean = (one.in_proj.output_layer.weight for one in (result.module, result.average))
    assert not torch.equal(last, mean)
    torch.testing.assert_close(last, mean, rtol=0, atol=0.05)


class Spoilt:
    """Waves of which one batch holds a value that spoils what it takes part in."""

    def __init__(self, waves, number, value):
        self.waves, self.number, self.value = waves, number, value

    def __len__(self):
        return len(self.waves)

    def __getitem__(self, number):
        batch = self.waves[number]
        if number == self.number:
            batch.tokens.target[1, 9, 2] = self.value
        return batch


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_wrong_values_end_a_run(make_config, waves, short_run, tmp_path, *, family, value):
    """One error names the item; the last state is from before, and can be gone on from."""
    config = make_config(family)
    with pytest.raises(DataError, match="values that are not finite, of wave-3-1; mark"):
        pretrain(config, Spoilt(waves(6), 3, value), short_run, state=tmp_path)
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["step-00000002.ckpt"]
    assert_equal(
        pretrain(config, waves(6), short_run, state=tmp_path).module, pretrain(config, waves(6), short_run).module
    )


@pytest.mark.parametrize("step", [3, 5, 6])
def test_a_loss_that_is_not_finite_ends_a_run(make_config, waves, short_run, tmp_path, *, monkeypatch, step):
    """One error names the items of the batch, also where it was the last; nothing unsound is saved."""
    usual, calls = objectives.quantile_objective, []

    def spoilt(*given, **options):
        calls.append(1)
        return usual(*given, **options) * (math.nan if len(calls) == step else 1)

    monkeypatch.setattr(objectives, "quantile_objective", spoilt)
    with pytest.raises(DataError) as caught:
        pretrain(make_config("moirai2"), waves(6), short_run, state=tmp_path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"the loss is nan in the batch of wave-{step - 1}-0, wave-{step - 1}-1; look at")
    newest = max(path.name for path in tmp_path.glob("*.ckpt"))
    assert newest == f"step-{(step - 1) // 2 * 2:08d}.ckpt"


def test_a_gradient_that_is_not_finite_ends_a_run(make_config, waves, short_run, monkeypatch):
    """A finite loss may have a gradient that is not; the batch is named all the same."""
    usual = objectives.quantile_objective

    def spoilt(module, *given, **options):
        weight = module.encoder.norm.weight
        return usual(module, *given, **options) + (weight - weight.detach()).sum().clamp(min=0).sqrt()

    monkeypatch.setattr(objectives, "quantile_objective", spoilt)
    with pytest.raises(DataError, match="the gradient is not finite after the batch of wave-0-0, wave-0-1; look"):
        pretrain(make_config("moirai2"), waves(6), short_run)


def test_two_runs_do_not_share_a_folder(make_config, waves, short_run, tmp_path):
    """The second is refused while the first trains."""
    with FileLock(tmp_path / LOCK_FILE), pytest.raises(ConfigError, match=r"another run trains in .*; stop it first"):
        pretrain(make_config("moirai2"), waves(6), short_run, state=tmp_path)


def test_the_checkpoint_is_written_with_its_licence(make_config, waves, short_run, tmp_path):
    """The weights and their average lie side by side, load, and forecast what the run's modules do."""
    result = pretrain(make_config("moirai2"), waves(6), replace(short_run, ema_decay=0.9))
    folders = save_result(result, tmp_path / "model", licence="MIT", storage="fp32")
    assert [folder.name for folder in folders] == ["model", "model-ema"]
    for folder, module in zip(folders, (result.module, result.average), strict=True):
        checkpoint = resolve(folder)
        assert checkpoint.licence == "MIT"
        assert_equal(load_module(checkpoint), module)
    small = save_result(result, tmp_path / "small")[0] / "model.safetensors"
    assert small.stat().st_size < 0.6 * (tmp_path / "model/model.safetensors").stat().st_size
    assert isinstance(load_module(resolve(tmp_path / "small")), Moirai2Module)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"devices": -1}, "devices must be at least 1, not -1"),
        ({"optimizer": "sgd"}, "optimizer must be one of adamw, muon, not 'sgd'"),
        ({"schedule": "wavy"}, "schedule must be one of constant, .*, not 'wavy'"),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16, not 'fp8'"),
        ({"ema_decay": 1.0}, r"ema_decay must lie inside \(0, 1\), not 1.0"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, message):
    """The message names the setting, its value and the rule."""
    with pytest.raises(ConfigError, match=message):
        PretrainSettings(**({"steps": 5} | wrong))
