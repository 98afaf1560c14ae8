"""The URL of a Redis, however it is deployed.

::

    redis://[user:password@]host[:6379][/db]
    unix:///run/redis.sock[?db=2]
    redis+sentinel://[user:password@]host[:26379][,host…]/master[/db]
    redis+cluster://[user:password@]host[:6379][,host…]

``rediss`` in place of ``redis`` is the same over TLS. Options follow after ``?``:
``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` name files; ``db``, ``username`` and
``password`` are for ``unix``; ``sentinel_username`` and ``sentinel_password`` for sentinels that
ask for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = frozenset(
    {
        "redis",
        "rediss",
        "unix",
        "redis+sentinel",
        "rediss+sentinel",
        "redis+cluster",
        "rediss+cluster",
    }
)
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
# Of one that is written wrongly, too much rather than too little.
_PASSWORD = re.compile(r"((?:://|^rediss?(?:\+[a-z]*)?(?::/?(?!/)|//))[^:]*):.*@", re.DOTALL)
_PASSWORD_OPTION = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&]*", re.IGNORECASE)
# An @ that is no part of an option's value.
_AFTER = re.compile(r"^[^=]*@")
_ESCAPE = "in a user or password, write / ? # and @ as %2F %3F %23 and %40"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")


class Deployment(Enum):
    """How a Redis is deployed."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisURL:
    """Where a Redis is. Made by :meth:`parse`.

    :param hosts: one; of sentinels and a cluster's nodes, some; none where there is a ``path``.
    :param path: of a Unix domain socket.
    :param master: the name under which sentinels know the master.
    :param files: paths for TLS, by option.
    """

    deployment: Deployment
    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    master: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: bool = False
    files: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, url: str) -> RedisURL:
        """:raises ValueError: saying what is wrong with it, and nothing of a password."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError("it is not a URL") from None
        if parts.fragment or (parts.scheme != "unix" and _AFTER.search(parts.path + parts.query)):
            # What looks like a host, a path or an option may be a piece of the password.
            raise ValueError(_ESCAPE)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"{parts.scheme}: is not a scheme of Redis")
        base, _, kind = parts.scheme.partition("+")
        options = _options(parts.query, unix=base == "unix", sentinel=kind == "sentinel")
        username, password, places = _credentials(parts.netloc)
        make = partial(
            cls,
            username=options.pop("username", username),
            password=options.pop("password", password),
            sentinel_username=options.pop("sentinel_username", None),
            sentinel_password=options.pop("sentinel_password", None),
            tls=base == "rediss",
        )
        if base == "unix":
            if places or not parts.path.strip("/"):
                raise ValueError("write unix:// and the path of a socket: unix:///run/redis.sock")
            return make(Deployment.SINGLE, path=unquote(parts.path), db=_db(options.pop("db", "")))
        if options and base != "rediss":
            raise ValueError(f"{next(iter(options))} is for TLS: write {base}s in place of {base}")
        make = partial(make, files=tuple(options.items()))
        hosts = _hosts(places, 26379 if kind == "sentinel" else 6379)
        path = [unquote(part) for part in parts.path.split("/")[1:] if part]
        if kind == "sentinel":
            if not path or len(path) > 2:
                raise ValueError(
                    "name the master that the sentinels watch, as in "
                    "redis+sentinel://host:26379/mymaster"
                )
            db = _db(path[1] if len(path) > 1 else "")
            return make(Deployment.SENTINEL, hosts, master=path[0], db=db)
        if kind == "cluster":
            if path:
                raise ValueError("a Cluster has one database: write no path")
            return make(Deployment.CLUSTER, hosts)
        if len(hosts) != 1:
            raise ValueError(
                "one Redis has one address; several are for redis+sentinel:// and redis+cluster://"
            )
        if len(path) > 1:
            raise ValueError("the path is the number of a database")
        return make(Deployment.SINGLE, hosts, db=_db(path[0] if path else ""))


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return _PASSWORD.sub(r"\1:***@", _PASSWORD_OPTION.sub(r"\1***", url))


def _options(query: str, *, unix: bool, sentinel: bool) -> dict[str, str]:
    known = {"db", "username", "password"} if unix else set(_TLS)
    if sentinel:
        known |= {"sentinel_username", "sentinel_password"}
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known and "@" in query:
            raise ValueError(_ESCAPE)  # a piece of the password, perhaps
        if name not in known:
            raise ValueError(f"there is no option {name!r}; known: {', '.join(sorted(known))}")
    return options


def _credentials(netloc: str) -> tuple[str | None, str | None, str]:
    user, at, places = netloc.rpartition("@")
    if not at:
        return None, None, places
    name, _, password = user.partition(":")
    if "@" in password:
        raise ValueError(_ESCAPE)  # or a user of each host, where there is one for all
    return unquote(name) or None, unquote(password) or None, places


def _hosts(places: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for place in places.split(","):
        found = _HOST.fullmatch(place.strip())
        if found is None or not 0 < int(found[2] or port) < 65536 or not _resolvable(found[1]):
            raise ValueError(f"{place!r} is not a host, or host:port")
        hosts.append((found[1].strip("[]"), int(found[2] or port)))
    return tuple(hosts)


def _resolvable(host: str) -> bool:
    """Whether it can be asked for: a name has parts of 1 to 63 letters."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def _db(text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise ValueError(f"{text!r} is not the number of a database")
    return int(text)
