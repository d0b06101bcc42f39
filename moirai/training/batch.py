"""What one training step looks at: packed tokens, the patch size of each, and whose series they are."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from moirai.tokens import PackedTokens


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """Rows of packed samples.

    Attributes:
        tokens: the packed samples, as forecasting lays them out.
        patch_size: of all tokens, or of each (0: padding) where samples of several sizes are packed together; then
            `tokens.target` is as wide as the largest size of the model.
        item_ids: of every row, those of its samples in the order of `sample_id`; empty: not known.
        target_tokens: tokens at the start of every row that hold targets, those behind them hold covariates and are
            only looked at; None: all.
    """

    tokens: PackedTokens
    patch_size: int | Int[Tensor, "batch seq"]
    item_ids: tuple[tuple[str, ...], ...] = ()
    target_tokens: int | None = None

    def to(self, device: torch.device | str) -> "TrainingBatch":
        """The same batch on a device."""
        size = self.patch_size if isinstance(self.patch_size, int) else self.patch_size.to(device)
        return replace(self, tokens=self.tokens.to(device), patch_size=size)

    @property
    def fill(self) -> float:
        """Share of the tokens that are no padding."""
        return float((self.tokens.sample_id > 0).float().mean())
