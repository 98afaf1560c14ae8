"""Channel names, patterns of them, and the namespaces they belong to.

A name is made of letters and digits of any script (Unicode's categories L, M and N) and
``_ . ~ - @ =``, in parts separated by ``:``; it is in Unicode's NFC form and at most 200 bytes of
UTF-8 long, or less where the settings say so. The part before the first ``:`` names the channel's
namespace, if there is one of that name.

A pattern is written like a name, with ``*`` where any characters may stand, ``:`` among them, or
none: ``builds:*``, ``*:errors``, ``*``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from notifier.errors import BadChannel, ChannelTooLong

MAX_CHANNEL_BYTES = 200
_ALLOWED = frozenset("_.~-@=*")


def check_channel(name: object, *, longest: int = MAX_CHANNEL_BYTES) -> str:
    """The name itself, when it is one.

    :param longest: bytes; at most :data:`MAX_CHANNEL_BYTES`.
    :raises BadChannel: saying which rule it breaks.
    :raises ChannelTooLong:
    """
    if name is None:
        raise BadChannel("Name the channel.", field="channel")
    if not isinstance(name, str):
        raise BadChannel("A channel name must be a string.", field="channel")
    _check_size(name, longest)
    problem = _problem(name)
    if problem is not None:
        raise BadChannel(f"{name[:60]!r} is not a channel name: {problem}", field="channel")
    return name


# Checked on every publish, so remembered; bounded, because names come from strangers.
@lru_cache(maxsize=4096)
def _problem(name: str) -> str | None:
    if not name:
        return "it is empty."
    if name.startswith("$"):
        return "a leading $ is kept for the server's own channels."
    if "*" in name:
        return "* stands for many channels and is only allowed in patterns."
    return _malformed(name)


def _malformed(name: str) -> str | None:
    """What names and patterns must both be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "it holds a lone surrogate."
    if not unicodedata.is_normalized("NFC", name):
        return "it is not in Unicode's NFC form."
    for part in name.split(":"):
        if not part:
            return "it has an empty part (the parts are separated by single colons)."
        for character in part:
            # Marks belong to letters in many scripts (Devanagari, Thai).
            if character not in _ALLOWED and unicodedata.category(character)[0] not in "LMN":
                return (
                    f"{character!r} is not allowed (letters, digits and _ . ~ - @ = are, "
                    "and : between parts)."
                )
    return None


def _check_size(name: str, longest: int) -> None:
    """Before anything remembers the name: what does counts names, not bytes.

    :raises ChannelTooLong:
    """
    # A character is one byte at least; most names are ASCII, where it is one.
    if len(name) <= longest and name.isascii():
        return
    size = len(name.encode(errors="replace"))
    if size > longest:
        raise ChannelTooLong(
            f"{name[:60]!r} is not a channel name: it is {size} bytes long, {longest} are allowed "
            "(setting max_channel_name_bytes).",
            field="channel",
            limit=longest,
        )


def is_pattern(name: str) -> bool:
    """Whether it stands for many channels."""
    return "*" in name


def check_name(name: object, *, longest: int = MAX_CHANNEL_BYTES) -> str:
    """The name itself, when it is that of a channel or a pattern.

    :param longest: bytes; at most :data:`MAX_CHANNEL_BYTES`.
    :raises BadChannel: saying which rule it breaks.
    :raises ChannelTooLong:
    """
    if isinstance(name, str) and is_pattern(name):
        _check_size(name, longest)
        return Pattern.parse(name).text
    return check_channel(name, longest=longest)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Many channels, also those that don't exist yet. Made by :meth:`parse`."""

    text: str

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """:raises BadChannel: saying which rule it breaks.
        :raises ChannelTooLong:
        """
        _check_size(text, MAX_CHANNEL_BYTES)
        problem = _pattern_problem(text)
        if problem is not None:
            raise BadChannel(f"{text[:60]!r} is not a pattern: {problem}", field="channel")
        return cls(text)

    @property
    def prefix(self) -> str:
        """What every name it matches begins with."""
        return self.text.partition("*")[0]

    def matches(self, channel: str) -> bool:
        return _matcher(self.text).fullmatch(channel) is not None


def _pattern_problem(text: str) -> str | None:
    if not is_pattern(text):
        return "it has no *."
    if "**" in text:
        return "one * is enough: it stands for any number of characters."
    return _malformed(text)


@lru_cache(maxsize=4096)
def _matcher(text: str) -> re.Pattern[str]:
    """Each part is looked for from where the one before it ended, and never again: the atomic
    groups keep a hostile pattern from being tried in every way there is."""
    first, *middle, last = text.split("*")
    groups = "".join(f"(?>.*?{re.escape(part)})" for part in middle)
    return re.compile(f"{re.escape(first)}{groups}.*{re.escape(last)}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Namespace:
    """The options a group of channels shares.

    :param history_size: publications kept per channel; 0 makes the channels *ephemeral*:
        delivered live, without positions, recovery or gaps.
    :param history_ttl: seconds a publication is kept.
    :param presence: who is on a channel may be seen, and who joins and leaves.
    """

    history_size: int = 256
    history_ttl: float = 12 * 3600.0
    presence: bool = False

    @property
    def ephemeral(self) -> bool:
        return self.history_size == 0


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Which namespace a channel is in."""

    default: Namespace = field(default_factory=Namespace)
    named: Mapping[str, Namespace] = field(default_factory=dict)

    def of(self, channel: str) -> Namespace:
        """The channel's options: those of the namespace it names, else the default."""
        if not self.named:
            return self.default
        name, colon, _ = channel.partition(":")
        return self.named.get(name, self.default) if colon else self.default
