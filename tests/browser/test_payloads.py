"""Bytes on the page: pictures, texts, downloads, and what must not be inflated."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.serving import Server

OpenPage = Callable[[str], Page]

LIMIT = 16 * 1024 * 1024


def png(width: int, height: int) -> bytes:
    """A picture that is not of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(
        b"\0" + bytes(value for x in range(width) for value in (x & 255, y & 255, (x ^ y) & 255))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def q_compress(original: bytes, *, claimed: int | None = None) -> bytes:
    """As Qt's qCompress does it; the claim may lie."""
    return struct.pack(">I", len(original) if claimed is None else claimed) + zlib.compress(
        original
    )


def send(server: Server, title: str, content: bytes, content_type: str) -> None:
    encoded = base64.b64encode(content).decode()
    server.notify("alerts", title=title, content_type=content_type, data_base64=encoded)


def card(page: Page, title: str) -> Locator:
    return page.locator(".card", has=page.get_by_role("heading", name=title, exact=True))


def width_of(picture: Locator) -> int:
    expect(picture).to_be_visible()
    width: int = picture.evaluate("async (image) => (await image.decode(), image.naturalWidth)")
    return width


def download(page: Page, link: Locator) -> bytes:
    with page.expect_download() as started:
        link.click()
    return started.value.path().read_bytes()


# --- pictures -------------------------------------------------------------------------------------


def test_picture_is_shown_in_bounds_and_opens_in_its_full_size(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url)
    send(server, "Gate", png(900, 700), "image/png")
    picture = card(page, "Gate").get_by_role("img", name="Gate")
    assert width_of(picture) == 900
    box = picture.bounding_box()
    assert box is not None and box["height"] <= 320
    card(page, "Gate").get_by_role("button", name="Open picture: Gate").click()
    viewer = page.get_by_role("dialog")
    assert viewer.get_by_role("img").evaluate("image => image.width") == 900
    expect(viewer).to_contain_text("PNG")
    page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)


def test_gif_jpeg_webp_and_avif_are_shown(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    tiny = {
        "image/gif": "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
        "image/webp": "UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA",
    }
    for content_type, encoded in tiny.items():
        send(server, content_type, base64.b64decode(encoded), content_type)
    made = page.evaluate(
        """async () => {
          const canvas = new OffscreenCanvas(3, 2);
          canvas.getContext("2d").fillRect(0, 0, 2, 2);
          const blob = await canvas.convertToBlob({type: "image/jpeg"});
          return [...new Uint8Array(await blob.arrayBuffer())];
        }"""
    )
    send(server, "image/jpeg", bytes(made), "image/jpeg")
    for content_type in (*tiny, "image/jpeg"):
        assert width_of(card(page, content_type).locator("img")) > 0
    server.notify(
        "alerts", title="sent as bytes", data_base64=base64.b64encode(bytes(made)).decode()
    )
    assert width_of(card(page, "sent as bytes").locator("img")) == 3


def test_script_in_an_svg_never_runs(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    svg = """<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30" onload="top.hit = 1">
      <script>top.hit = 1; window.opener.hit = 1</script><rect width="40" height="30"/></svg>"""
    send(server, "Drawing", svg.encode(), "image/svg+xml")
    assert width_of(card(page, "Drawing").locator("img")) == 40
    card(page, "Drawing").get_by_role("button").click()
    expect(page.get_by_role("dialog").get_by_role("img")).to_be_visible()
    assert page.evaluate("window.hit") is None


def test_svg_that_could_take_forever_to_draw_waits_to_be_asked_for(
    server: Server, open_page: OpenPage
) -> None:
    levels = "".join(
        f'<g id="g{level}">' + f'<use href="#g{level - 1}"/>' * 10 + "</g>" for level in range(1, 9)
    )
    bomb = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><g id="g0"><path d="M0 0"/></g>'
        f'<defs>{levels}</defs><use href="#g8"/></svg>'
    )
    page = open_page(server.url)
    send(server, "Bomb", bomb.encode(), "image/svg+xml")
    expect(card(page, "Bomb").get_by_role("button", name="Show SVG picture")).to_be_visible()
    gradient = """<svg xmlns="http://www.w3.org/2000/svg" width="50" height="40">
      <linearGradient id="a"><stop stop-color="red"/></linearGradient>
      <rect width="50" height="40" fill="url(#a)"/></svg>"""
    send(server, "Gradient", gradient.encode(), "image/svg+xml")
    server.notify("alerts", title="still alive")
    expect(card(page, "still alive")).to_be_visible()
    card(page, "Gradient").get_by_role("button", name="Show SVG picture").click()
    assert width_of(card(page, "Gradient").locator("img")) == 50


def test_picture_that_is_none_is_said_to_be_and_offered(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url)
    send(server, "Fake", b"<script>1</script>", "image/png")
    expect(card(page, "Fake").locator(".refused")).to_have_text("A PNG picture that can't be shown")
    link = card(page, "Fake").get_by_role("link", name="Download image/png (18 bytes)")
    assert download(page, link) == b"<script>1</script>"


# --- other bytes ----------------------------------------------------------------------------------


def test_text_is_shown_as_text(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    send(server, "Table", "größe,<b>1</b>\n".encode("latin-1"), "text/csv; charset=iso-8859-1")
    expect(card(page, "Table").locator("pre")).to_have_text("größe,<b>1</b>")
    send(server, "Page", b"<script>window.hit = 1</script>", "text/html")
    expect(card(page, "Page").locator("pre")).to_contain_text("<script>")
    assert page.evaluate("window.hit") is None
    long = b"x" * 30_000
    send(server, "Long", long, "text/plain; charset=nonsense")
    assert len(card(page, "Long").locator("pre").inner_text()) == 20_000
    assert download(page, card(page, "Long").get_by_role("link")) == long


def test_bytes_without_words_say_what_they_are(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    server.put("alerts", bytes(2048), "application/x-firmware")
    shown = page.locator(".card")
    expect(shown.locator(".heading")).to_have_text("application/x-firmware · 2 KiB")
    link = shown.get_by_role("link", name="Download application/x-firmware (2 KiB)")
    assert download(page, link) == bytes(2048)


# --- qCompress ------------------------------------------------------------------------------------


def test_compressed_pictures_are_shown_however_they_are_announced(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url)
    compressed = q_compress(png(30, 20))
    for content_type in (
        "application/octet-stream",
        "application/x-qcompress",
        "image/png; encoding=qcompress",
        'image/png;Encoding="qcompress"',
    ):
        send(server, content_type, compressed, content_type)
        picture = card(page, content_type).locator("img")
        assert width_of(picture) == 30
        title = card(page, content_type).get_by_role("button").get_attribute("title") or ""
        assert re.search(r"^PNG · .* · .* compressed$", title)


def test_what_is_in_it_need_not_be_a_picture(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    send(server, "Log", q_compress(b"line\n" * 99), "text/plain; encoding=qcompress")
    expect(card(page, "Log").locator("pre")).to_contain_text("line")
    original = bytes(range(256)) * 40
    send(server, "Data", q_compress(original), "application/x-qcompress")
    link = card(page, "Data").get_by_role("link", name="Download inflated data (10 KiB)")
    assert download(page, link) == original


def test_bomb_is_refused_by_its_claim_or_stopped_at_it(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    honest = q_compress(bytes(LIMIT + 1))
    liar = q_compress(bytes(200 * 1024 * 1024), claimed=LIMIT)
    send(server, "Honest", honest, "image/png; encoding=qcompress")
    send(server, "Liar", liar, "application/octet-stream")
    send(server, "Boaster", q_compress(b"x", claimed=2**32 - 1), "application/octet-stream")
    expect(card(page, "Honest").locator(".refused")).to_have_text(
        "Not inflated: it claims 16,777,217 bytes, 16,777,216 are allowed"
    )
    expect(card(page, "Liar").locator(".refused")).to_contain_text("it holds more than")
    expect(card(page, "Boaster").locator(".refused")).to_contain_text("claims 4,294,967,295 bytes")
    link = card(page, "Honest").get_by_role("link", name="Download compressed data")
    assert download(page, link) == honest
    server.notify("alerts", title="still alive")
    expect(card(page, "still alive")).to_be_visible()


def test_broken_stream_is_said_to_be(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    whole = q_compress(png(30, 20))
    for title, content in {
        "cut": whole[:-9],
        "garbage": b"\0\0\1\0\x78\x9c" + bytes(range(200)),
        "no header": b"\0\0\1\0" + bytes(range(200)),
        "nothing": b"\0",
    }.items():
        send(server, title, content, "image/png; encoding=qcompress")
        expect(card(page, title).locator(".refused")).to_contain_text("Not inflated: it")
        assert download(page, card(page, title).get_by_role("link")) == content


def test_key_that_comes_again_takes_the_picture_away(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    encoded = base64.b64encode(q_compress(png(30, 20))).decode()
    server.notify("alerts", title="Frame", key="frame", data_base64=encoded)
    picture = card(page, "Frame").locator("img")
    source = picture.get_attribute("src")
    server.notify("alerts", title="Frame", key="frame", message="over")
    expect(card(page, "Frame").locator(".message")).to_have_text("over")
    expect(picture).to_have_count(0)
    gone = page.evaluate(
        """url => new Promise((resolve) => {
          const image = new Image();
          image.onload = () => resolve(false);
          image.onerror = () => resolve(true);
          image.src = url;
        })""",
        source,
    )
    assert gone is True
