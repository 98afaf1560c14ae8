from __future__ import annotations

import base64

import pytest

from notifier.notification import Notification, Position, Publication
from notifier.wire.prepared import Prepared
from notifier.wire.raw import RAW, WithoutEcho, payload
from notifier.wire.websocket import Opcode, frame


def publication(notification: Notification, id: str = "i") -> Publication:
    draft = notification.draft("a", id=id, now_ms=0)
    return Publication("a", Position("e", 1), id, 0, draft.body)


@pytest.mark.parametrize("sent", ["", "hello", "größe\u2028\0", b"", b"\x00\xff", b"x" * 100_000])
def test_what_was_sent_is_what_arrives(sent: str | bytes) -> None:
    opcode, data = payload(publication(Notification.of_payload(sent)))
    if isinstance(sent, str):
        assert (opcode, data.decode()) == (Opcode.TEXT, sent)
    else:
        assert (opcode, data) == (Opcode.BINARY, sent)


def test_a_structured_notification_is_its_message_or_its_json() -> None:
    message = publication(Notification.parse({"title": "T", "message": "m", "priority": 5}))
    assert payload(message) == (Opcode.TEXT, b"m")
    other = publication(Notification.parse({"title": "T", "data": [1]}))
    opcode, data = payload(other)
    assert opcode == Opcode.TEXT and data.startswith(b"{") and b'"title":"T"' in data


def test_bytes_sent_with_a_text_arrive_as_bytes() -> None:
    encoded = base64.b64encode(b"\x01\x02").decode()
    both = publication(Notification.parse({"message": "m", "data_base64": encoded}))
    assert payload(both) == (Opcode.BINARY, b"\x01\x02")


def test_its_own_are_left_out_until_they_have_come_and_those_that_failed_are_not_waited_for() -> (
    None
):
    mine = Prepared(publication(Notification.of_payload("mine"), id="1"))
    others = Prepared(publication(Notification.of_payload("theirs"), id="2"))
    tailor = WithoutEcho()
    tailor.published("1")
    tailor.published("2")
    tailor.failed("2")
    assert tailor.fit([mine, others], RAW) == [b"", frame(b"theirs")]
    tailor.sent([mine, others])
    # Its id has come by: it is remembered no more.
    assert tailor.fit([mine], RAW) == [frame(b"mine")]
