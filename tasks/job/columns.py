"""What the columns of the source are: the block `columns`."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.job.setting import Setting

PANEL_NAMES = ("item_id", "timestamp", "source_row")  # those of tasks/panel.py, which needs pandas
Part = Literal["year", "quarter", "month", "week", "day", "hour", "minute", "second"]


class Columns(Setting):
    """What the columns of the source are; names are those of the source (or those that its layout makes)."""

    timestamp: str | list[str] | dict[Part, str] = Field(
        description="column with the time stamps; several: their texts joined by a space (date, time), or parts "
        "{year: …, month: …, day: …, hour: …} with the column of each"
    )
    target: list[str] = Field(min_length=1, description="columns to forecast; each is forecast as a series of its own")
    item_id: str | list[str] | None = Field(
        None,
        description="column that tells the series apart, or several that do so together; null: one series",
    )
    known: list[str] = Field(
        [], description="covariates known in advance (price, promotion, holiday): the model sees them for the horizon"
    )
    past: list[str] = Field([], description="covariates that the model sees up to the origin (measured weather)")
    static: list[str] = Field(
        [],
        description="columns that are the same in all rows of a series (region, size): kept with the series and "
        "recorded with the model; Moirai has no input for them",
    )
    categorical: list[str] = Field(
        [], description="those of known and past that hold names, not numbers; the model sees one indicator per name"
    )
    checked: list[str] = Field(
        [],
        description="further numeric columns that are validated, cleaned and stored with the "
        "observations, but not shown to the model",
    )

    @model_validator(mode="after")
    def _each_column_has_one_role(self) -> Self:
        named = [*self.timestamp_columns, *self.item_columns, *self.values, *self.static]
        twice = sorted({name for name in named if named.count(name) > 1} - self._ids_as_static)
        if twice:
            msg = f"column {twice[0]!r} has two roles; name each column once"
            raise ValueError(msg)
        taken = [name for name in self.values if name in PANEL_NAMES]
        if taken:
            msg = f"a value column cannot be called {taken[0]!r}, panels use it; rename it in the source"
            raise ValueError(msg)
        alone = [name for name in self.categorical if name not in self.covariates]
        if alone:
            msg = f"categorical names {alone[0]!r}, which is neither in known nor in past"
            raise ValueError(msg)
        return self

    @property
    def _ids_as_static(self) -> set[str]:
        """Columns that tell series apart are the same throughout each: they may be static as well."""
        return set(self.item_columns) & set(self.static)

    @property
    def timestamp_columns(self) -> list[str]:
        """Columns that the time stamps are made of."""
        if isinstance(self.timestamp, str):
            return [self.timestamp]
        return list(self.timestamp.values() if isinstance(self.timestamp, dict) else self.timestamp)

    @property
    def item_columns(self) -> list[str]:
        """Columns that tell the series apart; none where the source is one series."""
        return [self.item_id] if isinstance(self.item_id, str) else list(self.item_id or [])

    @property
    def covariates(self) -> list[str]:
        """What the model sees beside the targets: known ones first, then past ones."""
        return [*self.known, *self.past]

    @property
    def values(self) -> list[str]:
        """Value columns of a panel: targets, known and past covariates, checked ones."""
        return [*self.target, *self.covariates, *self.checked]

    @property
    def numeric(self) -> list[str]:
        """Value columns that hold numbers in the source; the other ones hold names."""
        return self.without_names(self.values)

    def without_names(self, names: Iterable[str]) -> list[str]:
        """Those of some value columns that are not categorical."""
        return [name for name in names if name not in self.categorical]
