"""The Lightning module of fine-tuning: what it takes, what it stores, what it refuses."""

from dataclasses import replace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from moirai import MoiraiFinetuneModule, MoiraiModule
from moirai.errors import ConfigError, DataError
from moirai.training.batch import TrainingBatch
from moirai.training.objectives import LOSSES
from moirai.training.window_layout import window_shape
from moirai.training.windows import WindowSampler


def windows(*, is_causal=False, series=None):
    """Batches of windows of two named series, patches of four steps."""
    rng = np.random.default_rng(0)
    series = [rng.normal(5, 1, 80), rng.normal(50, 10, 60)] if series is None else series
    shape = window_shape(context=24, horizon=6, patch_size=4, is_causal=is_causal)
    return WindowSampler(series, shape, batch_size=6, seed=0, is_causal=is_causal, item_ids=["calm", "wild"])


def loader(dataset, batches=3):
    """A loader of the first batches."""
    return DataLoader(dataset, batch_size=None, sampler=range(batches))


@pytest.fixture
def trainer(tmp_path):
    """A trainer of three steps that keeps a checkpoint."""
    return pl.Trainer(
        default_root_dir=tmp_path,
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture
def folder(make_distribution_module, tmp_path):
    """A checkpoint of Moirai 1.x."""
    return make_distribution_module("moirai").save_pretrained(tmp_path / "model")


pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


@pytest.mark.parametrize("loss", ["nll", "default", LOSSES["nll"]])
def test_three_lines_fine_tune_a_checkpoint(trainer, folder, loss):
    """A model, a loss object or its name, a loader: the weights move, and the name of the loss is stored."""
    dataloader = loader(windows())
    learner = MoiraiFinetuneModule(MoiraiModule.from_pretrained(folder), loss, lr=1e-3)
    before = learner.module.in_proj.weight.detach().clone()
    trainer.fit(learner, dataloader)
    assert trainer.global_step == 3
    assert not torch.equal(learner.module.in_proj.weight, before)
    assert learner.hparams["loss_fn"] == "nll"


def test_bare_tokens_are_batches_too(trainer, make_distribution_module):
    """Packed tokens whose patches are as wide as one of the model's sizes need no further word."""
    batches = [windows()[n].tokens for n in range(2)]
    trainer.fit(MoiraiFinetuneModule(make_distribution_module("moirai"), "nll"), DataLoader(batches, batch_size=None))
    assert trainer.global_step == 2


def test_tokens_of_unknown_size_are_refused(trainer, make_distribution_module):
    """The error says the width and the model's sizes."""
    tokens = windows()[0].tokens
    narrow = tokens.replace(target=tokens.target[..., :3], observed_mask=tokens.observed_mask[..., :3])
    with pytest.raises(ConfigError, match=r"patches of 3 steps are none of the model's sizes \(4, 6, 9\)"):
        trainer.fit(MoiraiFinetuneModule(make_distribution_module("moirai")), DataLoader([narrow], batch_size=None))


def test_a_lightning_checkpoint_is_plain(trainer, folder, tmp_path):
    """It loads with weights_only, holds the name of the loss and plain numbers, and the module comes back from it."""
    learner = MoiraiFinetuneModule(MoiraiModule.from_pretrained(folder), LOSSES["nll"], lr=1e-3, method="lora")
    trainer.fit(learner, loader(windows()))
    path = tmp_path / "run.ckpt"
    trainer.save_checkpoint(path)
    saved = torch.load(path, weights_only=True)
    assert saved["hyper_parameters"] == {
        "loss_fn": "nll",
        "lr": 1e-3,
        "method": "lora",
        "lora_rank": learner.hparams["lora_rank"],
        "max_steps": None,
        "weight_decay": 0.1,
    }
    module = MoiraiModule.from_pretrained(folder)
    loaded = MoiraiFinetuneModule.load_from_checkpoint(path, module=module, weights_only=True)
    assert all(tensor.equal(loaded.state_dict()[name]) for name, tensor in learner.state_dict().items())


class Doubled:
    """A loss of one's own."""

    name = "doubled"

    def __call__(self, module, batch):
        """Twice the likelihood."""
        return 2 * LOSSES["nll"](module, batch)


def test_a_loss_of_ones_own_is_used_and_named(make_distribution_module):
    """An object that knows its name is called with module and batch."""
    module, batch = make_distribution_module("moirai"), windows()[0]
    learner = MoiraiFinetuneModule(module, Doubled())
    learner.log = lambda *_args, **_options: None  # there is no trainer
    assert learner.hparams["loss_fn"] == "doubled"
    expected = 2 * LOSSES["nll"](module, batch).detach()
    torch.testing.assert_close(learner.training_step(batch, 0).detach(), expected)


class Nameless(Doubled):
    """A loss that has forgotten its name."""

    name = None


@pytest.mark.parametrize(
    ("loss", "message"),
    [("quantile", "'quantile' is none of"), (Nameless(), "loss_fn must be a name or an object with a name")],
)
def test_losses_that_do_not_fit_are_refused(make_distribution_module, loss, message):
    """A loss of another family, or one without a name."""
    with pytest.raises(ConfigError, match=message):
        MoiraiFinetuneModule(make_distribution_module("moirai"), loss)


def test_a_loss_that_is_not_finite_names_the_series_at_fault(trainer, make_distribution_module):
    """Of a batch with a sound and an unsound series the error names the unsound one."""
    batch = windows()[0]
    rows = [n for n, (item,) in enumerate(batch.item_ids) if item == "wild"]
    assert 0 < len(rows) < len(batch.item_ids)
    target = batch.tokens.target.clone()
    target[rows, 0, 0] = float("nan")
    broken = replace(batch, tokens=batch.tokens.replace(target=target))
    with pytest.raises(DataError, match=r"the loss of training step 1 is nan \(series 'wild'\); .*learning_rate"):
        trainer.fit(MoiraiFinetuneModule(make_distribution_module("moirai")), DataLoader([broken], batch_size=None))


class Steep(Doubled):
    """A sound loss without a sound gradient."""

    def __call__(self, module, batch):
        """Zero under a root."""
        return (0 * LOSSES["nll"](module, batch)).abs().sqrt()


def test_a_gradient_that_is_not_finite_is_never_stepped_along(trainer, make_distribution_module):
    """The error names the series of the batch, and the weights stay."""
    module = make_distribution_module("moirai")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(DataError, match=r"the gradient of training step 1 is nan \(series '\w+', '\w+'\)"):
        trainer.fit(MoiraiFinetuneModule(module, Steep()), loader(windows()))
    assert all(tensor.equal(before[name]) for name, tensor in module.state_dict().items())


def test_a_batch_moves_between_devices_as_it_is():
    """Its fields stay what they were."""
    batch = windows()[0]
    moved = batch.to("cpu")
    assert isinstance(moved, TrainingBatch)
    assert moved.item_ids == batch.item_ids
    assert torch.equal(moved.tokens.target, batch.tokens.target)
