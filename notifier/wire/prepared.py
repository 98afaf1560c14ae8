"""Encode once: what a feed holds, with its bytes in each wire format that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from notifier.notification import Gap, Publication

_GAP_BYTES = 400


@dataclass(frozen=True, slots=True, eq=False)
class Format:
    """A wire format: how things look on one kind of connection.

    :param encode: the bytes of a publication or a gap, the same for every connection of the kind.
    :param say: the bytes of a message of the server's own, given its type and its JSON.
    :param tells_gaps: whether a gap can be told in-band; if not, it ends the connection.
    """

    name: str
    encode: Callable[[Publication | Gap], bytes]
    say: Callable[[str, bytes], bytes]
    tells_gaps: bool = True


class Prepared:
    """A publication (or a gap) and its bytes, made when first needed and then shared by all."""

    __slots__ = ("_encoded", "item")

    def __init__(self, item: Publication | Gap) -> None:
        self.item = item
        self._encoded: dict[Format, bytes] = {}

    @property
    def size(self) -> int:
        """Bytes it is reckoned at where memory is bounded: the item, and one encoding of it."""
        return 2 * self.item.size if isinstance(self.item, Publication) else _GAP_BYTES

    def encoded(self, format: Format) -> bytes:
        """The bytes in that format; the very same object at every call."""
        try:
            return self._encoded[format]
        except KeyError:
            data = self._encoded[format] = format.encode(self.item)
            return data


class Tailor(Protocol):
    """Makes bytes of one connection's own from those that all share."""

    def fit(self, items: Sequence[Prepared], format: Format) -> list[bytes]:
        """The frames of the items, or of the first of them, one at least; one may be empty."""

    def sent(self, items: Sequence[Prepared]) -> None:
        """These are on their way to the connection."""
