"""Which channels a grant is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from notifier.channels import Pattern, check_name, is_pattern


@dataclass(frozen=True, slots=True)
class Reach:
    """Channels, by name and by pattern. Made by :meth:`of`.

    :param names: of single channels.
    :param prefixes: of the patterns whose only ``*`` is their end, without it.
    :param patterns: the others.
    """

    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    patterns: tuple[Pattern, ...] = ()

    @classmethod
    def of(cls, channels: Iterable[object]) -> Reach:
        """The reach of these names and patterns; that of none covers nothing.

        :raises BadChannel: where one is neither.
        """
        texts = sorted({check_name(channel) for channel in channels})
        patterns = [Pattern(text) for text in texts if is_pattern(text)]
        return cls(
            frozenset(text for text in texts if not is_pattern(text)),
            tuple(pattern.prefix for pattern in patterns if _ends_open(pattern)),
            tuple(pattern for pattern in patterns if not _ends_open(pattern)),
        )

    def covers(self, channel: str) -> bool:
        """Whether all of it is within reach, be it a name or a pattern.

        A pattern is compared as if its ``*`` were a letter like any other. No name we were made of
        has a ``*``, so each ``*`` of the pattern falls to one of ours, and so does whatever it may
        stand for. What only two of ours cover together is not covered.
        """
        # Most grants are prefixes, and one user's are hardly ever another's: nothing is compiled
        # for them, and no cache is emptied by them.
        return (
            channel in self.names
            or channel.startswith(self.prefixes)
            or any(pattern.matches(channel) for pattern in self.patterns)
        )

    def __bool__(self) -> bool:
        return bool(self.names or self.prefixes or self.patterns)

    def texts(self) -> list[str]:
        """The names and patterns, sorted."""
        patterns = [f"{prefix}*" for prefix in self.prefixes] + [p.text for p in self.patterns]
        return sorted([*self.names, *patterns])

    def __str__(self) -> str:
        return ", ".join(self.texts())


def _ends_open(pattern: Pattern) -> bool:
    return pattern.text.find("*") == len(pattern.text) - 1
