"""Moirai 2.0: causal encoder with a quantile head (specification, section 8)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moirai.config import HEAD_DIM, Moirai2Config
from moirai.layers.attention import AttentionPattern
from moirai.layers.encoder import Encoder
from moirai.layers.patch_projection import ResidualBlock
from moirai.layers.scaler import standard_scale
from moirai.tokens import PackedTokens


@dataclass(frozen=True)
class Scaling:
    """Location and scale of every token."""

    loc: Float[Tensor, "batch seq 1"]
    scale: Float[Tensor, "batch seq 1"]

    def select(self, index: Tensor) -> "Scaling":
        """The tokens at these positions of every row."""
        return Scaling(self.loc.index_select(1, index), self.scale.index_select(1, index))


class Moirai2Module(nn.Module):
    """The network: packed tokens in, quantiles of the following patches out.

    Entry `[k, q]` of a token describes level `quantile_levels[q]` of the patch `k + 1` steps later
    of the same variate. Quantiles may cross; they are the network's own values.
    """

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
        if not self.config.scaling:
            zero = torch.zeros_like(tokens.target[..., :1])
            return Scaling(zero, zero + 1)
        visible = tokens.observed_mask & ~tokens.prediction_mask[..., None]
        return Scaling(*standard_scale(tokens.target, visible, tokens.sample_id, tokens.variate_id))

    def encode_scaled(self, tokens: PackedTokens, scaling: Scaling) -> Float[Tensor, "batch seq dim"]:
        """Encode tokens whose statistics are known."""
        scaled = (tokens.target - scaling.loc) / scaling.scale
        embedded = self.in_proj(torch.cat((scaled, tokens.observed_mask.to(scaled.dtype)), dim=-1))
        pattern = AttentionPattern.causal(tokens.sample_id, tokens.time_id, tokens.variate_id, head_dim=HEAD_DIM)
        return self.encoder(embedded, pattern)

    def head(self, encoded: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch token quantile patch"]:
        """Quantiles in scaled space."""
        config = self.config
        return self.out_proj(encoded).unflatten(-1, (config.num_predict_token, config.num_quantiles, config.patch_size))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write `config.json` and `model.safetensors` in the published form."""
        from moirai.hub import save_module  # noqa: PLC0415 - hub imports this file

        return save_module(self, Path(folder))

    @classmethod
    def from_pretrained(cls, reference: str | Path) -> "Moirai2Module":
        """Load a checkpoint: `starter`, a folder, or a hub id with an optional `@revision`.

        Raises:
            CheckpointError: nothing is there, it is damaged, or it is of another architecture.
        """
        from moirai.hub import load_module, resolve  # noqa: PLC0415 - see above

        module = load_module(resolve(reference))
        assert isinstance(module, cls), "the hub returns the class that the config asks for"
        return module
