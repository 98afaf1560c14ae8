"""Channel names and the namespaces they belong to.

A name is made of letters and digits of any script (Unicode's categories L, M and N) and
``_ . ~ - @ =``, in parts separated by ``:``; it is in Unicode's NFC form and at most 200 bytes of
UTF-8 long. The part before the first ``:`` names the channel's namespace, if there is one of that
name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from notifier.errors import BadChannel

MAX_CHANNEL_BYTES = 200
_PUNCTUATION = frozenset("_.~-@=")


def check_channel(name: object) -> str:
    """The name itself, when it is one.

    :raises BadChannel: saying which rule it breaks.
    """
    if name is None:
        raise BadChannel("Name the channel.", field="channel")
    if not isinstance(name, str):
        raise BadChannel("A channel name must be a string.", field="channel")
    if len(name) > MAX_CHANNEL_BYTES:
        # Said without _problem, which would remember the name: it counts names, not bytes.
        problem: str | None = _too_long(len(name.encode(errors="replace")))
    else:
        problem = _problem(name)
    if problem is not None:
        raise BadChannel(f"{name[:60]!r} is not a channel name: {problem}", field="channel")
    return name


# Checked on every publish, so remembered; bounded, because names come from strangers.
@lru_cache(maxsize=4096)
def _problem(name: str) -> str | None:
    if not name:
        return "it is empty."
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it holds a lone surrogate."
    if size > MAX_CHANNEL_BYTES:
        return _too_long(size)
    if name.startswith("$"):
        return "a leading $ is kept for the server's own channels."
    if "*" in name:
        return "* stands for many channels and is only allowed in patterns."
    if not unicodedata.is_normalized("NFC", name):
        return "it is not in Unicode's NFC form."
    for part in name.split(":"):
        if not part:
            return "it has an empty part (the parts are separated by single colons)."
        for character in part:
            # Marks belong to letters in many scripts (Devanagari, Thai).
            if character not in _PUNCTUATION and unicodedata.category(character)[0] not in "LMN":
                return (
                    f"{character!r} is not allowed (letters, digits and _ . ~ - @ = are, "
                    "and : between parts)."
                )
    return None


def _too_long(size: int) -> str:
    return f"it is {size} bytes long, {MAX_CHANNEL_BYTES} are allowed."


@dataclass(frozen=True, slots=True)
class Namespace:
    """The options a group of channels shares.

    :param history_size: publications kept per channel; 0 makes the channels *ephemeral*:
        delivered live, without positions, recovery or gaps.
    :param history_ttl: seconds a publication is kept.
    """

    history_size: int = 256
    history_ttl: float = 12 * 3600.0

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
