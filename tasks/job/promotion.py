"""When a fine-tuned version may serve: the block `promotion`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tasks.job.setting import Positive, Setting

Share = Annotated[float, Field(ge=0, le=1)]
PAIR = 2  # numbers of a range


class Promotion(Setting):
    """When a fine-tuned version becomes champion: what it has to gain and must not lose, on the same windows."""

    metric: Literal["wql", "mase"] = Field("wql", description="loss that decides; lower is better")
    min_gain: float = Field(
        0.0,
        gt=-1,
        lt=1,
        description="share by which the loss has to be lower than the champion's, or the zero-shot base's where there "
        "is no champion: 0.02 is 2 %",
    )
    confidence: float = Field(0.9, ge=0.5, lt=1, description="of the interval that is shown beside every gain")
    segments: list[str] = Field([], description="static columns; each of their values is a segment")
    horizon_ranges: list[list[Positive]] = Field(
        [], description="steps of the horizon, first and last included; each range is a segment: [[1, 6], [7, 24]]"
    )
    max_loss: float = Field(
        0.05,
        ge=0,
        description="share by which the loss may be higher: in any segment than the champion's (or the base's), over "
        "all windows than those of the zero-shot base and of seasonal naive",
    )
    coverage: list[Share] | None = Field(
        [0.6, 1.0],
        description="lowest and highest share of actual values inside the central 80 % band; null: not looked at",
    )

    @field_validator("segments")
    @classmethod
    def _are_named_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            msg = f"{value} names a column twice; name each once"
            raise ValueError(msg)
        return value

    @field_validator("horizon_ranges")
    @classmethod
    def _are_ranges(cls, value: list[list[int]]) -> list[list[int]]:
        for found in value:
            if len(found) != PAIR or found[0] > found[1]:
                msg = f"{found} is no range of steps; write [first, last], such as [1, 6]"
                raise ValueError(msg)
        return value

    @field_validator("coverage")
    @classmethod
    def _is_a_range(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and (len(value) != PAIR or value[0] >= value[1]):
            msg = f"{value} is no range of shares; write [lowest, highest], such as [0.6, 1.0]"
            raise ValueError(msg)
        return value
