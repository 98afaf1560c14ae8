"""When the keys at a JWKS URL are fetched, and how long they count.

What is decided here is pure; ``handlers/keysource.py`` fetches.

- Keys older than ``max_age`` are fetched anew behind the backs of those who use them.
- A token that means an unknown key waits for a fetch: its issuer may just have taken a new one.
  However many there are, they cause at most one in ``retry`` seconds; who comes in between is
  told how long that is.
- While the URL fails, the keys that are there count on, for ``keep`` seconds.
"""

from __future__ import annotations

from enum import Enum
from urllib.parse import urlsplit

from notifier.auth.keyset import Keyset, parse_jwks
from notifier.auth.loopback import is_loopback

MAX_DOCUMENT_BYTES = 256 * 1024
MAX_AGE_SECONDS = 600.0
RETRY_SECONDS = 10.0
KEEP_SECONDS = 24 * 3600.0
# Names of keys that a fetch was asked for; of those that are more, nobody knows.
MAX_ASKED = 1000
_NONE = Keyset()


class Need(Enum):
    """Whether keys must be fetched for a token."""

    NOTHING = "nothing"
    REFRESH = "refresh"  # some time soon: what is there serves
    WAIT = "wait"  # the token can't be verified with what is there


class Jwks:
    """The keys of a URL, and what is known of their age. Times are monotonic seconds.

    :param problem: why the last fetch failed; None when it did not.
    :param passed_over: why some keys of the document were not taken.
    """

    def __init__(
        self,
        *,
        max_age: float = MAX_AGE_SECONDS,
        retry: float = RETRY_SECONDS,
        keep: float = KEEP_SECONDS,
    ) -> None:
        self._max_age = max_age
        self._retry = retry
        self._keep = keep
        self._keys = _NONE
        self._document = b""
        self._fetched: float | None = None
        self._tried: float | None = None
        # Keys that the last fetch was to bring.
        self._asked: set[str | None] = set()
        # Of keys that the last change of the document took out.
        self._gone: frozenset[str | None] = frozenset()
        # Of keys that others here have seen in a document, and those of them that were expected
        # when the fetch that is under way began.
        self._expected: set[str] = set()
        self._due: frozenset[str] = frozenset()
        self.problem: str | None = None
        self.passed_over: list[str] = []

    def keys(self, now: float) -> Keyset:
        """The keys that count; none before the first fetch and when they are too old.

        The same object for as long as they are the same.
        """
        if self._fetched is None or now - self._fetched >= self._keep:
            return _NONE
        return self._keys

    def has(self, fingerprint: str) -> bool | None:
        """Whether the last document, however old, has this key; ``None`` where only the next will
        tell."""
        if fingerprint in self._keys.fingerprints:
            return True
        return None if self._fetched is None or fingerprint in self._expected else False

    def expect(self, fingerprint: str) -> None:
        """Another node has verified something with this key: the next document may have it."""
        known = fingerprint in self._keys.fingerprints or fingerprint in self._gone
        if not known and len(self._expected) < MAX_ASKED:
            self._expected.add(fingerprint)

    def need(self, kid: str | None, now: float) -> Need:
        """What verifying a token that means this key takes; None is any."""
        keys = self.keys(now)
        if not keys or (kid is not None and not keys.knows(kid)):
            return Need.WAIT
        return Need.REFRESH if self.is_old(now) else Need.NOTHING

    def is_old(self, now: float) -> bool:
        """Whether there was a document, and a newer one is due, whether or not its keys count."""
        return self._fetched is not None and now - self._fetched >= self._max_age

    def may_fetch(self, now: float) -> bool:
        """Whether the last try is long enough ago."""
        return self._tried is None or now - self._tried >= self._retry

    def begin(self, now: float) -> None:
        """A fetch begins."""
        self._tried = now
        # Those that are there are: one that is gone then is gone.
        self._asked = {key.kid for key in self._keys.keys}
        self._due = frozenset(self._expected)

    def ask(self, kid: str | None) -> None:
        """The fetch that is under way is to bring this key."""
        if len(self._asked) < MAX_ASKED:
            self._asked.add(kid)

    def wait(self, kid: str | None, now: float) -> float | None:
        """Seconds until there may be a fetch that brings this key; ``None``: it is there, or is not
        in the document that was fetched for it."""
        if self.need(kid, now) is not Need.WAIT:
            return None
        if kid in self._asked and self.problem is None:
            return None
        return 0.0 if self._tried is None else max(0.0, self._tried + self._retry - now)

    def take(self, document: bytes, now: float) -> None:
        """The fetch has brought this: from now on these keys count and no others.

        :raises ValueError: it is no document with keys; :meth:`fail` was done.
        """
        if document != self._document:
            try:
                keys, self.passed_over = parse_jwks(document)
            except ValueError as error:
                self.fail(str(error))
                raise
            self._gone = self._keys.fingerprints - keys.fingerprints
            self._keys, self._document = keys, document
        self._expected -= self._due
        self._fetched = now
        self.problem = None

    def fail(self, reason: str) -> None:
        """The fetch has failed: the keys that are there count on."""
        self.problem = reason


def check_jwks_url(url: str) -> str:
    """The URL itself, when keys may be fetched from there.

    :raises ValueError: it is none, or whoever is on the way could put in keys of their own.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018 (raises where it is none)
    except ValueError:
        raise ValueError("it is not a URL") from None
    if parts.scheme not in ("https", "http") or not host or parts.fragment:
        raise ValueError("write it such as https://id.example.org/.well-known/jwks.json")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a JWKS document is public: write no user and no password")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(
            "write https: over http, whoever is on the way could put in keys of their own "
            "(loopback addresses excepted)"
        )
    return url
