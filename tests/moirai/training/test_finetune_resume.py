"""A fine-tuning that was stopped goes on as if it had not been."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from moirai.errors import CheckpointError, ConfigError
from moirai.training import finetune_watch
from moirai.training.finetune import FinetuneSettings, finetune


class Stopped(Exception):  # noqa: N818 - not a mistake of the run
    """What ends a run in the middle."""


def settings(**changes):
    """Twelve steps, validated after every sixth."""
    needed = {"horizon": 4, "context": 24, "max_steps": 12, "batch_size": 4, "learning_rate": 5e-3}
    return FinetuneSettings(**(needed | {"validate_every": 6, "validation_windows": 1} | changes))


@pytest.fixture
def series():
    """Two noisy series."""
    rng = np.random.default_rng(0)
    return [rng.normal(5, 1, 90) + np.arange(90) % 4 for _ in range(2)]


def weights(result):
    """The weights that a run leaves."""
    return result.module.state_dict()


def stop_at(step):
    """A progress function that ends the run after a validation."""

    def on_step(point, total):
        assert total == 12
        if point.step >= step:
            raise Stopped

    return on_step


def assert_same(one, other):
    """Weights and curves are equal bit by bit."""
    assert all(weights(one)[name].equal(weights(other)[name]) for name in weights(one))
    assert one.curve[1:] == other.curve[1:]  # the first has no training loss
    assert one.curve[0].validation_loss == other.curve[0].validation_loss
    assert one.best_step == other.best_step


@pytest.mark.parametrize(("method", "dropout"), [("full", 0.2), ("lora", 0.0)])
def test_a_resumed_run_equals_an_uninterrupted_one(make_module, series, tmp_path, method, dropout):
    """Stopped after a validation and started again it ends with the same weights and curve, bit by bit."""
    chosen = settings(method=method)
    whole = finetune(make_module(dropout_p=dropout), series, chosen)
    with pytest.raises(Stopped):
        finetune(make_module(dropout_p=dropout), series, chosen, state=tmp_path, on_step=stop_at(6))
    resumed = finetune(make_module(dropout_p=dropout), series, chosen, state=tmp_path)
    assert_same(whole, resumed)


@pytest.mark.parametrize("family", ["moirai", "moe"])
def test_the_other_families_resume_between_two_validations(
    make_distribution_module, series, tmp_path, monkeypatch, family
):
    """A state that was kept between two validations is as good as one kept after one."""
    monkeypatch.setattr(finetune_watch, "SAVE_EVERY", 4)
    chosen, module = settings(patch_size=4), make_distribution_module(family)
    whole = finetune(deepcopy(module), series, chosen)
    # Ends in the validation after the last step, before its state is kept: what is there is that of step 8.
    monkeypatch.setattr(finetune_watch.Watch, "on_validation_end", _ending_at(12, finetune_watch.Watch))
    with pytest.raises(Stopped):
        finetune(deepcopy(module), series, chosen, state=tmp_path)
    monkeypatch.undo()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 8
    assert_same(whole, finetune(deepcopy(module), series, chosen, state=tmp_path))


def _ending_at(step, watch):
    """The hook of a watch, that ends the run in the validation after a step."""
    own = watch.on_validation_end

    def on_validation_end(self, trainer, pl_module):
        if pl_module.step == step:
            raise Stopped
        own(self, trainer, pl_module)

    return on_validation_end


def test_a_finished_run_is_not_trained_again(make_module, series, tmp_path):
    """Its state holds the result: no step is taken, the weights are those that were kept."""
    first = finetune(make_module(), series, settings(), state=tmp_path)
    told = []
    again = finetune(
        make_module(), series, settings(), state=tmp_path, on_step=lambda point, _total: told.append(point)
    )
    assert told == []
    assert_same(first, again)


def test_the_state_of_another_run_is_refused(make_module, series, tmp_path):
    """Other settings, series or weights: the error says which file to delete."""
    finetune(make_module(), series, settings(max_steps=1), state=tmp_path)
    with pytest.raises(ConfigError, match=r"state\.pt is the state of a fine-tuning with other settings"):
        finetune(make_module(), series, settings(max_steps=2), state=tmp_path)


def test_a_damaged_state_is_refused(make_module, series, tmp_path):
    """The error names the file and the mend."""
    (tmp_path / "state.pt").write_bytes(b"half a")
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged .* delete it"):
        finetune(make_module(), series, settings(max_steps=1), state=tmp_path)
