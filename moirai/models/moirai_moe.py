"""Moirai-MoE: causal encoder with experts and a distribution head (specification, section 7)."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from moirai.config import HEAD_DIM, MoiraiMoEConfig
from moirai.layers.attention import AttentionPattern
from moirai.layers.encoder import SparseEncoder
from moirai.layers.multi_size import MultiSizeFeature, MultiSizeInput
from moirai.layers.scaler import Scaling
from moirai.models.distribution_module import DistributionModule
from moirai.tokens import PackedTokens


class MoiraiMoEModule(DistributionModule):
    """The network: the distribution at a token is that of the next patch of its variate.

    Tokens to be predicted enter with the values they hold; no token sees a later one.
    """

    config: MoiraiMoEConfig

    def __init__(self, config: MoiraiMoEConfig) -> None:
        super().__init__(config)
        self.in_proj = MultiSizeInput(config.patch_sizes, config.d_model)
        self.res_proj = MultiSizeInput(config.patch_sizes, config.d_model)
        self.feat_proj = MultiSizeFeature(config.patch_sizes, config.d_model)
        self.encoder = SparseEncoder(
            config.d_model,
            config.num_layers,
            config.num_heads,
            config.d_ff,
            attn_dropout=float(config.attn_dropout_p),
            dropout=float(config.dropout_p),
        )

    def encode(
        self, tokens: PackedTokens, patch_size: int | Int[Tensor, "batch seq"], scaling: Scaling
    ) -> Float[Tensor, "batch seq dim"]:
        """Encode tokens whose statistics are known."""
        scaled, sizes = scaling.apply(tokens.target), self.sizes(patch_size)
        features = self.feat_proj(functional.silu(self.in_proj(scaled, sizes)), sizes)
        embedded = features + self.res_proj(scaled, sizes)
        pattern = AttentionPattern.causal(tokens.sample_id, tokens.time_id, tokens.variate_id, head_dim=HEAD_DIM)
        return self.encoder(embedded, pattern)
