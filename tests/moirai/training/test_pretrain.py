"""Pretraining: batches, reproducibility, going on after an interruption, the command line."""

import logging
from dataclasses import fields, replace

import pytest
import torch

from moirai.hub import resolve
from moirai.training import pretrain as pretraining
from moirai.training.objective import quantile_objective
from moirai.training.pretrain import pretrain, synthetic_batch


def assert_equal(first, second):
    """Two modules have the same weights, bit for bit."""
    other = second.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())


@pytest.mark.parametrize("step", range(8))
def test_batches_are_sound(tiny_config, short_run, step):
    """Rows are full, samples equally long, every one with context and prediction, values finite."""
    tokens = synthetic_batch(tiny_config, short_run, step)
    assert tokens.target.shape == (2, 36, 4)
    assert tokens.target.isfinite().all()
    samples = int(tokens.sample_id.max())
    length = 36 // samples
    assert torch.equal(tokens.sample_id[0], torch.arange(1, samples + 1).repeat_interleave(length))
    assert torch.equal(tokens.time_id[0], torch.arange(length).repeat(samples))
    predicted = tokens.prediction_mask.view(2, samples, length)
    assert not predicted[..., 0].any()
    assert predicted.any(-1).all()
    assert torch.equal(predicted.long().cummax(-1).values.bool(), predicted)


def test_step_and_seed_decide_the_batch(tiny_config, short_run):
    """The same step of the same seed is the same batch; any other step or seed is another one."""

    def batch(seed, step):
        return synthetic_batch(tiny_config, replace(short_run, seed=seed), step).target

    assert torch.equal(batch(0, 3), batch(0, 3))
    drawn = {batch(seed, step).sum().item() for seed in range(3) for step in range(6)}
    assert len(drawn) == 18


def test_same_seed_same_weights(tiny_config, short_run):
    """Two runs of one seed end with the same weights, a run of another seed with others."""
    first = pretrain(tiny_config, short_run)
    assert_equal(first, pretrain(tiny_config, short_run))
    other = pretrain(tiny_config, replace(short_run, seed=1))
    assert not torch.equal(first.in_proj.hidden_layer.weight, other.in_proj.hidden_layer.weight)
    assert not first.training


@pytest.mark.parametrize("dies_after", [4, 6])
def test_interrupted_run_goes_on(tiny_config, short_run, tmp_path, *, monkeypatch, caplog, dies_after):
    """A run that dies and goes on from its state ends with the weights of one that did not die."""
    expected = pretrain(tiny_config, short_run)
    state = tmp_path / "state.pt"
    calls = []

    def dying(module, tokens):
        calls.append(1)
        if len(calls) == dies_after:
            raise KeyboardInterrupt
        return quantile_objective(module, tokens)

    monkeypatch.setattr(pretraining, "quantile_objective", dying)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny_config, short_run, state=state)
    monkeypatch.undo()
    with caplog.at_level(logging.INFO, logger="moirai"):
        resumed = pretrain(tiny_config, short_run, state=state)
    assert "going on from step 3" in caplog.text
    assert_equal(resumed, expected)


def test_finished_run_is_not_repeated(tiny_config, short_run, tmp_path, monkeypatch):
    """A run whose state is complete returns its model without another step."""
    state = tmp_path / "state.pt"
    first = pretrain(tiny_config, short_run, state=state)
    monkeypatch.setattr(pretraining, "quantile_objective", None)
    assert_equal(pretrain(tiny_config, short_run, state=state), first)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


def test_training_helps(tiny_config, short_run):
    """After a while the loss on batches of another seed is clearly lower."""
    settings = replace(short_run, steps=60, rows=8, warmup=10, learning_rate=5e-3)
    fresh = pretrain(tiny_config, replace(settings, steps=0))
    trained = pretrain(tiny_config, settings)
    unseen = [synthetic_batch(tiny_config, replace(settings, seed=99), step) for step in range(6)]
    with torch.no_grad():
        before, after = (sum(quantile_objective(m, t) for t in unseen).item() for m in (fresh, trained))
    assert after < 0.8 * before


def test_command_line(tiny_config, tmp_path, monkeypatch):
    """The command writes a checkpoint that loads, in bfloat16, under our own licence."""
    monkeypatch.setattr(pretraining, "STARTER", tiny_config)
    monkeypatch.setattr("sys.argv", ["pretrain", "--out", str(tmp_path / "model"), "--steps", "1"])
    pretraining.main()
    checkpoint = resolve(tmp_path / "model")
    assert checkpoint.config == tiny_config
    assert checkpoint.licence == "Apache-2.0"


def test_starter_rows_are_full():
    """The starter's rows divide into every number of samples without a rest."""
    assert all(pretraining.STARTER.max_seq_len % samples == 0 for samples, _ in pretraining.SAMPLES_PER_ROW)
    assert sum(share for _, share in pretraining.SAMPLES_PER_ROW) == pytest.approx(1)
    assert {field.name for field in fields(pretraining.PretrainSettings)} >= {"seed", "steps", "save_every"}
