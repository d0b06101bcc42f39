"""Moirai 1.x: masked encoder with a distribution head (specification, section 6)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moirai.config import HEAD_DIM, MoiraiConfig
from moirai.layers.attention import AttentionPattern
from moirai.layers.encoder import Encoder
from moirai.layers.multi_size import MultiSizeInput
from moirai.layers.scaler import Scaling
from moirai.models.distribution_module import DistributionModule
from moirai.tokens import PackedTokens


class MoiraiModule(DistributionModule):
    """The network: tokens to be predicted are hidden, and their own distribution comes out.

    A token sees its whole sample, later tokens included.
    """

    config: MoiraiConfig

    def __init__(self, config: MoiraiConfig) -> None:
        super().__init__(config)
        self.mask_encoding = nn.Embedding(1, config.d_model)
        self.in_proj = MultiSizeInput(config.patch_sizes, config.d_model)
        self.encoder = Encoder(
            config.d_model,
            config.num_layers,
            config.num_heads,
            config.d_ff,
            attn_dropout=float(config.attn_dropout_p),
            dropout=float(config.dropout_p),
        )

    def encode(
        self,
        tokens: PackedTokens,
        patch_size: int | Int[Tensor, "batch seq"],
        scaling: Scaling,
        *,
        positions: Int[Tensor, "chosen"] | None = None,
    ) -> Float[Tensor, "batch kept dim"]:
        """Encode tokens whose statistics are known."""
        embedded = self.in_proj(scaling.apply(tokens.target), self.sizes(patch_size))
        hidden = tokens.prediction_mask[..., None]
        embedded = torch.where(hidden, self.mask_encoding.weight.to(embedded.dtype), embedded)
        pattern = AttentionPattern.same_sample(tokens.sample_id, tokens.time_id, tokens.variate_id, head_dim=HEAD_DIM)
        return self.encoder(embedded, pattern, positions=positions)
