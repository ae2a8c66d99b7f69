"""The base of settings and of records: values that do not change, without fields that nobody has declared."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A pydantic model that is frozen and forbids unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
