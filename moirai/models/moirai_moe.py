"""Moirai-MoE: causal encoder with experts and a distribution head (specification, section 7)."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from moirai.config import HEAD_DIM, MoiraiMoEConfig
from moirai.layers.attention import AttentionPattern
from moirai.layers.cache import KeyValueCache
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
        self,
        tokens: PackedTokens,
        patch_size: int | Int[Tensor, "batch seq"],
        scaling: Scaling,
        *,
        positions: Int[Tensor, "chosen"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch kept dim"]:
        """Encode tokens whose statistics are known; a cache may hold those before them."""
        scaled, sizes = scaling.apply(tokens.target), self.sizes(patch_size)
        features = self.feat_proj(functional.silu(self.in_proj(scaled, sizes)), sizes)
        embedded = features + self.res_proj(scaled, sizes)
        ids = (tokens.sample_id, tokens.time_id, tokens.variate_id)
        pattern = AttentionPattern.causal(*ids, head_dim=HEAD_DIM, cache=cache)
        return self.encoder(embedded, pattern, positions=positions, cache=cache)
