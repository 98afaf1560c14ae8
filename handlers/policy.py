"""Who may use a route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from notifier.auth.scopes import Scope


class Level(Enum):
    """What a request needs that needs no scope."""

    PUBLIC = "public"  # nothing, and nobody asks
    IDENTIFIED = "identified"  # a key or a token, whatever it grants


Need = Scope | Level


@dataclass(frozen=True, slots=True)
class Policy:
    """One route's policy; every route has one (``routes.py``).

    :param needs: by method, what whoever asks must have. A scope that is about channels is looked
        for on the channel in the path; where there is none, the handler looks for it on each
        channel that the request names.
        Nobody in particular is refused before that, if it may on none at all.
    :param late: who asks may say who it is later, over the connection that it gets.
    :param cross_site: pages of any site may use it, under any host name.
    :param navigable: a link on another site may lead here.
    """

    needs: Mapping[str, Need] = field(default_factory=dict)
    late: bool = False
    cross_site: bool = False
    navigable: bool = False

    def need(self, method: str | None) -> Need:
        """What a request needs; one with HEAD needs what GET would."""
        return self.needs.get("GET" if method == "HEAD" else method or "", Level.PUBLIC)

    def check_methods(self, path: str, methods: tuple[str, ...]) -> None:
        """See that it says who may, for each of the methods that the route has.

        :raises ValueError: it does not.
        """
        silent = [m for m in methods if m not in ("HEAD", "OPTIONS") and m not in self.needs]
        unused = [m for m in self.needs if m not in methods]
        if silent or unused:
            raise ValueError(f"the policy of {path} is wrong about {', '.join(silent + unused)}")
