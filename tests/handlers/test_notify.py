"""``/notify`` and ``/notify/<channel>``: what producers send, in all the shapes it comes in."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from notifier.server import Server
from tests.handlers.serving import Answer, request, serving, stored_in, wire_to
from tests.handlers.serving import head as request_head

Post = Callable[..., Awaitable[Answer]]
Stored = Callable[[str], Awaitable[list[dict[str, Any]]]]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"  # what curl -d says of everything


@pytest.fixture
def post(http_client: AsyncHTTPClient, base_url: str) -> Post:
    """POST to the application; ``body`` that is no bytes is sent as JSON."""

    async def send(
        path: str,
        body: Any = b"",
        *,
        kind: str | None = None,
        method: str = "POST",
        **headers: str,
    ) -> Answer:
        if not isinstance(body, bytes):
            body, kind = json.dumps(body).encode(), kind or JSON
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        # Without one the client says what curl says.
        all_headers["Content-Type"] = FORM if kind is None else kind
        response = await http_client.fetch(
            base_url + path, method=method, body=body, headers=all_headers, raise_error=False
        )
        return Answer(
            response.code, {k.lower(): v for k, v in response.headers.items()}, response.body
        )

    return send


# --- one JSON object ---


async def test_an_object_is_stored_and_answered_with_its_place(post: Post, stored: Stored) -> None:
    answer = await post("/notify", {"channel": "alerts", "title": "Disk", "message": "full"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.json.keys() == {"id", "channel", "position", "subscribers"}
    (publication,) = await stored("alerts")
    assert publication["position"] == answer.json["position"]
    assert publication["id"] == answer.json["id"]
    assert (publication["title"], publication["message"]) == ("Disk", "full")


async def test_every_field_comes_back_as_it_was_sent(post: Post, stored: Stored) -> None:
    fields = {
        "title": "T",
        "message": "M ☃",
        "priority": 5,
        "tags": ["a", "b"],
        "click": "https://example.org/x",
        "icon": "https://example.org/i.png",
        "actions": [
            {"action": "view", "label": "Open", "url": "https://example.org/"},
            {
                "action": "http",
                "label": "Restart",
                "url": "/restart",
                "method": "POST",
                "headers": {"X-A": "b"},
                "body": "now",
            },
        ],
        "data": {"nested": [1, 2.5, None, True, "x"]},
        "key": "db1",
        "expires": "2099-01-01T00:00:00Z",
        "id": "mine",
    }
    answer = await post("/notify/all:fields", fields)
    assert answer.status == 200
    assert answer.json["id"] == "mine"
    (publication,) = await stored("all:fields")
    assert {name: publication[name] for name in fields} == {
        **fields,
        "expires": "2099-01-01T00:00:00.000Z",
    }


@pytest.mark.parametrize("data", [None, False, 0, "", [], {}, "text", 1.5, {"a": None}])
async def test_data_is_any_json(post: Post, stored: Stored, data: object) -> None:
    assert (await post("/notify", {"channel": "c", "data": data})).status == 200
    assert (await stored("c"))[0]["data"] == data


async def test_numbers_of_data_keep_their_digits(post: Post, stored: Stored) -> None:
    body = b'{"channel":"c","data":{"big":12345678901234567890123,"small":0.1}}'
    assert (await post("/notify", body, kind=JSON)).status == 200
    assert (await stored("c"))[0]["data"] == {"big": 12345678901234567890123, "small": 0.1}


async def test_put_publishes_to_the_channel_in_the_url(post: Post, stored: Stored) -> None:
    answer = await post("/notify/alerts", {"message": "hi"}, method="PUT")
    assert answer.status == 200
    assert [p["message"] for p in await stored("alerts")] == ["hi"]


async def test_several_channels_get_one_notification_under_one_id(
    post: Post, stored: Stored
) -> None:
    answer = await post("/notify", {"channels": ["a", "b", "a"], "message": "hi"})
    assert answer.status == 200
    assert answer.json.keys() == {"id", "channels"}
    assert [result["channel"] for result in answer.json["channels"]] == ["a", "b"]
    for result in answer.json["channels"]:
        (publication,) = await stored(result["channel"])
        assert publication["position"] == result["position"]
        assert publication["id"] == result["id"] == answer.json["id"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"channels": ["good", "b a d"]}, 40004),
        ({"channels": ["good", 7]}, 40004),
        ({"channels": ["good", "*"]}, 40004),
        ({"channels": ["good"], "channel": "also"}, 40003),
        ({"channels": []}, 40003),
        ({"channels": "good"}, 40003),
        ({"channels": [f"c{n}" for n in range(101)]}, 41302),
        ({"channels": ["good"], "expires": "2001-01-01T00:00:00Z"}, 40003),
        ({"channels": ["good"], "titel": "x"}, 40002),
    ],
)
async def test_nothing_is_half_stored_when_one_of_several_channels_is_bad(
    post: Post, stored: Stored, fields: dict[str, Any], code: int
) -> None:
    answer = await post("/notify", {"message": "hi", **fields})
    assert (answer.status, answer.code) == (code // 100, code)
    for channel in ("good", "also", "c0"):
        assert await stored(channel) == []


# --- arrays ---


async def test_an_array_is_answered_one_by_one(post: Post, stored: Stored) -> None:
    answer = await post(
        "/notify", [{"channel": "a", "message": "1"}, {"channel": "b", "message": "2"}]
    )
    assert answer.status == 200
    assert [result["channel"] for result in answer.json] == ["a", "b"]
    assert [p["message"] for p in await stored("b")] == ["2"]


async def test_an_array_with_bad_items_stores_the_good_ones_and_says_207(
    post: Post, stored: Stored
) -> None:
    items = [{"message": "1"}, {"titel": "2"}, "three", {"message": "4", "channel": "other"}, {}]
    answer = await post("/notify/a", items)
    assert answer.status == 207
    assert answer.json[0]["channel"] == "a"
    errors = [result["error"]["code"] for result in answer.json[1:]]
    assert errors == [40002, 40003, 40004, 40003]
    assert [p["message"] for p in await stored("a")] == ["1"]
    assert await stored("other") == []


@pytest.mark.parametrize(
    "items",
    [
        [{"channel": "a", "message": "1"}, {"channel": "b", "message": "2"}, {"titel": "3"}],
        {"channels": ["a", "b"], "message": "1"},
    ],
    ids=["array", "several channels"],
)
async def test_what_failed_for_a_reason_that_passes_makes_it_503(items: object) -> None:
    async with serving(max_channels=1) as server:
        body, headers = json.dumps(items).encode(), {"Content-Type": JSON}
        answer = await request(server.port, "POST", "/notify", body=body, headers=headers)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        results = answer.json if isinstance(items, list) else answer.json["channels"]
        assert results[0]["channel"] == "a"
        assert results[1]["error"]["code"] == 50303
        assert [p["message"] for p in await stored_in(server.port, "a")] == ["1"]


async def test_an_array_may_be_empty(post: Post) -> None:
    answer = await post("/notify", [])
    assert (answer.status, answer.json) == (200, [])


async def test_an_array_over_the_limit_stores_nothing(post: Post, stored: Stored) -> None:
    answer = await post("/notify/a", [{"message": "x"}] * 1001)
    assert (answer.status, answer.code) == (413, 41302)
    assert answer.json["error"]["limit"] == 1000
    assert await stored("a") == []


async def test_what_stands_beside_an_array_is_for_all_but_the_id(
    post: Post, stored: Stored
) -> None:
    answer = await post("/notify/a?tags=x", [{"message": "1"}, {"message": "2"}], Id="same")
    assert answer.status == 200
    publications = await stored("a")
    assert [p["tags"] for p in publications] == [["x"], ["x"]]
    assert len({p["id"] for p in publications}) == 2


# --- text, forms, bytes ---


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"Disk full on db1", "Disk full on db1"),
        (b"a=b", "a=b"),
        (b"50% done & counting", "50% done & counting"),
        (b"x=1&y=2", "x=1&y=2"),
        (b"title", "title"),
        ("Reçu: été".encode(), "Reçu: été"),
        (b"{not json", "{not json"),
        (b"[ERROR] db1 down", "[ERROR] db1 down"),
        (b'{"status": "not our fields"}', '{"status": "not our fields"}'),
        (b"message=hi&bogus=1", "message=hi&bogus=1"),
        (b"priority=5", "priority=5"),
        (b"line 1\nline 2\n", "line 1\nline 2\n"),
    ],
)
@pytest.mark.parametrize("kind", [FORM, "text/plain", "text/plain; charset=utf-8"])
async def test_a_text_is_the_message(
    post: Post, stored: Stored, body: bytes, message: str, kind: str
) -> None:
    assert (await post("/notify/a", body, kind=kind)).status == 200
    assert (await stored("a"))[0]["message"] == message


async def test_a_body_without_a_type_is_a_text(server: Server) -> None:
    answer = await request(server.port, "POST", "/notify/a", body=b"hello")
    assert answer.status == 200
    history = await request(server.port, "GET", "/channels/a/history")
    assert history.json["publications"][0]["message"] == "hello"


async def test_what_curl_sends_as_json_without_saying_so_is_json(
    post: Post, stored: Stored
) -> None:
    assert (await post("/notify", b' {"channel":"a","title":"T"}', kind=FORM)).status == 200
    assert (await post("/notify/a", b'{"title":"U"}', kind=FORM)).status == 200
    assert [p["title"] for p in await stored("a")] == ["T", "U"]


async def test_what_curl_sends_without_a_channel_and_as_no_json_is_told_what_is_missing(
    post: Post,
) -> None:
    answer = await post("/notify", b"hello")
    assert (answer.status, answer.code) == (400, 40004)
    assert answer.json["error"]["field"] == "channel"
    answer = await post("/notify", b'{"channel":"a",')
    assert answer.code == 40001


async def test_a_form_of_our_fields_is_a_form(post: Post, stored: Stored) -> None:
    body = (
        b"channel=a&title=A%20%26+B&message=caf%C3%A9&tags=x,y&priority=high&data=%7B%22n%22%3A1%7D"
    )
    assert (await post("/notify", body)).status == 200
    (publication,) = await stored("a")
    assert publication["title"] == "A & B"
    assert publication["message"] == "café"
    assert publication["tags"] == ["x", "y"]
    assert publication["priority"] == 4
    assert publication["data"] == {"n": 1}


def multipart(*parts: tuple[str, bytes]) -> bytes:
    body = b""
    for disposition, content in parts:
        body += b"--sep\r\nContent-Disposition: form-data; " + disposition.encode()
        body += b"\r\n\r\n" + content + b"\r\n"
    return body + b"--sep--\r\n"


async def test_multipart_fields_and_a_file(post: Post, stored: Stored) -> None:
    body = multipart(
        ('name="channel"', b"a"),
        ('name="message"', "hé".encode()),
        ('name="file"; filename="x.bin"\r\nContent-Type: image/png', b"\x89PNG\0"),
    )
    assert (await post("/notify", body, kind="multipart/form-data; boundary=sep")).status == 200
    (publication,) = await stored("a")
    assert publication["message"] == "hé"
    assert publication["content_type"] == "image/png"
    assert base64.b64decode(publication["data_base64"]) == b"\x89PNG\0"


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"x", "multipart/form-data", 40007),
        (b"nothing of the kind", "multipart/form-data; boundary=sep", 40007),
        (b"--sep\r\nbroken\r\n--sep--", "multipart/form-data; boundary=sep", 40007),
        (multipart(('name="bogus"', b"1")), "multipart/form-data; boundary=sep", 40002),
        (multipart(('name="message"', b"\xff")), "multipart/form-data; boundary=sep", 40007),
        (
            multipart(('name="f"; filename="a"', b"1"), ('name="g"; filename="b"', b"2")),
            "multipart/form-data; boundary=sep",
            40007,
        ),
        (b"\xff\xfe", "text/plain", 40007),
        (b"caf\xc3\xa9", "text/plain; charset=klingon", 40007),
        (b'"a string"', JSON, 40007),
        (b"7", JSON, 40007),
        (b"", JSON, 40001),
        (b"\xff\xfe{}", JSON, 40001),
        (b'{"message":"\\ud800"}', JSON, 40001),
        (b'{"data":NaN}', JSON, 40001),
        (b'{"message":"x"} more', JSON, 40001),
        (b"[" * 100_000, JSON, 40001),
        (b"", FORM, 40003),
        (b"x", "x" * 300, 40003),
    ],
)
async def test_a_body_that_is_not_what_it_says_is_refused(
    post: Post, stored: Stored, body: bytes, kind: str, code: int
) -> None:
    answer = await post("/notify/a", body, kind=kind)
    assert (answer.status, answer.code) == (400, code)
    assert await stored("a") == []


async def test_text_in_another_charset_is_understood(post: Post, stored: Stored) -> None:
    assert (await post("/notify/a", b"caf\xe9", kind="text/plain; charset=latin1")).status == 200
    assert (await stored("a"))[0]["message"] == "café"


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/xml"])
async def test_bytes_are_stored_with_their_type(post: Post, stored: Stored, kind: str) -> None:
    content = bytes(range(256))
    assert (await post("/notify/a", content, kind=kind, Title="Picture")).status == 200
    (publication,) = await stored("a")
    assert publication["content_type"] == kind
    assert base64.b64decode(publication["data_base64"]) == content
    assert publication["title"] == "Picture"


async def test_bytes_that_are_no_text_are_bytes_whatever_curl_calls_them(
    post: Post, stored: Stored
) -> None:
    assert (await post("/notify/a", b"\x89PNG\xff", kind=FORM)).status == 200
    assert (await stored("a"))[0]["content_type"] == "application/octet-stream"


# --- beside the body ---


async def test_fields_come_from_headers(post: Post, stored: Stored) -> None:
    answer = await post(
        "/notify/a",
        b"full",
        Title="Disk",
        X_Priority="urgent",
        Tags="db, disk",
        X_Click="https://example.org",
        Key="db1",
        Actions='[{"action":"view","label":"Open","url":"/x"}]',
        Data='{"n":1}',
    )
    assert answer.status == 200
    (publication,) = await stored("a")
    assert publication["title"] == "Disk"
    assert publication["message"] == "full"
    assert publication["priority"] == 5
    assert publication["tags"] == ["db", "disk"]
    assert publication["click"] == "https://example.org"
    assert publication["key"] == "db1"
    assert publication["actions"][0]["label"] == "Open"
    assert publication["data"] == {"n": 1}


@pytest.mark.parametrize("value", ["u=1, i", "u=3", "i", "u=0,i", "u=5, i=?0", "i=?1"])
async def test_a_browsers_own_priority_is_not_ours(post: Post, stored: Stored, value: str) -> None:
    assert (await post("/notify/a", b"x", Priority=value)).status == 200
    assert "priority" not in (await stored("a"))[0]


@pytest.mark.parametrize(
    ("value", "title"),
    [
        ("=?UTF-8?B?w6l0w6k=?=", "été"),
        ("=?utf-8?q?=C3=A9t=C3=A9?= 2026", "été 2026"),
        ("=?iso-8859-1?q?=E9t=E9?=", "été"),
        ("été".encode().decode("latin-1"), "été"),
        ("été", "été"),  # Latin-1 on the wire
        ("what =?", "what =?"),
    ],
)
async def test_headers_may_hold_any_text(
    post: Post, stored: Stored, value: str, title: str
) -> None:
    assert (await post("/notify/a", b"x", Title=value)).status == 200
    assert (await stored("a"))[0]["title"] == title


@pytest.mark.parametrize("value", ["=?klingon?q?x?=", "=?utf-8?q?=FF?="])
async def test_a_header_that_claims_to_be_encoded_and_is_not_is_refused(
    post: Post, value: str
) -> None:
    answer = await post("/notify/a", b"x", Title=value)
    assert (answer.status, answer.code) == (400, 40006)
    assert answer.json["error"]["field"] == "title"


async def test_fields_come_from_the_query(post: Post, stored: Stored) -> None:
    answer = await post("/notify?channel=a&title=%C3%A9t%C3%A9&tags=x,y&message=hi")
    assert answer.status == 200
    (publication,) = await stored("a")
    assert (publication["title"], publication["tags"]) == ("été", ["x", "y"])


@pytest.mark.parametrize("query", ["channel=a&channel=b", "channels=a,b", "channels=a&channels=b"])
async def test_the_query_may_name_several_channels(post: Post, stored: Stored, query: str) -> None:
    assert (await post(f"/notify?{query}", b"hi", kind="text/plain")).status == 200
    assert len(await stored("a")) == len(await stored("b")) == 1


async def test_the_body_wins_over_the_query_and_that_over_headers(
    post: Post, stored: Stored
) -> None:
    await post("/notify/a?title=query&priority=2", {"title": "body"}, Title="header", Priority="1")
    await post("/notify/a?title=query", b"x", kind="text/plain", Title="header")
    await post("/notify/a", b"x", kind="text/plain", Title="header", X_Title="x-header")
    publications = await stored("a")
    assert [p["title"] for p in publications] == ["body", "query", "x-header"]
    assert publications[0]["priority"] == 2


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("titel=x", 40002, "titel"),
        ("title=%FF", 40006, "title"),
        ("priority=9", 40003, "priority"),
        ("actions=nope", 40001, None),
        ("channel=other", 40004, "channel"),
        ("channels=other", 40004, "channel"),
        ("expires=yesterday", 40003, "expires"),
        ("click=javascript:alert(1)", 40003, "click"),
    ],
)
async def test_a_query_that_breaks_a_rule_is_refused(
    post: Post, stored: Stored, query: str, code: int, field: str | None
) -> None:
    answer = await post(f"/notify/a?{query}", b"hi", kind="text/plain")
    assert (answer.status, answer.code) == (400, code)
    assert answer.json["error"].get("field") == field
    assert await stored("a") == []


# --- what is wrong is said ---


async def test_an_unknown_field_is_named_with_the_nearest(post: Post) -> None:
    answer = await post("/notify", {"channel": "a", "mesage": "x"})
    assert answer.status == 400
    error = answer.json["error"]
    assert error == {
        "code": 40002,
        "message": "There is no field 'mesage'. Did you mean 'message'?",
        "docs": error["docs"],
        "temporary": False,
        "field": "mesage",
        "nearest": "message",
    }
    assert error["docs"].endswith("#40002")


async def test_bad_json_is_told_with_line_and_column(post: Post) -> None:
    answer = await post("/notify", b'{"channel": "a",\n "message" "x"}', kind=JSON)
    assert (answer.status, answer.code) == (400, 40001)
    error = answer.json["error"]
    assert (error["line"], error["column"]) == (2, 12)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "message"),
        ({"title": 7}, "title"),
        ({"title": "x" * 1001}, "title"),
        ({"priority": 0}, "priority"),
        ({"priority": "loud"}, "priority"),
        ({"priority": True}, "priority"),
        ({"tags": [1]}, "tags.0"),
        ({"tags": ["x"] * 51}, "tags"),
        ({"click": "javascript:alert(1)"}, "click"),
        ({"icon": "data:image/png;base64,AA"}, "icon"),
        ({"actions": [{"action": "view", "label": "x"}]}, "actions.0.url"),
        ({"actions": [{"action": "boom", "label": "x", "url": "/"}]}, "actions.0.action"),
        ({"key": ""}, "key"),
        ({"key": "x" * 201}, "key"),
        ({"id": "a\nb"}, "id"),
        ({"expires": "2001-01-01T00:00:00Z"}, "expires"),
        ({"expires": -5}, "expires"),
        ({"expires": True}, "expires"),
        ({"data_base64": "*"}, "data_base64"),
    ],
)
async def test_a_field_that_breaks_its_rule_is_named(
    post: Post, stored: Stored, fields: dict[str, Any], field: str
) -> None:
    answer = await post("/notify/a", {"message": "x", **fields} if fields else fields)
    assert (answer.status, answer.code) == (400, 40003)
    assert answer.json["error"]["field"] == field
    assert await stored("a") == []


# --- channel names in the URL ---


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/notify/builds%3Amain", "builds:main"),
        ("/notify/builds:main", "builds:main"),
        ("/notify/%C3%A9t%C3%A9", "été"),
        ("/notify/a%40b~c.d_e-f=g", "a@b~c.d_e-f=g"),
        ("/notify/" + "x" * 200, "x" * 200),
    ],
)
async def test_a_channel_in_the_url_is_percent_decoded(
    post: Post, stored: Stored, path: str, channel: str
) -> None:
    answer = await post(path, b"hi")
    assert (answer.status, answer.json["channel"]) == (200, channel)
    assert len(await stored(channel)) == 1


@pytest.mark.parametrize(
    "name",
    ["a%20b", "%FF", "a%2Fb", "%00", "*", "$sys", "a::b", ":", "e%CC%81", "a%0Ab"],
)
async def test_a_bad_channel_in_the_url_is_told_so(post: Post, name: str) -> None:
    for path, method in ((f"/notify/{name}", "POST"), (f"/notify/{name}", "PUT")):
        answer = await post(path, b"hi", method=method)
        assert (answer.status, answer.code) == (400, 40004)
        assert answer.json["error"]["field"] == "channel"


async def test_the_body_may_repeat_the_channel_of_the_url_but_not_name_another(
    post: Post, stored: Stored
) -> None:
    assert (await post("/notify/a", {"channel": "a", "message": "x"})).status == 200
    assert (await post("/notify/a", {"channel": "b", "message": "x"})).code == 40004
    assert (await post("/notify/a", {"channels": ["a"], "message": "x"})).code == 40004
    assert len(await stored("a")) == 1
    assert await stored("b") == []


# --- idempotency ---


async def test_a_repeat_under_a_key_answers_the_same_and_stores_once(
    post: Post, stored: Stored
) -> None:
    first = await post("/notify/a", b"hi", Idempotency_Key="k1")
    again = await post("/notify/a", b"hi", Idempotency_Key="k1")
    assert first.status == again.status == 200
    assert {**again.json, "subscribers": 0} == {**first.json, "subscribers": 0}
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await stored("a")) == 1


async def test_an_id_is_a_key_too(post: Post, stored: Stored) -> None:
    first = await post("/notify", {"channel": "a", "id": "n1", "message": "x"})
    again = await post("/notify", {"channel": "a", "id": "n1", "message": "x"})
    assert first.json == again.json
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await stored("a")) == 1


async def test_another_body_under_the_same_key_is_a_conflict(post: Post, stored: Stored) -> None:
    await post("/notify/a", b"one", Idempotency_Key="k")
    answer = await post("/notify/a", b"two", Idempotency_Key="k")
    assert (answer.status, answer.code) == (409, 40901)
    assert [p["message"] for p in await stored("a")] == ["one"]


async def test_a_key_is_told_apart_by_channel(post: Post, stored: Stored) -> None:
    await post("/notify/a", b"hi", Idempotency_Key="k")
    await post("/notify/b", b"hi", Idempotency_Key="k")
    assert len(await stored("a")) == len(await stored("b")) == 1


async def test_a_batch_repeats_item_by_item(post: Post, stored: Stored) -> None:
    items = [{"message": "1"}, {"message": "2"}]
    first = await post("/notify/a", items, Idempotency_Key="k")
    again = await post("/notify/a", [*items, {"message": "3"}], Idempotency_Key="k")
    assert again.json[:2] == first.json
    assert [p["message"] for p in await stored("a")] == ["1", "2", "3"]
    assert "idempotent-replayed" not in again.headers
    whole = await post("/notify/a", items, Idempotency_Key="k")
    assert whole.headers["idempotent-replayed"] == "true"
    other = await post("/notify/a", [{"message": "other"}], Idempotency_Key="k")
    assert (other.status, other.json[0]["error"]["code"]) == (207, 40901)


async def test_several_channels_repeat_as_one(post: Post, stored: Stored) -> None:
    body = {"channels": ["a", "b"], "message": "x"}
    first = await post("/notify", body, Idempotency_Key="k")
    again = await post("/notify", body, Idempotency_Key="k")
    assert first.json == again.json
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await stored("a")) == len(await stored("b")) == 1


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 201])
async def test_a_key_that_breaks_its_rule_is_refused(post: Post, stored: Stored, key: str) -> None:
    answer = await post("/notify/a", b"hi", Idempotency_Key=key)
    assert (answer.status, answer.code) == (400, 40006)
    assert answer.json["error"]["field"] == "Idempotency-Key"
    assert await stored("a") == []


# --- transfer and content codings ---


async def test_a_chunked_body_is_read(server: Server) -> None:
    body = b"5\r\nHello\r\n1\r\n \r\n5;ext=1\r\nworld\r\n0\r\n\r\n".replace(b";ext=1", b"")
    answer = await request(
        server.port, "POST", "/notify/a", body=body, headers={"Transfer-Encoding": "chunked"}
    )
    assert answer.status == 200
    history = await request(server.port, "GET", "/channels/a/history")
    assert history.json["publications"][0]["message"] == "Hello world"


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress)],
)
async def test_a_compressed_body_is_understood(
    post: Post, stored: Stored, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = compress(b'{"message":"squeezed"}')
    assert (await post("/notify/a", body, kind=JSON, Content_Encoding=coding)).status == 200
    assert (await stored("a"))[0]["message"] == "squeezed"


async def test_identity_is_no_coding(post: Post, stored: Stored) -> None:
    assert (await post("/notify/a", b"x", Content_Encoding="identity")).status == 200
    assert (await stored("a"))[0]["message"] == "x"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "nonsense"])
async def test_another_coding_is_refused_with_those_that_are_understood(
    post: Post, stored: Stored, coding: str
) -> None:
    answer = await post("/notify/a", b"x", Content_Encoding=coding)
    assert (answer.status, answer.code) == (415, 41501)
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert await stored("a") == []


@pytest.mark.parametrize(
    "body",
    [
        b"not gzip",
        gzip.compress(b"x" * 1000, mtime=0)[:-9],
        gzip.compress(b"x", mtime=0) + b"more",
    ],
)
async def test_a_broken_compressed_body_is_refused(post: Post, stored: Stored, body: bytes) -> None:
    answer = await post("/notify/a", body, Content_Encoding="gzip")
    assert (answer.status, answer.code) == (400, 40007)
    assert await stored("a") == []


async def test_a_body_over_the_limit_once_decompressed_is_refused(
    post: Post, stored: Stored
) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    answer = await post("/notify/a", bomb, kind="text/plain", Content_Encoding="gzip")
    assert (answer.status, answer.code) == (413, 41301)
    assert await stored("a") == []


async def test_requests_follow_each_other_on_one_connection(server: Server) -> None:
    async with wire_to(server.port) as wire:
        one = request_head("POST", "/notify/a", {"Content-Length": "1"}) + b"1"
        bad = request_head("POST", "/notify", {"Content-Length": "1"}) + b"{"
        await wire.send(one + bad + one)
        assert [(await wire.answer()).status for _ in range(3)] == [200, 400, 200]


async def test_a_publisher_that_vanishes_in_the_middle_stores_nothing(server: Server) -> None:
    async with wire_to(server.port) as wire:
        await wire.send(request_head("POST", "/notify/a", {"Content-Length": "100"}) + b"half")
        wire.reset()
    assert await stored_in(server.port, "a") == []


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "unicode_escape", "x"])
async def test_charset_that_is_none_is_refused_at_once(server: Server, charset: str) -> None:
    """Some of Python's codecs take minutes for this; all would be answered while we decode."""
    headers = {"Content-Type": f"text/plain; charset={charset}"}
    body = b"ab" * 400_000
    answer = await request(server.port, "POST", "/notify/alerts", headers=headers, body=body)
    assert answer.status == 400 and answer.code == 40007


async def test_others_have_a_turn_while_a_large_batch_is_stored(server: Server) -> None:
    channels = [f"c{number}" for number in range(100)]
    batch = json.dumps([{"channels": channels, "message": "m"}] * 200).encode()
    finished: list[str] = []

    async def send() -> None:
        json_type = {"Content-Type": "application/json"}
        answer = await request(server.port, "POST", "/notify", headers=json_type, body=batch)
        assert answer.status == 200
        finished.append("batch")

    async def look() -> None:
        assert (await request(server.port, "GET", "/health/live")).status == 200
        finished.append("health")

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        await asyncio.sleep(0.05)
        group.create_task(look())
    assert finished == ["health", "batch"]
