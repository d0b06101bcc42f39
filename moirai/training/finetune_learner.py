"""The module that a run of fine-tuning trains: judged on held-out windows, able to go on from a state.

In: what `MoiraiFinetuneModule` takes, and how held-out windows are forecast. Out: with every validation the weighted
quantile loss of those windows, of all processes together. Fails as `MoiraiFinetuneModule` does.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from moirai.forecasting.families import DEFAULT_LEVELS, Choices, View, family_of
from moirai.forecasting.masked_decoding import zero_filled
from moirai.losses import pinball
from moirai.models.pretrained import PretrainedModule
from moirai.training.finetune_module import MoiraiFinetuneModule
from moirai.training.holdout import HeldOutBatch


class FinetuneLearner(MoiraiFinetuneModule):
    """`MoiraiFinetuneModule` with validation.

    Args:
        module: trained in place.
        choices: how held-out windows are forecast.
        options: of `MoiraiFinetuneModule`.
    """

    def __init__(self, module: PretrainedModule, choices: Choices, **options: Any) -> None:
        super().__init__(module, **options)
        self.choices = choices
        self._optimizer_state: dict[int, Any] | None = None
        self._sums = torch.zeros(2, dtype=torch.float64)

    def load_trained(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights in the place of the trained ones."""
        with torch.no_grad():
            for name, parameter in self.trained_parameters():
                parameter.copy_(weights[name])

    def go_on(self, *, step: int, weights: Mapping[str, Tensor], optimizer: dict[int, Any]) -> None:
        """Take up a run that was stopped after `step` steps."""
        self.load_trained(weights)
        self.first_step, self._optimizer_state = step, optimizer

    def configure_optimizers(self) -> Any:
        """Those of the base, with the state of a run that goes on."""
        configured = super().configure_optimizers()
        if self._optimizer_state is not None:
            optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": self._optimizer_state, "param_groups": groups})
        return configured

    def on_validation_epoch_start(self) -> None:
        """Start the sums over."""
        self._sums.zero_()

    def validation_step(self, batch: HeldOutBatch, batch_idx: int) -> None:
        """Add the quantile losses and actual values of some held-out windows, forecast as later in use."""
        family = family_of(self.module, self.choices)
        horizon = batch.actual.shape[1]
        inputs = zero_filled(batch.inputs) if family.fills_zero else batch.inputs
        view = View(inputs.past_target.shape[1], horizon)
        asked = family.trained_levels or DEFAULT_LEVELS
        with parametrize.cached():
            quantiles = family.predict(inputs, view, asked).quantiles[..., 0].float()
        levels = torch.tensor(asked, device=quantiles.device)
        is_known = ~torch.isnan(batch.actual)
        loss = 2 * pinball(quantiles, batch.actual.nan_to_num(), levels)
        sums = torch.stack([loss[is_known].double().sum(), batch.actual[is_known].double().abs().sum()])
        self._sums += sums.cpu()

    def on_validation_epoch_end(self) -> None:
        """Weighted quantile loss over all held-out windows, of all processes together."""
        sums = self.trainer.strategy.reduce(self._sums.to(self.device, torch.float64), reduce_op="sum")
        loss, scale = sums.tolist()
        self.log("validation_loss", loss / scale if scale else loss, sync_dist=True)  # of equal values
