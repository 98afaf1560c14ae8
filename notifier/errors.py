"""Everything that can be refused, with its number.

::

    NotifierError
    ├── BadRequest                  400xx  what was sent can't be understood
    │   ├── BadJSON                 40001  not JSON; carries line and column
    │   ├── UnknownField            40002  carries the nearest known name
    │   ├── BadField                40003  a field breaks its rule
    │   ├── BadChannel              40004  not a channel name
    │   ├── BadSince                40005  not a place to resume from
    │   ├── BadParameter            40006  a query parameter or header breaks its rule
    │   ├── BadBody                 40007  the body is not what its content type says
    │   ├── BadMessage              40008  a WebSocket message that is no JSON object
    │   ├── UnknownType             40009  a command nobody knows; carries the nearest known
    │   └── ChannelTooLong          40010  the name of a channel or a pattern over its limit
    ├── Unauthenticated             40100  this needs a key or a token, and none was sent
    ├── BadCredential               40101  a key or a token that is none of ours
    ├── ExpiredCredential           40102  it was good once
    ├── ForeignOrigin               40301  a page of another site
    ├── Forbidden                   40302  not with this key or token
    ├── NoSuchResource              40401  nothing lives at this URL
    ├── NoSuchChannel               40402  nothing was ever published there, and nobody listens
    ├── NoSuchConnection            40403  to any node
    ├── NoSuchSubscription          40404  of that connection, if it is there at all
    ├── MethodNotAllowed            40501  carries the methods that are
    ├── BodyStalled                 40801  no byte of the body came for too long
    ├── AuthenticationTimeout       40802  a WebSocket of nobody in particular that does nothing
    ├── HeadStalled                 40803  a request's head took too long
    ├── AnswerUnread                40804  an answer was not read for too long
    ├── IdempotencyConflict         40901  the same key with another body
    ├── AlreadySubscribed           40902
    ├── NotSubscribed               40903
    ├── PresenceOff                 40904  the namespace does not show who is there
    ├── SubscriptionEnded           41001  by who runs the server
    ├── ConnectionEnded             41002  by who runs the server
    ├── BodyTooLarge                41301
    ├── TooManyItems                41302  a batch over its limit
    ├── UnsupportedCoding           41501  a Content-Encoding we don't read; carries those we do
    ├── ForeignHost                 42101  a Host name this server does not serve
    ├── UpgradeRequired             42601  plain HTTP where a WebSocket is spoken
    ├── TooManySubscriptions        42901  on one connection
    ├── TooManyConnectionsFromAddress 42902
    ├── TooManyConnectionsOfUser    42903  of one key, or of one token's sub
    ├── ConnectingTooFast           42904  from one address
    ├── CommandsTooFast             42905  over one WebSocket
    ├── PublishingTooFast           42906  by one producer
    ├── TooManyTicketsOfUser        42907  that nobody has shown yet
    ├── TokenTooLong                43101  a resume token over 4 KiB
    ├── HeaderTooLarge              43102  a request's head over its limit
    ├── InternalError               50001  our fault
    ├── BrokerUnavailable           50301  history can't be reached just now
    ├── Draining                    50302  this node is about to leave
    ├── TooManyChannels             50303  the broker holds as many as it may
    ├── TooManyConnections          50304  on this node
    ├── NodesSilent                 50305  some nodes did not answer; carries which
    ├── KeysUnavailable             50306  what verifies a token can't be fetched just now
    ├── TooManyTickets              50307  of all together, that nobody has shown yet
    └── TooManyRevocations          50308  in force

The number is ``HTTP status × 100 + serial``; it is the same on every transport. ``temporary``
says whether the same request may succeed later. Each number is explained in
``docs/reference/errors.md``, to which ``docs`` points.

Where a refusal ends a WebSocket, it does so with ``close_code``: 4000–4499 mean come back,
4500–4999 do not.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

E = TypeVar("E", bound=BaseException)

# Relative to the project's own tree: every copy of it brings its reference along.
DOCS = "docs/reference/errors.md"

# Of a WebSocket that ends for a reason that passes; as 1013 (RFC 6455's registry), which is not for
# us to send.
TRY_AGAIN = 4013


class NotifierError(Exception):
    """A refusal, as its receiver sees it: a number, a sentence, and facts.

    :param message: one sentence for the person who made the mistake.
    :param facts: what a program may want to act on (``field``, ``line``, ``nearest`` …); they
        are attributes of the exception and members of the answer.
    """

    code: ClassVar[int] = 50001
    close_code: ClassVar[int] = 4500
    temporary: ClassVar[bool] = False

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["facts"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return self.code // 100

    def describe(self) -> dict[str, Any]:
        """The error as every transport shows it."""
        return {
            "code": self.code,
            "message": self.message,
            "docs": f"{DOCS}#{self.code}",
            "temporary": self.temporary,
            **self.facts,
        }


def without_frames(error: E) -> E:
    """The exception, to be kept as a value, or when all has been done about it.

    Else it holds the frames it came through, and their callers'. If one of them holds it as well,
    directly or not, all that is in them waits for the cyclic collector (ADR 0011).
    """
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


class BadRequest(NotifierError):
    code = 40000


class BadJSON(BadRequest):
    """Facts: ``line``, ``column`` (from 1)."""

    code = 40001


class UnknownField(BadRequest):
    """Facts: ``field``, and ``nearest`` where a known one is near."""

    code = 40002


class BadField(BadRequest):
    """Facts: ``field``."""

    code = 40003


class BadChannel(BadRequest):
    """Facts: ``field``, always "channel"."""

    code = 40004


class BadSince(BadRequest):
    """Facts: ``field``, always "since"."""

    code = 40005


class BadParameter(BadRequest):
    """Facts: ``field``, the parameter's or header's name."""

    code = 40006


class BadBody(BadRequest):
    code = 40007


class BadMessage(BadRequest):
    code = 40008


class UnknownType(BadRequest):
    """Facts: ``nearest`` where a known type is near."""

    code = 40009


class ChannelTooLong(BadRequest):
    """Facts: ``field``, always "channel"; ``limit``, in bytes."""

    code = 40010


class Unauthenticated(NotifierError):
    """Facts: ``scope``, and ``channel`` where it is about one, which may be a pattern."""

    code = 40100
    close_code = 4503


class BadCredential(NotifierError):
    code = 40101
    close_code = 4503


class ExpiredCredential(NotifierError):
    code = 40102
    close_code = 4401


class ForeignOrigin(NotifierError):
    code = 40301


class Forbidden(NotifierError):
    """Facts: ``scope``, and ``channel`` where it is about one, which may be a pattern."""

    code = 40302
    close_code = 4503


class NoSuchResource(NotifierError):
    code = 40401


class NoSuchChannel(NotifierError):
    """Facts: ``channel``."""

    code = 40402


class NoSuchConnection(NotifierError):
    """Facts: ``connection``."""

    code = 40403


class NoSuchSubscription(NotifierError):
    """Facts: ``connection``, and ``channel``, which may be a pattern."""

    code = 40404


class MethodNotAllowed(NotifierError):
    """Facts: ``allow``, the methods that are."""

    code = 40501


class BodyStalled(NotifierError):
    code = 40801
    temporary = True


class AuthenticationTimeout(NotifierError):
    code = 40802
    close_code = 4408
    temporary = True


class HeadStalled(NotifierError):
    code = 40803
    temporary = True


class AnswerUnread(NotifierError):
    code = 40804
    temporary = True


class IdempotencyConflict(NotifierError):
    code = 40901


class AlreadySubscribed(NotifierError):
    code = 40902


class NotSubscribed(NotifierError):
    code = 40903


class PresenceOff(NotifierError):
    """Facts: ``channel``."""

    code = 40904


class SubscriptionEnded(NotifierError):
    code = 41001
    close_code = 4502


class ConnectionEnded(NotifierError):
    code = 41002
    close_code = 4502


class BodyTooLarge(NotifierError):
    """Facts: ``limit``, in bytes."""

    code = 41301


class TooManyItems(NotifierError):
    """Facts: ``limit``."""

    code = 41302


class UnsupportedCoding(NotifierError):
    """Facts: ``accepted``, the codings that are understood."""

    code = 41501


class ForeignHost(NotifierError):
    code = 42101


class UpgradeRequired(NotifierError):
    code = 42601


class TooManySubscriptions(NotifierError):
    """Facts: ``limit``."""

    code = 42901


class TooManyConnectionsFromAddress(NotifierError):
    """Facts: ``limit``, ``retry_after_ms``."""

    code = 42902
    close_code = 4429
    temporary = True


class TooManyConnectionsOfUser(NotifierError):
    """Facts: ``limit``, ``retry_after_ms``."""

    code = 42903
    close_code = 4429
    temporary = True


class ConnectingTooFast(NotifierError):
    """Facts: ``limit``, ``retry_after_ms``."""

    code = 42904
    close_code = 4429
    temporary = True


class CommandsTooFast(NotifierError):
    """Facts: ``limit``, ``retry_after_ms``."""

    code = 42905
    close_code = 4429
    temporary = True


class PublishingTooFast(NotifierError):
    """Facts: ``limit``, ``retry_after_ms``."""

    code = 42906
    close_code = 4429
    temporary = True


class TooManyTicketsOfUser(NotifierError):
    """Facts: ``limit``, ``retry_after_ms``."""

    code = 42907
    close_code = 4429
    temporary = True


class TokenTooLong(NotifierError):
    """Facts: ``limit``, in bytes."""

    code = 43101


class HeaderTooLarge(NotifierError):
    """Facts: ``limit``, in bytes."""

    code = 43102


class InternalError(NotifierError):
    code = 50001
    close_code = TRY_AGAIN
    temporary = True


class BrokerUnavailable(NotifierError):
    code = 50301
    close_code = TRY_AGAIN
    temporary = True


class Draining(NotifierError):
    code = 50302
    close_code = 4000
    temporary = True


class TooManyChannels(NotifierError):
    """Facts: ``limit``."""

    code = 50303
    close_code = TRY_AGAIN
    temporary = True


class TooManyConnections(NotifierError):
    """Facts: ``limit``."""

    code = 50304
    close_code = TRY_AGAIN
    temporary = True


class NodesSilent(NotifierError):
    """Facts: ``nodes``, their ids."""

    code = 50305
    close_code = TRY_AGAIN
    temporary = True


class KeysUnavailable(NotifierError):
    """Facts: ``retry_after_ms``."""

    code = 50306
    close_code = TRY_AGAIN
    temporary = True


class TooManyTickets(NotifierError):
    """Facts: ``limit``, ``retry_after_ms``."""

    code = 50307
    close_code = TRY_AGAIN
    temporary = True


class TooManyRevocations(NotifierError):
    """Facts: ``limit``."""

    code = 50308
    close_code = TRY_AGAIN
    temporary = True
