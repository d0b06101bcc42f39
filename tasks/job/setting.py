"""What every block of the job file has in common."""

from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator


def _is_a_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"{value!r} is no time zone; write a name such as UTC or Europe/Berlin"
        raise ValueError(msg) from error
    return value


Level = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
TimeZone = Annotated[str, AfterValidator(_is_a_zone)]


class Setting(BaseModel):
    """Base of every block: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # it may be a password

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        asked = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and asked is not bool:  # would count as 1 or 0
            msg = f"{str(value).lower()} is no value here; quote yes, no, on and off to mean text"
            raise ValueError(msg)
        return value
