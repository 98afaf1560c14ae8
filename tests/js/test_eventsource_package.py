"""npm's `eventsource`, as programs on Node use it, against the real server and a bad network."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.serving import PATIENCE, Server
from tests.faults import FaultProxy

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the packages of package.json are installed."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("npm is missing; install it with: apt-get install npm")
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(HERE / "package.json", folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"npm could not install {HERE / 'package.json'}:\n{done.stdout}{done.stderr}")
    return folder


class Follower:
    """A Node program whose lines are read as they come."""

    def __init__(self, *command: str | Path) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.fail("Node.js 18 or later is missing; install it with: apt-get install nodejs")
        self._process = subprocess.Popen(
            [node, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def until(self, kind: str, **members: Any) -> None:
        """Read on until something of this kind, with these members, has been seen."""
        if any(_fits(item, kind, members) for item in self.seen):
            return
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                pytest.fail(f"no {kind} with {members}, but: {self.seen[-20:]}")
            assert line.startswith("["), f"the program failed: {line}"
            name, detail = json.loads(line)
            self.seen.append((name, detail))
            if _fits((name, detail), kind, members):
                return

    def offsets(self, channel: str) -> list[int]:
        """Of all notifications of the channel so far, in the order they came."""
        messages = [detail for name, detail in self.seen if name == "message"]
        return [message["offset"] for message in messages if message["channel"] == channel]

    def kinds(self) -> set[str]:
        return {name for name, _ in self.seen}

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


def _fits(item: tuple[str, dict[str, Any]], kind: str, members: dict[str, Any]) -> bool:
    return item[0] == kind and members.items() <= item[1].items()


@pytest.fixture
def follow(package: Path) -> Iterator[Callable[..., Follower]]:
    """Starts a program of this folder with more arguments."""
    started: list[Follower] = []

    def follow(program: str, *arguments: str) -> Follower:
        started.append(Follower(HERE / program, package, *arguments))
        return started[-1]

    yield follow
    for follower in started:
        follower.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as running:
        yield running


def publish(server: Server, channels: tuple[str, ...], *, times: int) -> None:
    for _ in range(times):
        server.notify_all([{"channel": channel, "message": "x"} for channel in channels])


def test_one_channel_is_resumed_by_itself(
    server: Server, proxy: FaultProxy, follow: Callable[..., Follower]
) -> None:
    follower = follow("follow_events.js", f"{proxy.url}/events?channel=alerts")
    follower.until("subscribed", channel="alerts")
    for offset in (30, 60, 90):
        publish(server, ("alerts",), times=15)
        proxy.cut()
        publish(server, ("alerts",), times=15)
        follower.until("message", channel="alerts", offset=offset)
    assert follower.offsets("alerts") == list(range(1, 91))
    assert all(item["recovered"] for name, item in follower.seen if name == "subscribed")
    assert follower.kinds() == {"subscribed", "message", "error"}  # an error for each cut


def test_several_channels_and_a_pattern_are_resumed_by_themselves(
    server: Server, proxy: FaultProxy, follow: Callable[..., Follower]
) -> None:
    url = f"{proxy.url}/events?channel=alerts&channel=größe&channel=builds:*"
    follower = follow("follow_events.js", url)
    follower.until("subscribed", channel="builds:*")
    channels: tuple[str, ...] = ("alerts", "größe")
    for offset in (30, 60, 90):
        channels += (f"builds:{offset}",)  # one more is born each time, on either side of a cut
        publish(server, channels, times=15)
        proxy.cut()
        publish(server, channels, times=15)
        follower.until("message", channel="alerts", offset=offset)
        follower.until("message", channel=f"builds:{offset}", offset=30)
    for channel, count in (("größe", 90), ("builds:30", 90), ("builds:60", 60), ("builds:90", 30)):
        follower.until("message", channel=channel, offset=count)
    assert follower.offsets("alerts") == list(range(1, 91))
    assert follower.offsets("größe") == list(range(1, 91))
    assert follower.offsets("builds:30") == list(range(1, 91))
    assert follower.offsets("builds:60") == list(range(1, 61))
    assert follower.offsets("builds:90") == list(range(1, 31))


def test_gap_is_told_after_history_was_trimmed(follow: Callable[..., Follower]) -> None:
    with Server("--history-size", "5") as server, FaultProxy(server.port) as proxy:
        follower = follow("follow_events.js", f"{proxy.url}/events?channel=alerts")
        follower.until("subscribed", channel="alerts")
        publish(server, ("alerts",), times=1)
        follower.until("message", offset=1)
        proxy.refuse()
        proxy.cut()
        publish(server, ("alerts",), times=20)
        proxy.accept()
        follower.until("subscribed", recovered=False)
        follower.until("message", offset=21)
        assert follower.offsets("alerts") == [1, 17, 18, 19, 20, 21]


def test_notifier_js_loses_and_repeats_nothing_over_it(
    server: Server, proxy: FaultProxy, follow: Callable[..., Follower]
) -> None:
    follower = follow("follow_notifier.js", proxy.url, "alerts", "builds:*", "builds:1")
    for name in ("alerts", "builds:1", "builds:*"):
        follower.until("subscribed", channel=name)
    for offset in (30, 60, 90):
        publish(server, ("alerts", "builds:1", "builds:2"), times=15)
        proxy.cut()
        publish(server, ("alerts", "builds:1", "builds:2"), times=15)
        for channel in ("alerts", "builds:1", "builds:2"):
            follower.until("message", channel=channel, offset=offset)
    for channel in ("alerts", "builds:1", "builds:2"):
        assert follower.offsets(channel) == list(range(1, 91))
    assert follower.kinds() == {"subscribed", "message"}
