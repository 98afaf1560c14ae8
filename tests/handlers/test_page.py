"""``/``: the page."""

from __future__ import annotations

import re

from notifier.assets import static_path
from notifier.server import Server
from tests.handlers.serving import request


async def test_the_page_is_served(server: Server) -> None:
    answer = await request(server.port, "GET", "/")
    assert answer.status == 200
    assert answer.body == (static_path() / "index.html").read_bytes()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_the_page_is_revalidated(server: Server) -> None:
    etag = (await request(server.port, "GET", "/")).headers["etag"]
    answer = await request(server.port, "GET", "/", headers={"If-None-Match": etag})
    assert (answer.status, answer.body) == (304, b"")


async def test_the_page_runs_scripts_and_styles_of_our_own_only(server: Server) -> None:
    answer = await request(server.port, "GET", "/")
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]


async def test_all_that_the_page_names_is_there(server: Server) -> None:
    text = (await request(server.port, "GET", "/")).body.decode()
    names = re.findall(r'(?:src|href)="(/?static/[^"]+)"', text)
    assert names
    for name in names:
        answer = await request(server.port, "GET", "/" + name.lstrip("/"))
        assert answer.status == 200, name
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "the policy forbids inline scripts"
    assert not re.search(r'\sstyle="', text), "the policy forbids inline styles"


async def test_a_query_does_not_matter(server: Server) -> None:
    assert (await request(server.port, "GET", "/?channel=alerts")).status == 200
