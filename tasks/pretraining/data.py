"""What the network is shown: the block `data`, with a list of sources."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError, field_validator

from tasks.job.problems import explain
from tasks.job.setting import Positive, Setting

Choice = Literal["proportional", "uniform", "index"]
CHOICE = "items drawn by their length (proportional), all alike (uniform), or one after the other (index)"
Share = Field(0.0, ge=0, lt=1, description="share at the end of every series that is never read")


class Origin(Setting):
    """What every source has in common."""

    kind: str
    weight: float = Field(1.0, ge=0, description="samples drawn from it, relative to the other sources")


class Synthetic(Origin):
    """Series made on the way, without any file."""

    kind: Literal["synthetic"] = "synthetic"
    name: str = Field("synthetic", description="as messages call the source")
    lengths: list[Positive] | None = Field(
        None, description="lengths that occur, in steps, equally often; null: 15 lengths from 64 to 8192"
    )
    weights: list[float] | None = Field(
        None, description="how often each length is drawn, relative to the others; null: equally often"
    )


class Panel(Origin):
    """A panel in Parquet, read in pieces: item_id, timestamp and value columns, sorted."""

    kind: Literal["panel"] = "panel"
    path: str = Field(description="file, or folder of files")
    targets: list[str] | None = Field(None, description="value columns that are predicted; null: all of numbers")
    past: list[str] = Field([], description="value columns that are known up to the origin only")
    freq: str | None = Field(None, description="frequency of the panel; null: any patch size suits")
    end_share: float = Share
    until: str | None = Field(None, description="rows at and after this moment are never read")
    choice: Choice = Field("proportional", description=CHOICE)
    name: str = Field("panel", description="as messages call the source")


class Lotsa(Origin):
    """A data set of LOTSA as published: Arrow files with item_id, start, freq and target.

    `python -m moirai.training.sources.synthetic_store` writes synthetic series in that form.
    """

    kind: Literal["lotsa"] = "lotsa"
    path: str = Field(description="folder of the data set")
    items: Literal["stretches", "whole", "stacked"] = Field(
        "stretches",
        description="a sample is a stretch of a series, a whole series where it fits in a row, or a stretch of several "
        "series stacked as variates",
    )
    end_share: float = Share
    choice: Choice = Field("proportional", description=CHOICE)
    name: str | None = Field(None, description="as messages call the source; null: the folder's name")


class Mixed(Origin):
    """Weighted sums of series of another source."""

    kind: Literal["mixed"] = "mixed"
    source: SerializeAsAny[Origin] = Field(description="of the series: a source with its kind")
    most: Positive = Field(3, description="most series in a sum; 1 up to it are equally likely")
    concentration: float = Field(1.5, gt=0, description="evenness of the weights; larger: more even")
    name: str = Field("mixed", description="as messages call the source")

    @field_validator("source", mode="before")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        return _known(value)


KINDS: dict[str, type[Origin]] = {
    "synthetic": Synthetic,
    "panel": Panel,
    "lotsa": Lotsa,
    "mixed": Mixed,
}


class Data(Setting):
    """Packed batches from a weighted mixture of sources."""

    rows: Positive = Field(32, description="rows of a batch of one process, each of max_seq_len tokens")
    sources: list[SerializeAsAny[Origin]] = Field(
        [Synthetic()], min_length=1, description=f"what is drawn from; each with its kind: {', '.join(KINDS)}"
    )
    predicted_share: tuple[float, float] | None = Field(
        None,
        description="smallest and largest share of a sample that is predicted; null: 0.15 to 0.5 for moirai, 0.1 to "
        "0.7 for the others",
    )
    min_patches: Positive = Field(2, description="fewest patches of a sample")
    max_dim: Positive = Field(128, description="most variates of a sample")
    seed: int | None = Field(None, ge=0, description="seed of the batches; null: run.seed")

    @field_validator("sources", mode="before")
    @classmethod
    def _are_known(cls, value: Any) -> Any:
        return (
            [_known(one, f"source {place + 1}") for place, one in enumerate(value)]
            if isinstance(value, list)
            else value
        )

    @field_validator("predicted_share")
    @classmethod
    def _rises(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] <= value[1] < 1:
            msg = f"{list(value)} are not two rising numbers inside (0, 1)"
            raise ValueError(msg)
        return value


def _known(given: Any, place: str = "it") -> Any:
    """The settings of one source, or a ValueError that says where it stands."""
    if not isinstance(given, dict):
        return given
    kind = given.get("kind")
    if kind not in KINDS:
        msg = f"{place}: kind must be one of {', '.join(KINDS)}, not {kind!r}"
        raise ValueError(msg)
    try:
        return KINDS[kind].model_validate(given)
    except ValidationError as error:
        msg = f"{place} ({kind}): {explain(error, KINDS[kind])}"
        raise ValueError(msg) from error


def plain_source(source: Origin, resolve: Callable[[str], Path]) -> dict[str, Any]:
    """What `moirai/training/plain_run.py` takes of a source; paths are resolved."""
    plain = source.model_dump(mode="json", exclude_none=True)
    if isinstance(source, Mixed):
        plain["source"] = plain_source(source.source, resolve)
        del plain["source"]["weight"]
    if "path" in plain:
        plain["path"] = str(resolve(plain["path"]))
    if isinstance(source, Lotsa):
        items = plain.pop("items")
        plain |= {"whole": items == "whole", "stacked": items == "stacked"}
    return plain
