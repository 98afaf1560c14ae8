"""The page under its own policy, in a browser that enforces it."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.serving import Server

_RECORD = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


def violations(page: Page) -> list[str]:
    found: list[str] = page.evaluate("window.violations")
    return found


def test_the_page_keeps_to_its_policy(
    context: BrowserContext, server: Server, open_page: Callable[[str], Page]
) -> None:
    context.add_init_script(_RECORD)
    page = open_page(server.url)
    server.notify("alerts", title="Disk", message="full", priority=5, tags=["db"])
    server.put("alerts", b"\x89PNG\r\n\x1a\n", "image/png")
    server.put("alerts", b"plain text", "text/plain")
    expect(page.locator(".card")).to_have_count(3)
    assert violations(page) == []


def test_a_breach_of_it_is_seen(server: Server, browser: object) -> None:
    """That the test above could fail: an inline script is refused, and noticed."""
    made = browser.new_context()  # type: ignore[attr-defined]
    try:
        made.add_init_script(_RECORD)
        page = made.new_page()
        page.goto(server.url)
        page.evaluate(
            "document.head.append(Object.assign(document.createElement('script'),"
            " {textContent: 'window.ran = true'}))"
        )
        page.wait_for_function("() => window.violations.length > 0")
        assert page.evaluate("window.ran") is None
        assert violations(page)[0].startswith("script-src")
    finally:
        made.close()
