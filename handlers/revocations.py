"""``/revocations``: tokens that are good no longer, although their time is not over."""

from __future__ import annotations

from typing import Any, ClassVar

from handlers import query
from handlers.base import Handler
from notifier.auth.revocations import MAX_TOKEN_ID_BYTES, Revocation
from notifier.auth.tokens import LATEST
from notifier.errors import BadBody, BadField
from notifier.instants import format_instant, parse_instant
from notifier.jsontext import parse_json

_PAGE = frozenset({"after", "limit"})
_FIELDS = frozenset({"token_id", "until"})


class RevocationList(Handler):
    """Those in force; one more."""

    acts: ClassVar = {"POST": "token.revoke"}
    takes_body = True

    async def get(self) -> None:
        query.check_names(self.request.query_arguments, _PAGE)
        page, following = self.node.administration.revocations(
            self.get_query_argument("after", "", strip=False),
            query.read_limit(self.get_query_argument("limit", None)),
        )
        self.answer({"revocations": [_described(each) for each in page], "next": following})

    head = get

    async def post(self) -> None:
        query.check_names(self.request.query_arguments, frozenset())
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
