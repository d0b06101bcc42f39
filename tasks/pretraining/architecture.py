"""Which network is trained: the block `architecture`."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from moirai.config import AnyConfig, Moirai2Config, MoiraiConfig, MoiraiMoEConfig
from tasks.job.setting import Level, Positive, Setting

FAMILIES: dict[str, type[AnyConfig]] = {
    "moirai": MoiraiConfig,
    "moirai_moe": MoiraiMoEConfig,
    "moirai2": Moirai2Config,
}


class Architecture(Setting):
    """Family and sizes of the network."""

    family: Literal["moirai", "moirai_moe", "moirai2"] = Field(
        description="moirai (1.x: masked, a distribution, several patch sizes), moirai_moe (causal, experts, a "
        "distribution) or moirai2 (causal, quantiles of several patches at once)"
    )
    d_model: Positive = Field(description="width of a token, a multiple of 64")
    num_layers: Positive = Field(description="encoder blocks")
    d_ff: Positive | None = Field(
        None,
        description="hidden width of the feed-forward, of each expert in moirai_moe; null: 8/3 of d_model; moirai has "
        "no choice",
    )
    max_seq_len: Positive = Field(512, description="tokens of a row of a batch; forecasts may be longer")
    patch_size: Positive | None = Field(None, description="steps of a token of moirai2; null: 16")
    patch_sizes: list[Positive] | None = Field(
        None, description="steps of a token of the other families; null: 8 to 128 for moirai, 16 for moirai_moe"
    )
    num_predict_token: Positive | None = Field(None, description="patches that a token of moirai2 predicts; null: 1")
    quantile_levels: list[Level] | None = Field(None, description="levels of moirai2, rising; null: 0.1 to 0.9")
    distr_output: dict[str, Any] | None = Field(
        None, description="distribution of the other families, as config.json names it; null: the published mixture"
    )
    dropout_p: float = Field(0.0, ge=0, lt=1, description="share of outputs dropped in training")
    attn_dropout_p: float = Field(0.0, ge=0, lt=1, description="share of attention weights dropped in training")

    @model_validator(mode="after")
    def _fits_its_family(self) -> Self:
        self.config()
        return self

    def config(self) -> AnyConfig:
        """The network's configuration. Raises `ConfigError`, a ValueError."""
        given = self.model_dump(exclude={"family"}, exclude_none=True)
        if self.family == "moirai2":
            given.setdefault("patch_size", 16)
        if self.family != "moirai" and self.d_ff is None:
            given["d_ff"] = (4 * self.d_model * 2 // 3 + 7) // 8 * 8  # the rule of Moirai 1.x
        return FAMILIES[self.family].from_dict(given)
