"""``/revocations``: tokens that are good no longer, although their time is not over."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from handlers import answers, query
from handlers.base import Handler
from handlers.described import JSON, Answer, Operation, Operations, Parameter
from handlers.parameters import LIMIT
from notifier.auth.revocations import MAX_TOKEN_ID_BYTES, Revocation
from notifier.auth.tokens import LATEST
from notifier.errors import (
    BadBody,
    BadField,
    BadJSON,
    BadParameter,
    BrokerUnavailable,
    NodesSilent,
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
    until: Annotated[
        Annotated[float, Field(gt=0, lt=LATEST)] | answers.Instant,
        Field(
            description="when it expires (its `exp`), which is to come: in seconds since 1970, "
            "or as a time"
        ),
    ]


_FIELDS = frozenset(NewRevocation.__annotations__)


class RevocationList(Handler):
    """Those in force; one more."""

    acts: ClassVar = {"POST": "token.revoke"}
    takes_body = True

    describes: ClassVar[Operations] = {
        "GET": Operation(
            name="list_revocations",
            summary="Tokens that are good no longer, although their time is not over",
            parameters=(Parameter(name="after", text="Begin after this token's id."), LIMIT),
            answers={
                200: Answer(
                    "A page of them, in the order of their ids.", {JSON: answers.Revocations}
                )
            },
            errors=(UnknownField, BadParameter),
        ),
        "POST": Operation(
            name="revoke_token",
            summary="Let a token be good no longer, and end its connections",
            text="If a node did not answer, it is kept for that one to learn of.",
            body={JSON: NewRevocation},
            needs_body=True,
            answers={200: Answer("It is revoked.", {JSON: answers.Revoked})},
            errors=(UnknownField, BadJSON, BadBody, BadField, BrokerUnavailable, NodesSilent),
        ),
    }

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["GET"].query)
        page, following = self.node.administration.revocations(
            self.get_query_argument("after", "", strip=False),
            query.read_limit(self.get_query_argument("limit", None)),
        )
        self.answer({"revocations": [_described(each) for each in page], "next": following})

    head = get

    async def post(self) -> None:
        query.check_names(self.request.query_arguments, self.describes["POST"].query)
        revocation = read_revocation(bytes(self.body), now=self.node.now_ms() / 1000)
        told = _described(revocation)
        self.facts = told
        ended = await self.node.administration.revoke(revocation)
        self.facts = {**told, "ended": ended}
        self.answer(self.facts)


def read_revocation(body: bytes, *, now: float) -> Revocation:
    """``{"token_id": "…", "until": 1790000000}``

    :param now: seconds since 1970.
    :raises BadJSON:
    :raises BadBody:
    :raises UnknownField:
    :raises BadField:
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        raise BadBody('The body is an object such as {"token_id": "…", "until": 1790000000}.')
    query.check_names(value, _FIELDS)
    token_id = value.get("token_id")
    if not isinstance(token_id, str) or not 0 < len(token_id.encode()) <= MAX_TOKEN_ID_BYTES:
        raise BadField(
            f"token_id is the token's jti, a string of 1 to {MAX_TOKEN_ID_BYTES} bytes.",
            field="token_id",
        )
    until = _moment(value.get("until"))
    if until is None or not now < until < LATEST:
        raise BadField(
            "until is when the token expires (its exp), which is to come: in seconds since 1970, "
            "or as a time such as 2026-11-22T17:24:00Z.",
            field="until",
        )
    return Revocation(token_id, until)


def _described(revocation: Revocation) -> dict[str, object]:
    until = format_instant(round(revocation.until * 1000))
    return {"token_id": revocation.token_id, "until": until}


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
