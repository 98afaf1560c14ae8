"""Values of which there is one for every publication."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A slotted dataclass that nobody changes.

    mypy sees to that, and nothing is paid for it at run time, where ``frozen=True`` makes a new one
    cost two to three times as much (ADR 0009).
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
