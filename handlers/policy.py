"""Who may use a route."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """One route's policy; every route has one (``routes.py``).

    :param cross_site: pages of any site may use it, under any host name.
    :param navigable: a link on another site may lead here.
    """

    cross_site: bool = False
    navigable: bool = False
