"""What every block of the job file has in common."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Level = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]


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
