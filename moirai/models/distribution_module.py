"""What Moirai 1.x and Moirai-MoE share: several patch sizes and a distribution as output."""

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from moirai.config import MoiraiConfig, MoiraiMoEConfig
from moirai.distributions import Distribution, distribution_from_config
from moirai.layers.multi_size import TokenSizes
from moirai.layers.parameter_projection import ParameterProjection
from moirai.layers.scaler import Scaling
from moirai.models.pretrained import PretrainedModule
from moirai.tokens import PackedTokens


class DistributionModule(PretrainedModule):
    """The network: packed tokens and their patch sizes in, a distribution of every position out.

    A patch size is a number where all tokens share it, as in forecasts: then only the slabs of that
    size are computed, `target` may be as narrow as a patch, and so is the output. Or it is given
    per token (0: padding), where samples of several sizes are packed together: then `target` is as
    wide as the largest patch, and so is the output, of which nothing beyond a token's own size is
    meant to be used.
    """

    config: MoiraiConfig | MoiraiMoEConfig

    def __init__(self, config: MoiraiConfig | MoiraiMoEConfig) -> None:
        super().__init__()
        self.config = config
        self.family = distribution_from_config(config.distr_output)
        self.param_proj = ParameterProjection(config.d_model, config.patch_sizes, self.family.args)

    def forward(
        self,
        tokens: PackedTokens,
        patch_size: int | Int[Tensor, "batch seq"],
        *,
        positions: Int[Tensor, "chosen"] | None = None,
    ) -> Distribution:
        """Distribution of every position of the tokens, in data units: `[batch, seq, patch]`.

        Args:
            tokens: rows of one or more samples.
            patch_size: of all tokens, or of each.
            positions: tokens, the same of every row, whose distribution is wanted; all if not given.
        """
        scaling = self.scaling(tokens)
        encoded = self.encode(tokens, patch_size, scaling, positions=positions)
        if positions is not None:
            scaling = scaling.select(positions)
            patch_size = patch_size if isinstance(patch_size, int) else patch_size.index_select(1, positions)
        return self.distribution(encoded, patch_size, scaling)

    def scaling(self, tokens: PackedTokens) -> Scaling:
        """Statistics of the observed values outside the forecast window."""
        return Scaling.of(tokens, enabled=self.config.scaling)

    def encode(
        self,
        tokens: PackedTokens,
        patch_size: int | Int[Tensor, "batch seq"],
        scaling: Scaling,
        *,
        positions: Int[Tensor, "chosen"] | None = None,
    ) -> Float[Tensor, "batch kept dim"]:
        """Encode tokens whose statistics are known.

        Args:
            tokens: rows of one or more samples.
            patch_size: of all tokens, or of each.
            scaling: location and scale of every token.
            positions: tokens, the same of every row, that are wanted; all if not given.
        """
        raise NotImplementedError

    def head(
        self, encoded: Float[Tensor, "batch seq dim"], patch_size: int | Int[Tensor, "batch seq"]
    ) -> dict[str, Any]:
        """Raw parameters, nested as the distribution's arguments: `[batch, seq, patch, dimensionality]` each."""
        return self.param_proj(encoded, self.sizes(patch_size))

    def distribution(
        self, encoded: Float[Tensor, "batch seq dim"], patch_size: int | Int[Tensor, "batch seq"], scaling: Scaling
    ) -> Distribution:
        """Distribution of encoded tokens, in data units."""
        return self.family.distribution(self.head(encoded, patch_size), loc=scaling.loc, scale=scaling.scale)

    def sizes(self, patch_size: int | Int[Tensor, "batch seq"]) -> TokenSizes:
        """Which slab of the projections each token needs."""
        return TokenSizes.of(patch_size, self.config.patch_sizes)
