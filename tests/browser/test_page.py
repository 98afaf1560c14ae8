"""The page at `/`, in a real browser against a real server."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.serving import Server
from tests.faults import FaultProxy

OpenPage = Callable[[str], Page]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def titles(page: Page) -> list[str]:
    """The titles shown, oldest first."""
    return page.locator(".card h3").all_inner_texts()[::-1]


def wait_for_card(page: Page, title: str) -> None:
    expect(page.locator(".card h3", has_text=re.compile(f"^{re.escape(title)}$"))).to_be_visible()


def wait_for_state(page: Page, state: str) -> None:
    expect(page.locator("#status")).to_have_attribute("data-state", state)


def come_back(page: Page) -> None:
    """Doesn't sit out the back-off, however often a try fails."""
    page.wait_for_function(
        """() => {
          dispatchEvent(new Event("online"));
          return document.getElementById("status").dataset.state === "open";
        }""",
        polling=200,
    )


# --- receiving ------------------------------------------------------------------------------------


def test_page_shows_what_is_posted(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    server.notify(
        "alerts",
        title="Disk full on db1",
        message="100 % of 800 GB\nused",
        priority=5,
        tags=["disk", "db1"],
        click="https://wiki.example/disk",
        actions=[{"action": "view", "label": "Open runbook", "url": "https://wiki.example/run"}],
        data={"used": 800},
    )
    card = page.locator(".card")
    expect(card.get_by_role("heading")).to_have_text("Disk full on db1")
    expect(card.get_by_role("link", name="Disk full on db1")).to_have_attribute(
        "href", "https://wiki.example/disk"
    )
    expect(card.locator(".message")).to_have_text("100 % of 800 GB\nused")
    expect(card.locator(".priority")).to_have_text("Urgent")
    expect(card.locator(".tag")).to_have_text(["disk", "db1"])
    expect(card.get_by_role("link", name="Open runbook")).to_be_visible()
    expect(card.locator(".channel")).to_have_text("alerts")
    expect(card.locator("time")).to_have_text(re.compile(r"^(just now|\d+s ago)$"))
    expect(card.locator("time")).to_have_attribute("title", re.compile(r"\d\d:\d\d.* · \S+:1$"))
    card.locator("summary").click()
    expect(card.locator("pre")).to_have_text('{\n  "used": 800\n}')


def test_plain_text_without_a_title_is_shown(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    server.notify("alerts", message="just a line")
    expect(page.locator(".card .message")).to_have_text("just a line")


def test_empty_page_shows_a_line_that_works(server: Server, open_page: OpenPage) -> None:
    page = open_page(f"{server.url}/?channel=build:main")
    host = server.url.removeprefix("http://")
    line = f'curl -d "Disk full on db1" {host}/notify/build:main'
    expect(page.locator("#curl")).to_have_text(line)
    server.notify("build:main", message="came")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator("#empty")).to_be_hidden()


def test_fresh_page_replays_recent_history(server: Server, open_page: OpenPage) -> None:
    expected = [f"n{number}" for number in range(60)]
    for title in expected:
        server.notify("alerts", title=title)
    page = open_page(server.url)
    wait_for_card(page, "n59")
    assert titles(page) == expected[-50:]
    expect(page.locator(".gap")).to_have_count(0)


def test_history_of_two_channels_is_shown_by_time(server: Server, open_page: OpenPage) -> None:
    expected = [f"n{number}" for number in range(10)]
    for number, title in enumerate(expected):
        server.notify("alerts" if number % 2 else "builds", title=title)
    page = open_page(f"{server.url}/?channel=alerts&channel=builds")
    expect(page.locator(".card")).to_have_count(10)
    times = page.locator(".card time").evaluate_all("times => times.map(time => time.dateTime)")
    assert times == sorted(times, reverse=True)
    shown = titles(page)
    assert [title for title in shown if title in expected[::2]] == expected[::2]
    assert [title for title in shown if title in expected[1::2]] == expected[1::2]


def test_two_tabs_show_the_same(server: Server, open_page: OpenPage) -> None:
    first, second = open_page(server.url), open_page(server.url)
    expected = [f"n{number}" for number in range(5)]
    for title in expected:
        server.notify("alerts", title=title)
    for page in (first, second):
        wait_for_card(page, "n4")
        assert titles(page) == expected


def test_burst_is_shown_in_order_and_the_list_is_bounded(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url)
    for first in range(0, 520, 65):
        server.notify_all(
            [{"channel": "alerts", "title": f"n{number}"} for number in range(first, first + 65)]
        )
    wait_for_card(page, "n519")
    assert titles(page) == [f"n{number}" for number in range(20, 520)]
    expect(page.locator("#end")).to_be_visible()


# --- what is shown safely -------------------------------------------------------------------------


def test_markup_and_script_links_stay_text(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.evaluate("window.hit = false")
    markup = "<img src=x onerror='window.hit = true'><script>window.hit = true</script>"
    script = "javascript:window.hit=true"
    server.notify(
        "alerts", title=markup, message=markup, tags=[markup], key=markup, data={markup: markup}
    )
    card = page.locator(".card")
    expect(card.get_by_role("heading")).to_have_text(markup)
    expect(card.locator(".message")).to_have_text(markup)
    expect(card.locator(".tag")).to_have_text(markup)
    card.locator("summary").click()
    expect(card.locator("pre")).to_contain_text(markup)
    assert card.locator("img, script, a").count() == 0
    # The server may refuse such links; the page must not rely on it.
    made = page.evaluate(
        """async (script) => {
          const { Card } = await import("/static/card.js");
          const links = [script, " java\\nscript:window.hit=true", "data:text/html,x", "vbscript:x",
                         "blob:http://x/y", "file:///etc/passwd", "//", {}, null];
          return links.map((url) => new Card({
            channel: "c", id: "i", time: "2026-11-22T17:24:00Z", position: "k:1", title: "t",
            click: url, icon: url, actions: [{action: "view", label: "l", url}],
          }).element.querySelectorAll("a, img").length);
        }""",
        script,
    )
    assert made == [0] * 9
    assert page.evaluate("window.hit") is False


def test_fields_of_the_wrong_type_break_nothing(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    text = page.evaluate(
        """async () => {
          const { Card } = await import("/static/card.js");
          const wrong = {channel: "c", id: 7, time: 7, position: null, title: {}, message: [],
            priority: "x", tags: "no", actions: {}, icon: 3, click: [], key: {}, expires: {},
            content_type: 9, data_base64: "%%%"};
          return new Card(wrong).element.textContent;
        }"""
    )
    assert "not valid Base64" in text


def test_pictures_are_shown_and_other_bytes_offered(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    server.put("alerts", PIXEL, "image/png")
    picture = page.locator(".card img.picture")
    expect(picture).to_be_visible()
    assert picture.evaluate("async (image) => (await image.decode(), image.naturalWidth)") == 1
    server.put("alerts", b"<script>1</script>", "application/x-thing")
    link = page.get_by_role("link", name="Download application/x-thing (18 bytes)")
    with page.expect_download() as download:
        link.click()
    assert download.value.path().read_bytes() == b"<script>1</script>"


def test_page_forbids_inline_script_and_foreign_sources(
    server: Server, context: BrowserContext
) -> None:
    page = context.new_page()
    response = page.goto(server.url)
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy


# --- updating in place ----------------------------------------------------------------------------


def test_same_key_changes_the_card_in_place(server: Server, open_page: OpenPage) -> None:
    page = open_page(f"{server.url}/?channel=alerts&channel=builds")
    server.notify("alerts", title="Deploy", message="1 of 3", key="deploy")
    server.notify("builds", title="Another channel's", key="deploy")
    server.notify("alerts", title="Later")
    wait_for_card(page, "Later")
    card = page.locator(".card", has=page.get_by_role("heading", name="Deploy"))
    # The highlight passes: it is not for a test to be there in time.
    card.evaluate(
        """card => {
          const watch = () => card.classList.contains("changed") && (window.highlighted = true);
          new MutationObserver(watch).observe(card, {attributes: true});
        }"""
    )
    for step in ("2 of 3", "3 of 3"):
        server.notify("alerts", title="Deploy", message=step, key="deploy")
    expect(card.locator(".message")).to_have_text("3 of 3")
    expect(card.locator(".updates")).to_have_text("Updated 2 times")
    page.wait_for_function("() => window.highlighted")
    assert titles(page) == ["Deploy", "Another channel's", "Later"]


# --- losing the connection ------------------------------------------------------------------------


def test_what_was_missed_is_there_once_and_in_order(
    server: Server, proxy: FaultProxy, open_page: OpenPage
) -> None:
    page = open_page(proxy.url)
    expected = [f"n{number}" for number in range(40)]
    for title in expected[:10]:
        server.notify("alerts", title=title)
    wait_for_card(page, "n9")
    proxy.refuse()
    for number in range(10, 20):
        if number == 13:
            proxy.cut()
        server.notify("alerts", title=f"n{number}")
    wait_for_state(page, "waiting")
    expect(page.locator("#status-countdown")).to_have_text(re.compile(r"next try in \d+ s"))
    for title in expected[20:30]:
        server.notify("alerts", title=title)
    proxy.accept()
    come_back(page)
    for title in expected[30:]:
        server.notify("alerts", title=title)
    wait_for_card(page, "n39")
    assert titles(page) == expected
    expect(page.locator(".gap")).to_have_count(0)


def test_many_cuts_in_a_stream_lose_and_repeat_nothing(
    server: Server, proxy: FaultProxy, open_page: OpenPage
) -> None:
    page = open_page(f"{proxy.url}/?channel=alerts&channel=builds")
    expected = [f"n{number}" for number in range(120)]
    for number, title in enumerate(expected):
        server.notify("alerts" if number % 3 else "builds", title=title)
        if number % 20 == 7:
            proxy.cut()
            page.evaluate("dispatchEvent(new Event('online'))")
    come_back(page)
    wait_for_card(page, "n119")
    expect(page.locator(".card")).to_have_count(120)
    shown = page.locator(".card").evaluate_all(
        """cards => cards.map(card => [
          card.querySelector(".card-foot .channel").textContent,
          card.querySelector("h3").textContent,
        ]).reverse()"""
    )
    for channel, remainders in (("alerts", (1, 2)), ("builds", (0,))):
        assert [title for name, title in shown if name == channel] == [
            title for number, title in enumerate(expected) if number % 3 in remainders
        ]


def test_stalled_connection_is_noticed_and_replaced(
    server: Server, proxy: FaultProxy, open_page: OpenPage
) -> None:
    page = open_page(proxy.url)
    server.notify("alerts", title="before")
    wait_for_card(page, "before")
    proxy.stall()
    server.notify("alerts", title="during")
    # A page that is shown again after a silence of two seconds asks whether anyone is there.
    noticed = page.evaluate(
        """() => new Promise((resolve) => {
          setTimeout(() => resolve(false), 30_000);
          const timer = setInterval(() => {
            document.dispatchEvent(new Event("visibilitychange"));
            if (document.getElementById("status").dataset.state === "open") return;
            clearInterval(timer);
            resolve(true);
          }, 200);
        })"""
    )
    assert noticed
    proxy.cut()
    proxy.flow()
    come_back(page)
    server.notify("alerts", title="after")
    wait_for_card(page, "after")
    assert titles(page) == ["before", "during", "after"]


def test_gap_is_marked_when_history_was_trimmed(open_page: OpenPage) -> None:
    with Server("--history-size", "5") as server, FaultProxy(server.port) as proxy:
        page = open_page(proxy.url)
        server.notify("alerts", title="n0")
        wait_for_card(page, "n0")
        proxy.refuse()
        proxy.cut()
        wait_for_state(page, "waiting")
        for number in range(1, 12):
            server.notify("alerts", title=f"n{number}")
        proxy.accept()
        come_back(page)
        wait_for_card(page, "n11")
        expect(page.locator(".gap")).to_have_count(1)
        expect(page.locator(".gap")).to_contain_text("Up to 6 notifications were missed")
        rows = page.locator(".list > li").evaluate_all(
            "rows => rows.map(row => row.querySelector('h3')?.textContent ?? 'gap').reverse()"
        )
        assert rows == ["n0", "gap", "n7", "n8", "n9", "n10", "n11"]


def test_server_that_lost_its_history_is_marked(open_page: OpenPage) -> None:
    with Server() as first, FaultProxy(first.port) as proxy:
        page = open_page(proxy.url)
        first.notify("alerts", title="before")
        wait_for_card(page, "before")
        first.kill()
        with Server() as second:
            second.notify("alerts", title="after")
            proxy.target_port = second.port
            come_back(page)
            wait_for_card(page, "after")
            expect(page.locator(".gap")).to_contain_text("The server lost its history")
            assert titles(page) == ["before", "after"]


def test_draining_server_is_left_without_a_pause(open_page: OpenPage) -> None:
    with Server("--drain-seconds", "20") as old, FaultProxy(old.port) as proxy, Server() as new:
        page = open_page(proxy.url)
        page.evaluate(
            """() => {
              window.states = [];
              const status = document.getElementById("status");
              new MutationObserver(() => window.states.push(status.dataset.state))
                .observe(status, {attributes: true, attributeFilter: ["data-state"]});
            }"""
        )
        old.notify("alerts", title="old")
        wait_for_card(page, "old")
        new.notify("alerts", title="new")
        proxy.target_port = new.port
        old.terminate()
        wait_for_card(page, "new")
        assert old.wait() == 0
        assert set(page.evaluate("window.states")) <= {"open"}
        assert titles(page) == ["old", "new"]


# --- acting ---------------------------------------------------------------------------------------


def test_disconnect_and_connect_again(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.get_by_role("button", name="Disconnect").click()
    expect(page.locator("#status")).to_have_text(re.compile("Disconnected"))
    server.notify("alerts", title="meanwhile")
    page.get_by_role("button", name="Connect", exact=True).click()
    wait_for_card(page, "meanwhile")
    expect(page.get_by_role("button", name="Disconnect")).to_be_visible()
    assert titles(page) == ["meanwhile"]


def test_channels_are_added_and_dropped_and_kept_in_the_address(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url)
    server.notify("builds", title="earlier")
    page.get_by_label("Channel to add").fill("builds")
    page.get_by_role("button", name="Add").click()
    wait_for_card(page, "earlier")
    expect(page).to_have_url(f"{server.url}/?channel=alerts&channel=builds")
    page.get_by_role("button", name="Drop channel alerts").click()
    expect(page).to_have_url(f"{server.url}/?channel=builds")
    server.notify("alerts", title="not listened to")
    server.notify("builds", title="listened to")
    wait_for_card(page, "listened to")
    assert titles(page) == ["earlier", "listened to"]
    page.reload()
    wait_for_card(page, "listened to")
    expect(page.locator(".chip .channel")).to_have_text("builds")
    page.get_by_role("button", name="Drop channel builds").click()
    expect(page.locator(".card")).to_have_count(0)


def test_impossible_channel_is_explained_and_given_back(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(server.url)
    page.get_by_label("Channel to add").fill("two words")
    page.get_by_label("Channel to add").press("Enter")
    expect(page.locator("#channel-problem")).to_contain_text("two words")
    expect(page.get_by_label("Channel to add")).to_have_value("two words")
    expect(page.locator(".chip .channel")).to_have_text("alerts")
    expect(page).to_have_url(f"{server.url}/?channel=alerts")


def test_box_sends_what_is_filled_in(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.get_by_label("Title").fill("From the page")
    page.get_by_label("Message").fill("<b>hello</b>")
    page.get_by_label("Tags").fill("one, two")
    page.get_by_label("Priority").select_option("High")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Button").fill("Runbook")
    page.get_by_label("Opens").fill("https://wiki.example/")
    page.get_by_label("Data").fill('{"answer": 42}')
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#send-outcome")).to_have_text("Sent to alerts · 1 listener")
    card = page.locator(".card")
    expect(card.get_by_role("heading")).to_have_text("From the page")
    expect(card.locator(".message")).to_have_text("<b>hello</b>")
    expect(card.locator(".tag")).to_have_text(["one", "two"])
    expect(card.locator(".priority")).to_have_text("High")
    expect(card.get_by_role("link", name="Runbook")).to_be_visible()
    card.locator("summary").click()
    expect(card.locator("pre")).to_contain_text("42")
    expect(page.get_by_label("Message")).to_have_value("")


def test_box_sends_with_control_and_enter(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.get_by_label("Message").fill("quick")
    page.get_by_label("Message").press("Control+Enter")
    expect(page.locator(".card .message")).to_have_text("quick")


def test_box_says_what_is_wrong(server: Server, open_page: OpenPage) -> None:
    page = open_page(server.url)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#send-outcome")).to_have_text("Write a message first")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Data").fill("{")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#send-outcome")).to_contain_text("Data is not JSON")
    expect(page.get_by_label("Data")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Data").fill("")
    page.get_by_label("Message").fill("x")
    page.locator("#send [name=channel]").fill("two words")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#send-outcome")).to_have_attribute("data-mood", "bad")
    expect(page.locator("#send [name=channel]")).to_have_attribute("aria-invalid", "true")


def test_what_was_sent_without_an_answer_can_be_sent_again_and_is_stored_once(
    server: Server, proxy: FaultProxy, open_page: OpenPage
) -> None:
    page = open_page(proxy.url)
    proxy.stall()
    page.get_by_label("Title").fill("once")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#send-outcome")).to_have_text("Sending…")
    proxy.flow()
    proxy.cut()
    # The answer may have won the race; when it has not, the retry stores nothing twice.
    expect(page.locator("#send-outcome")).not_to_have_text("Sending…")
    come_back(page)
    if (again := page.get_by_role("button", name="Send again")).count():
        again.click()
    expect(page.locator("#send-outcome")).to_have_attribute("data-mood", "good")
    wait_for_card(page, "once")
    assert titles(page) == ["once"]


def test_reader_who_scrolled_away_keeps_the_place(server: Server, open_page: OpenPage) -> None:
    for number in range(40):
        server.notify("alerts", title=f"n{number}", message="a line")
    page = open_page(server.url)
    wait_for_card(page, "n39")
    card = page.locator(".card", has=page.get_by_role("heading", name="n20", exact=True))
    page.evaluate("scrollTo(0, 1500)")
    before = card.evaluate("card => card.getBoundingClientRect().top")
    for number in range(40, 43):
        server.notify("alerts", title=f"n{number}", message="a line")
    pill = page.locator("#pill")
    expect(pill).to_have_text("↑ 3 new")
    assert abs(card.evaluate("card => card.getBoundingClientRect().top") - before) < 2
    pill.click()
    expect(pill).to_be_hidden()
    expect(page.get_by_role("heading", name="n42", exact=True)).to_be_in_viewport()


def test_hidden_page_counts_in_its_title_and_shows_desktop_notices(
    server: Server, context: BrowserContext, open_page: OpenPage
) -> None:
    context.grant_permissions(["notifications"], origin=server.url)
    context.add_init_script(
        """window.notices = [];
        window.Notification = class extends EventTarget {
          static permission = "granted";
          static requestPermission = async () => "granted";
          constructor(title, options) { super(); window.notices.push([title, options.body]); }
        };
        Object.defineProperty(document, "hidden", {get: () => window.away === true});"""
    )
    page = open_page(server.url)
    page.get_by_role("switch").check()
    server.notify("alerts", title="seen")
    wait_for_card(page, "seen")
    page.evaluate("window.away = true")
    server.notify("alerts", title="Disk full", message="on db1")
    server.notify("alerts", message="only text")
    expect(page).to_have_title("(2) notifier")
    assert page.evaluate("window.notices") == [["Disk full", "on db1"], ["only text", ""]]
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page).to_have_title("notifier")


def test_page_is_usable_on_a_phone(server: Server, open_page: OpenPage) -> None:
    server.notify("alerts", title="x" * 300, message="https://example.org/" + "y" * 300)
    page = open_page(server.url)
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    expect(page.locator(".card")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.get_by_label("Message")).to_be_hidden()
    page.get_by_text("Send a notification").click()
    expect(page.get_by_label("Message")).to_be_visible()
