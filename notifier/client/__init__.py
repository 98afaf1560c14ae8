"""An async client: follow channels across lost connections, publish, and read back.

::

    import notifier.client

    async with notifier.client.connect("http://127.0.0.1:8888") as client:
        await client.publish("alerts", "Disk full on db1", priority=5)
        async for n in client.subscribe("alerts", "builds:*", since="10m", on_gap=print):
            print(n.channel, n.title, n.message)

A refusal of the server is raised as the exception of :mod:`notifier.errors` with its code; what
went wrong on the way is a :class:`ClientError`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from notifier.client.address import Address
from notifier.client.answers import (
    Channel,
    Connection,
    Failure,
    Member,
    Node,
    Page,
    Presence,
    Receipt,
    Summary,
)
from notifier.client.client import Client
from notifier.client.credential import Credential, Token
from notifier.client.failures import (
    BadAnswer,
    ClientError,
    Dismissed,
    Interrupted,
    Unreachable,
)
from notifier.client.notification import Change, Gap, Notification
from notifier.client.requests import Requests
from notifier.client.subscription import Subscription
from notifier.errors import NotifierError

__all__ = [
    "BadAnswer",
    "Change",
    "Channel",
    "Client",
    "ClientError",
    "Connection",
    "Dismissed",
    "Failure",
    "Gap",
    "Interrupted",
    "Member",
    "Node",
    "Notification",
    "NotifierError",
    "Page",
    "Presence",
    "Receipt",
    "Subscription",
    "Summary",
    "Unreachable",
    "connect",
]


def connect(
    url: str = "http://127.0.0.1:8888",
    *,
    token: Token | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    retries: int = 4,
    max_delay: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Client:
    """A client of the server at ``url``; use it with ``async with``, which ends what it began.

    Nothing is sent before it is asked for something.

    :param url: http, https, ws or wss, and a path where the server has one.
    :param token: who this program is: a key or a token; or an async function that gives a fresh
        one whenever it is called. It is sent as ``Authorization: Bearer``, and renewed in place
        on the connections of subscriptions.
    :param headers: sent with every request.
    :param timeout: seconds an answer may take.
    :param retries: how often a request is sent again when its connection broke or the server
        could not answer just now. A subscription comes back without end.
    :param max_delay: seconds that lie between two tries at most; they begin with less, and
        chance has a part in them.
    :param tls: instead of the usual trust in certificates.
    :raises ValueError: if ``url`` is none of those, or ``token`` can be none.
    """
    requests = Requests(
        Address.parse(url),
        credential=Credential(token),
        headers=headers or {},
        timeout=timeout,
        retries=retries,
        max_delay=max_delay,
        tls=tls,
    )
    return Client(requests)
