"""Who asks: from a key, a token or a ticket to an identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from notifier.auth.identity import Identity
from notifier.auth.keys import Keys, looks_like_key
from notifier.auth.keyset import Keyset, VerifyingKey
from notifier.auth.revocations import Revocations
from notifier.auth.shelf import MemoryShelf, Shelf
from notifier.auth.tickets import Tickets, looks_like_ticket
from notifier.auth.tokens import Token, TokenRules
from notifier.auth.unspent import Unspent
from notifier.auth.verified import VerifiedTokens
from notifier.errors import BadCredential, ExpiredCredential, KeysUnavailable
from notifier.limits import milliseconds

_NONE = Keyset()
# No document that can be fetched has keys for them.
_OF_SECRETS = frozenset({"HS256"})


class KeyHolder(Protocol):
    """Has the API keys that are good at the moment."""

    @property
    def keys(self) -> Keys: ...

    @property
    def problem(self) -> str | None:
        """Why those there are could not be looked up anew; ``None`` when they could."""


class KeysetHolder(Protocol):
    """Has the keys that verify tokens, of those that are here."""

    @property
    def keys(self) -> Keyset:
        """The same object for as long as they are the same."""

    @property
    def problem(self) -> str | None:
        """Why those there are could not be looked up anew; ``None`` when they could."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Keys that stay the same for as long as the server runs."""

    keys: Keyset = field(default_factory=Keyset)
    problem: str | None = None


class Source(Protocol):
    """Has keys that verify tokens, and may have to fetch them."""

    @property
    def problem(self) -> str | None:
        """Why they could not be fetched the last time; ``None`` when they could."""

    async def keys(self, kid: str | None) -> Keyset:
        """Those for a token that means this one."""

    def current(self) -> Keyset:
        """Those that count now, without waiting for any; the same object until they change. May
        begin a fetch of newer ones."""

    def wait(self, kid: str | None) -> float | None:
        """Seconds until this one may be fetched; ``None``: it is there, or none would bring it."""

    def has(self, fingerprint: str) -> bool | None:
        """Whether this one is among the keys that came last; ``None`` where only the next tell."""

    def expect(self, fingerprint: str) -> None:
        """Another node has verified something with this key: it may be among the next."""


class Authenticator:
    """Knows everybody who can be known here.

    :param clock: seconds since 1970.
    :param holder: of API keys, if there are any.
    :param rules: what is asked of a token besides its signature.
    :param static: keys of tokens that are here.
    :param source: of such that are elsewhere, if there is one.
    :param shelf: where tickets are kept; without one, here.
    :param tickets_each: how many of those that nobody has shown each may have; 0 is any number.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        holder: KeyHolder | None = None,
        rules: TokenRules | None = None,
        static: KeysetHolder | None = None,
        source: Source | None = None,
        shelf: Shelf | None = None,
        tickets_each: int = 0,
    ) -> None:
        self._holder = holder
        self._rules = rules or TokenRules()
        self._static = static or Fixed()
        self._source = source
        # All that verify tokens now, and what they are made of: those that are here, and those
        # that were fetched.
        self._in_force = self._static.keys
        self._made_of = (self._in_force, _NONE)
        # Of keys that were here, and are no more.
        self._left: frozenset[str | None] = frozenset()
        self._verified = VerifiedTokens()
        self.tickets = Tickets(MemoryShelf() if shelf is None else shelf, Unspent(tickets_each))
        self.revocations = Revocations()
        self._clock = clock

    @property
    def api_keys_trouble(self) -> str | None:
        """Why the file of API keys can't be used just now; those that were in it count on."""
        return None if self._holder is None else self._holder.problem

    @property
    def keys_trouble(self) -> str | None:
        """Why keys of tokens can't be fetched, or their file can't be used, just now."""
        problem = self._static.problem
        return problem if self._source is None else problem or self._source.problem

    def at_once(self, credential: str) -> Identity | None:
        """Whose it is; ``None`` where only :meth:`identify` can tell, which may take a while.

        :raises BadCredential:
        :raises ExpiredCredential:
        """
        now = self._clock()
        if looks_like_key(credential):
            if self._holder is None:
                raise BadCredential("There are no API keys on this server.")
            return self._holder.keys.identify(credential, now)
        if looks_like_ticket(credential):
            return None
        keys = self._keys_in_force()
        known = self._verified.find(credential, keys)
        if known is not None:
            known.check(now, self.revocations)
            return known.identity
        token = Token.parse(credential)
        try:
            key = token.verified_by(self._static.keys)
        except BadCredential:
            # Another key may be its: one that is elsewhere.
            if self._source is None or token.algorithm in _OF_SECRETS:
                raise
            return None
        return self._let_in(credential, token, key, now)

    async def identify(self, credential: str, *, spend: bool = True) -> Identity:
        """Whose it is; asks for what is elsewhere, if need be.

        :param spend: a ticket is used up by it.
        :raises BadCredential:
        :raises ExpiredCredential:
        :raises BrokerUnavailable: it is a ticket, and who knows of it can't be asked.
        :raises KeysUnavailable: it is a token, and its keys can't be fetched just now.
        """
        identity = self.at_once(credential)
        if identity is not None:
            return identity
        if looks_like_ticket(credential):
            return await self._redeem(credential, spend=spend)
        assert self._source is not None
        token = Token.parse(credential)
        await self._source.keys(token.kid)
        keys = self._keys_in_force()
        wait = self._source.wait(token.kid)
        if wait is not None and not keys.candidates(token.algorithm, token.kid):
            raise KeysUnavailable(
                "The keys that verify this token can't be fetched just now: try again after the "
                "wait.",
                retry_after_ms=milliseconds(wait),
            )
        return self._let_in(credential, token, token.verified_by(keys), self._clock())

    def _let_in(self, credential: str, token: Token, key: VerifyingKey, now: float) -> Identity:
        """
        :param key: one of those in force, which verifies the token.
        """
        verified = self._rules.read(token, key, now)
        verified.check(now, self.revocations)
        self._verified.keep(credential, self._keys_in_force(), verified)
        return verified.identity

    def _keys_in_force(self) -> Keyset:
        """The same object until they change."""
        here = self._static.keys
        fetched = _NONE if self._source is None else self._source.current()
        if here is not self._made_of[0] or fetched is not self._made_of[1]:
            self._left = (self._left | self._made_of[0].fingerprints) - here.fingerprints
            self._made_of, self._in_force = (here, fetched), here | fetched
        return self._in_force

    async def _redeem(self, ticket: str, *, spend: bool) -> Identity:
        tickets = self.tickets
        identity = await (tickets.redeem(ticket) if spend else tickets.look_at(ticket))
        if identity is None:
            raise BadCredential("This ticket is not good: one is good once, and for seconds.")
        if self._source is not None and identity.verified_by is not None:
            # The node that gave the ticket may have fetched a key that this one has yet to.
            self._source.expect(identity.verified_by)
        # What it was given for may have ended since.
        self.check_still(identity)
        return identity

    def check_still(self, identity: Identity) -> None:
        """See that it is good at this moment, and that the key that verified it is.

        :raises BadCredential: it was revoked, or its key was.
        :raises ExpiredCredential:
        """
        now = self._clock()
        match identity.kind, identity.credential_id:
            case "key", id if self._holder is None or id not in self._holder.keys:
                raise BadCredential("This API key was revoked.")
            case "token", _ if self.revocations.covers(identity, now):
                raise BadCredential("This token was revoked.")
        if identity.verified_by is not None and self._is_gone(identity.verified_by):
            raise BadCredential("The key that verified this token counts no more.")
        if identity.is_expired(now):
            raise ExpiredCredential(f"The time of this {identity.kind} is over; get a new one.")

    def _is_gone(self, fingerprint: str) -> bool:
        """Whether a key that verified a token counts no more. One that is only too old, because
        its URL has failed for long, or that only another node has seen so far, is not gone."""
        if fingerprint in self._static.keys.fingerprints:
            return False
        if self._source is None:
            return True
        known = self._source.has(fingerprint)
        if known is not None:
            return not known
        self._keys_in_force()  # sees what has left
        return fingerprint in self._left
