"""The Lua scripts: read once, called by their digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files


@dataclass(frozen=True)
class Script:
    """One of the files in ``scripts/``.

    :param on_log: it is about one channel's log, and begins with what ``log.lua`` defines.
    """

    name: str
    on_log: bool = True
    text: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = _read("log") + _read(self.name) if self.on_log else _read(self.name)
        object.__setattr__(self, "text", text)

    @cached_property
    def digest(self) -> str:
        """As Redis knows it: SHA-1 in hexadecimal."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def _read(name: str) -> str:
    return (files(__package__) / "scripts" / f"{name}.lua").read_text("utf-8")


PUBLISH = Script("publish")
FOLLOW = Script("follow")
HISTORY = Script("history")
STATE = Script("state")
CLEAR = Script("clear")
FORK = Script("fork")
ANNOUNCE = Script("announce", on_log=False)
REGISTER = Script("register", on_log=False)
RING = Script("ring", on_log=False)
ATTEND = Script("attend", on_log=False)
BEAT = Script("beat", on_log=False)
LIVING = Script("living", on_log=False)
REVOKE = Script("revoke", on_log=False)
