"""Moirai 2.0: causal encoder with a quantile head (specification, section 8)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moirai.config import HEAD_DIM, Moirai2Config
from moirai.layers.attention import AttentionPattern
from moirai.layers.cache import KeyValueCache
from moirai.layers.encoder import Encoder
from moirai.layers.patch_projection import ResidualBlock
from moirai.layers.scaler import Scaling
from moirai.models.pretrained import PretrainedModule
from moirai.tokens import PackedTokens


class Moirai2Module(PretrainedModule):
    """The network: packed tokens in, quantiles of the following patches out.

    Entry `[k, q]` of a token describes level `quantile_levels[q]` of the patch `k + 1` steps later
    of the same variate. Quantiles may cross; they are the network's own values.
    """

    config: Moirai2Config

    def __init__(self, config: Moirai2Config) -> None:
        super().__init__()
        self.config = config
        outputs = config.num_predict_token * config.num_quantiles * config.patch_size
        self.in_proj = ResidualBlock(2 * config.patch_size, config.d_model, config.d_model)
        self.encoder = Encoder(
            config.d_model,
            config.num_layers,
            config.num_heads,
            config.d_ff,
            attn_dropout=float(config.attn_dropout_p),
            dropout=float(config.dropout_p),
        )
        self.out_proj = ResidualBlock(config.d_model, config.d_model, outputs)

    def forward(self, tokens: PackedTokens) -> Float[Tensor, "batch seq token quantile patch"]:
        """Quantiles of the next patches of every token, in data units."""
        scaling = self.scaling(tokens)
        scaled = self.encode_scaled(tokens, scaling)
        predicted = self.head(scaled)
        return predicted * scaling.scale[..., None, None] + scaling.loc[..., None, None]

    def scaling(self, tokens: PackedTokens) -> Scaling:
        """Statistics of the observed values outside the forecast window."""
        return Scaling.of(tokens, enabled=self.config.scaling)

    def encode_scaled(
        self,
        tokens: PackedTokens,
        scaling: Scaling,
        *,
        positions: Int[Tensor, "chosen"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "batch kept dim"]:
        """Encode tokens whose statistics are known.

        Args:
            tokens: rows of one or more samples.
            scaling: location and scale of every token.
            positions: tokens, the same of every row, that are wanted; all if not given.
            cache: holds the tokens before these, and takes these.
        """
        scaled = scaling.apply(tokens.target)
        embedded = self.in_proj(torch.cat((scaled, tokens.observed_mask.to(scaled.dtype)), dim=-1))
        ids = (tokens.sample_id, tokens.time_id, tokens.variate_id)
        pattern = AttentionPattern.causal(*ids, head_dim=HEAD_DIM, cache=cache)
        return self.encoder(embedded, pattern, positions=positions, cache=cache)

    def head(self, encoded: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch token quantile patch"]:
        """Quantiles in scaled space."""
        config = self.config
        return self.out_proj(encoded).unflatten(-1, (config.num_predict_token, config.num_quantiles, config.patch_size))
