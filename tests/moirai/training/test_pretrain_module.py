"""The Lightning module of pretraining: what it stores, what it refuses, how it steps."""

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from moirai.config import Moirai2Config
from moirai.errors import ConfigError, DataError
from moirai.hub import MODULES
from moirai.training.batch import TrainingBatch
from moirai.training.objectives import LOSSES
from moirai.training.optimizer import Together
from moirai.training.pretrain_module import MoiraiPretrainModule, check_values
from moirai.training.quiet_lightning import quiet_lightning

FAMILIES = ("moirai", "moirai_moe", "moirai2")


def fit(learner, data, folder, **settings):
    """Train with a trainer of one's own, and save."""
    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )
        trainer.fit(learner, DataLoader(data, batch_size=None))
        trainer.save_checkpoint(folder / "one.ckpt")
    return folder / "one.ckpt"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_loads_without_unpickling(make_config, waves, tmp_path, family):
    """A user's trainer trains it; its checkpoint holds plain values, and brings back settings and weights."""
    learner = MoiraiPretrainModule(make_config(family).to_dict(), learning_rate=1e-2, warmup=0, max_steps=3)
    path = fit(learner, waves(3), tmp_path, gradient_clip_val=0.5)
    saved = torch.load(path, weights_only=True)
    assert saved["hyper_parameters"]["loss"] == ("quantile" if family == "moirai2" else "nll")
    loaded = MoiraiPretrainModule.load_from_checkpoint(path, weights_only=True)
    assert loaded.hparams == learner.hparams
    assert loaded.module.config == learner.module.config
    ours = learner.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in loaded.state_dict().items())
    assert learner.gradient_norm > 0


def test_a_loss_is_given_by_name_or_as_an_object(make_config):
    """Both store the name; one of another family is refused at once."""
    config = make_config("moirai2").to_dict()
    by_name, by_object = (MoiraiPretrainModule(config, loss=loss) for loss in ("mae", LOSSES["mae"]))
    assert by_name.hparams["loss"] == by_object.hparams["loss"] == "mae"
    assert by_name.loss is by_object.loss
    with pytest.raises(ConfigError, match=r"loss 'nll' is none of Moirai 2\.0"):
        MoiraiPretrainModule(config, loss="nll")


def test_the_module_is_trained_in_place(make_config, waves, tmp_path):
    """A module that is handed in is the one that is trained."""
    module = MODULES[Moirai2Config](make_config("moirai2"))
    before = module.in_proj.hidden_layer.weight.clone()
    fit(MoiraiPretrainModule(module, warmup=0, max_steps=4), waves(2), tmp_path)
    assert not torch.equal(module.in_proj.hidden_layer.weight, before)


def test_optimiser_and_schedule_are_those_asked_for(make_config):
    """Names choose the optimiser and how its rate moves."""
    learner = MoiraiPretrainModule(
        make_config("moirai2").to_dict(),
        optimizer="muon",
        schedule="linear",
        learning_rate=0.1,
        warmup=2,
        max_steps=4,
        betas=(0.8, 0.9),
    )
    made = learner.configure_optimizers()
    assert isinstance(made["optimizer"], Together)
    assert [group["betas"] for group in made["optimizer"].param_groups[1:]] == [(0.8, 0.9)] * 2
    rates = []
    for _ in range(5):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([0, 0.05, 0.1, 0.05, 0])
    assert made["lr_scheduler"]["interval"] == "step"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_name_their_items(make_sample, pack, value):
    """The items that hold such values are named, and no others."""
    row = pack(make_sample(0, variates=1), make_sample(1, variates=1), make_sample(2, variates=1), padding=1)
    row.target[0, 6, 1] = value
    row.target[0, 12, 3] = value
    batch = TrainingBatch(tokens=row, patch_size=4, item_ids=(("north", "south", "west"),))
    with pytest.raises(DataError) as caught:
        check_values(batch)
    assert str(caught.value).splitlines() == [
        "a training batch holds values that are not finite, of south, west; mark what is missing as not observed"
    ]
    with pytest.raises(DataError, match="of sample 2 in row 0, sample 3 in row 0;"):
        check_values(TrainingBatch(tokens=row, patch_size=4))


def test_finite_values_pass(make_sample):
    """Nothing is said of values that are finite."""
    check_values(TrainingBatch(tokens=make_sample(0), patch_size=4))
