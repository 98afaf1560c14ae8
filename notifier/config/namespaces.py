"""What a namespace may set, in a table ``[namespaces.NAME]``."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from notifier.channels import Namespace
from notifier.config.values import DURATION, Who, refuse_bool

_DAY = 86400.0


class NamespaceSettings(BaseModel):
    """What a namespace does differently from the node as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    history_size: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    history_ttl: Annotated[float | None, DURATION, Field(gt=0, le=30 * _DAY)] = None
    presence: bool | None = None
    who_may_publish: Who | None = None
    who_may_subscribe: Who | None = None
    who_may_read_history: Who | None = None
    who_may_see_presence: Who | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        return refuse_bool(value, cls.model_fields[info.field_name or ""])

    def over(self, default: Namespace) -> Namespace:
        """The namespace: what it does not set itself is as on the node."""
        return Namespace(
            history_size=default.history_size if self.history_size is None else self.history_size,
            history_ttl=default.history_ttl if self.history_ttl is None else self.history_ttl,
            presence=default.presence if self.presence is None else self.presence,
        )
