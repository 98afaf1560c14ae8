"""``/revocations``: tokens that are good no longer, although their time is not over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations, Parameter
from handlers.parameters import LIMIT
from notifier.auth.revocations import (
    MAX_TOKEN_ID_BYTES,
    AnyRevocation,
    Revocation,
    UserRevocation,
)
from notifier.auth.tokens import LATEST, LEEWAY_SECONDS, MAX_SUBJECT_BYTES
from notifier.errors import (
    BadBody,
    BadField,
    BadJSON,
    BadParameter,
    BrokerUnavailable,
    NodesSilent,
    TooManyRevocations,
    UnknownField,
)
from notifier.instants import format_instant, parse_instant
from notifier.jsontext import parse_json


@with_config(ConfigDict(extra="forbid"))
class NewRevocation(TypedDict):
    """A token that is to be good no longer."""

    token_id: Annotated[
        str, Field(min_length=1, max_length=MAX_TOKEN_ID_BYTES, description="the token's `jti`")
    ]
    until: NotRequired[
        Annotated[
            Annotated[float, Field(gt=0, lt=LATEST)] | answers.Instant,
            Field(
                description="when it expires (its `exp`), which is to come: in seconds since 1970, "
                "or as a time; unless it is given, as long as one that is good now may live"
            ),
        ]
    ]


@with_config(ConfigDict(extra="forbid"))
class NewUserRevocation(TypedDict):
    """All tokens of a user that were issued until now, or before a moment: none is to be good any
    longer."""

    user: Annotated[
        str, Field(min_length=1, max_length=MAX_SUBJECT_BYTES, description="the tokens' `sub`")
    ]
    before: NotRequired[
        Annotated[
            Annotated[float, Field(ge=0, lt=LATEST)] | answers.Instant,
            Field(
                description="tokens with an `iat` before it, and those without one; a time that "
                "has passed, or is 30 s to come at most; in seconds since 1970, or as a time; now, "
                "unless it is given"
            ),
        ]
    ]


_FIELDS = frozenset(NewRevocation.__annotations__)
_USER_FIELDS = frozenset(NewUserRevocation.__annotations__)


class RevocationList(Handler):
    """Those in force; one more."""

    acts: ClassVar = {"POST": "token.revoke"}
    takes_body = True

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="list_revocations",
            summary="Tokens that are good no longer, although their time is not over",
            parameters=(
                Parameter(
                    name="users",
                    text="`1`: those of all of a user's tokens; else those of single tokens.",
                    shape={"type": "string", "enum": ["0", "1"], "default": "0"},
                ),
                Parameter(name="after", text="Begin after this token's id, or this user."),
                LIMIT,
            ),
            answers={
                200: Answer(
                    "A page of them, in the order of their ids, or of users.",
                    {JSON: answers.Revocations},
                )
            },
            errors=(UnknownField, BadParameter),
        ),
        "POST": Operation(
            name="revoke_token",
            summary="Let a token, or all of a user's, be good no longer, and end their connections",
            text="If a node did not answer, it is kept for that one to learn of.",
            body={JSON: NewRevocation | NewUserRevocation},
            needs_body=True,
            answers={
                200: Answer("They are revoked.", {JSON: answers.Revoked | answers.UserRevoked})
            },
            errors=(
                UnknownField,
                BadJSON,
                BadBody,
                BadField,
                TooManyRevocations,
                BrokerUnavailable,
                NodesSilent,
            ),
        ),
    }

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
        administration = self.node.administration
        after = self.get_query_argument("after", "", strip=False)
        limit = query.read_limit(self.get_query_argument("limit", None))
        page: Sequence[AnyRevocation]
        if query.read_switch("users", self.get_query_argument("users", "0")):
            page, following = await administration.user_revocations(after, limit)
        else:
            page, following = await administration.revocations(after, limit)
        self.answer({"revocations": [_described(each) for each in page], "next": following})

    head = get

    async def post(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["POST"].query)
        revocation = read_revocation(
            bytes(self.body),
            now=self.node.now_ms() / 1000,
            max_life=self.node.settings.max_token_life,
        )
        told = _described(revocation)
        self.facts = told
        ended = await self.node.administration.revoke(revocation)
        self.facts = {**told, "ended": ended}
        self.answer(self.facts)


def read_revocation(body: bytes, *, now: float, max_life: float) -> AnyRevocation:
    """``{"token_id": "…"}``, ``{"token_id": "…", "until": 1790000000}``, or ``{"user": "42"}``

    :param now: seconds since 1970.
    :param max_life: of a token, in seconds.
    :raises BadJSON:
    :raises BadBody:
    :raises UnknownField:
    :raises BadField:
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        raise BadBody('The body is an object such as {"token_id": "…"} or {"user": "42"}.')
    if "user" in value and "token_id" not in value:
        return _of_user(value, now, max_life)
    query.check_names(value, _FIELDS)
    token_id = value.get("token_id")
    if not isinstance(token_id, str) or not 0 < len(token_id.encode()) <= MAX_TOKEN_ID_BYTES:
        raise BadField(
            f"token_id is the token's jti, a string of 1 to {MAX_TOKEN_ID_BYTES} bytes.",
            field="token_id",
        )
    # The issuer's clock may be ahead of ours by that.
    longest = now + max_life + LEEWAY_SECONDS
    until = _moment(value["until"]) if "until" in value else longest
    if until is None or not now < until < LATEST:
        raise BadField(
            "until is when the token expires (its exp), which is to come: in seconds since 1970, "
            "or as a time such as 2026-11-22T17:24:00Z; leave it out if you don't know.",
            field="until",
        )
    return Revocation(token_id, until)


def _of_user(value: dict[str, Any], now: float, max_life: float) -> UserRevocation:
    query.check_names(value, _USER_FIELDS)
    user = value["user"]
    if not isinstance(user, str) or not 0 < len(user.encode()) <= MAX_SUBJECT_BYTES:
        raise BadField(
            f"user is the tokens' sub, a string of 1 to {MAX_SUBJECT_BYTES} bytes.", field="user"
        )
    before = _moment(value["before"]) if "before" in value else now
    if before is None or not before - LEEWAY_SECONDS <= now < before + max_life:
        raise BadField(
            "before is a time that has passed (or 30 s to come: an issuer's clock may be ahead), "
            "and not so long ago that no token is left of then: "
            "in seconds since 1970, or as a time such as 2026-11-22T17:24:00Z; leave it out for "
            "now.",
            field="before",
        )
    return UserRevocation(user, before, before + max_life + LEEWAY_SECONDS)


def _described(revocation: AnyRevocation) -> dict[str, object]:
    until = _told(revocation.until)
    match revocation:
        case Revocation(token_id):
            return {"token_id": token_id, "until": until}
        case UserRevocation(user, before):
            return {"user": user, "before": _told(before), "until": until}


def _told(seconds: float) -> str:
    return format_instant(round(seconds * 1000))


def _moment(value: Any) -> float | None:
    """Seconds since 1970; ``None`` where it is no moment."""
    if isinstance(value, str):
        try:
            return parse_instant(value) / 1000
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared before it is made a float: an integer may be too large to be one.
    return float(value) if 0 <= value < LATEST else None
