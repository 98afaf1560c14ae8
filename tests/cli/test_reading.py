"""``history``, ``channels``, ``presence`` and ``nodes``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from notifier.instants import parse_instant
from tests.auth.signing import token as signed
from tests.cli.conftest import Run
from tests.cli.served import Service, Start, start
from tests.processes import server_process

__all__ = ["start"]  # a fixture


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    chat = '{"chat": {"presence": true}}'
    with server_process("--history-size", "3000", "--namespaces", chat) as process:
        service = Service(process.port)
        for number in range(5):
            service.publish("alerts", str(number), key="even" if number % 2 == 0 else "odd")
        service.publish("builds:7", "built", title="T")
        yield service


def messages(text: str) -> list[str]:
    return [json.loads(line)["message"] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "01234"),
        (["--since", "-2"], "34"),
        (["--limit", "2"], "01"),
        (["--newest"], "43210"),
        (["--newest", "--limit", "1"], "4"),
        (["--key", "odd"], "13"),
        (["--since", "1h", "--limit", "4"], "0123"),
    ],
)
def test_history_reads_what_is_asked_for(
    notifier: Run, service: Service, arguments: list[str], expected: str
) -> None:
    done = notifier("history", "alerts", *arguments, "--json", "--url", service.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "".join(messages(done.stdout)) == expected


def test_history_stops_short_of_a_position(notifier: Run, service: Service) -> None:
    done = notifier("history", "alerts", "--limit", "3", "--json", "--url", service.url)
    third = json.loads(done.stdout.splitlines()[-1])["position"]
    done = notifier("history", "alerts", "--before", third, "--json", "--url", service.url)
    assert messages(done.stdout) == ["0", "1"]


@pytest.mark.parametrize("arguments", [[], ["--newest"]])
def test_history_reads_page_after_page(
    notifier: Run, service: Service, arguments: list[str]
) -> None:
    lines = "".join(f'{{"channel": "long", "id": "{n}", "message": "{n}"}}\n' for n in range(2500))
    assert notifier("publish", "--ndjson", "--url", service.url, stdin=lines.encode()).stdout
    done = notifier("history", "long", *arguments, "--json", "--url", service.url)
    numbers = [int(text) for text in messages(done.stdout)]
    assert numbers == sorted(range(2500), reverse=bool(arguments))


def test_history_is_shown_to_people(notifier: Run, service: Service) -> None:
    done = notifier("history", "builds:7", "--url", service.url)
    assert re.fullmatch(r"\d\d:\d\d:\d\d  builds:7  T  built\n", done.stdout)


def test_history_of_nothing_is_told(notifier: Run, service: Service) -> None:
    done = notifier("history", "nobody", "--url", service.url)
    assert done.returncode == 1
    assert "code 40402" in done.stderr


def test_channels_are_listed(notifier: Run, service: Service) -> None:
    done = notifier("channels", "--url", service.url)
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["channel", "kept", "size", "subscribers", "newest", "position"]
    assert {"alerts", "builds:7"} <= {row.split()[0] for row in rows}
    done = notifier("channels", "build*", "--json", "--url", service.url)
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["channel"], found["publications"], found["subscribers"]) == ("builds:7", 1, 0)
    done = notifier("channels", "nobody*", "--url", service.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no channels\n")


def test_presence_is_shown(notifier: Run, start: Start, service: Service) -> None:
    with start("subscribe", "chat:a", "--url", service.url):
        service.wait_for_subscriber("chat:a")
        done = notifier("presence", "chat:a", "--url", service.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(r"chat:a: 1 subscriber\n  \S+  websocket since [\d:]+\n", done.stdout)
        done = notifier("presence", "chat:a", "--json", "--url", service.url)
        found = json.loads(done.stdout)
        assert (found["channel"], found["count"]) == ("chat:a", 1)
        assert found["members"][0]["transport"] == "websocket"
        assert found["members"][0]["since"].endswith("Z")
    done = notifier("presence", "alerts", "--url", service.url)
    assert (done.returncode, done.stdout) == (0, "alerts: 0 subscribers\n")
    assert done.stderr == "who they are is not shown here\n"
    assert "code 40402" in notifier("presence", "nobody", "--url", service.url).stderr


def test_nodes_are_listed(notifier: Run, service: Service) -> None:
    done = notifier("nodes", "--url", service.url)
    head, row = done.stdout.splitlines()
    assert head.split() == [
        "node",
        "address",
        "connections",
        "subscriptions",
        "channels",
        "since",
        "version",
        "state",
    ]
    assert row.split()[-1] == "ready" and f":{service.port}" in row.split()[1]
    done = notifier("nodes", "--json", "--url", service.url)
    found = json.loads(done.stdout)
    assert (found["port"], found["reason"]) == (service.port, None)
    assert found["started"].endswith("Z")


def test_connections_are_listed_and_ended(notifier: Run, start: Start, service: Service) -> None:
    done = notifier("connections", "--user", "42", "--url", service.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no connections\n")
    with start("subscribe", "chat:b", "--url", service.url) as listener:
        service.wait_for_subscriber("chat:b")
        done = notifier("connections", "--json", "--url", service.url)
        (found,) = map(json.loads, done.stdout.splitlines())
        assert (found["kind"], found["name"], found["expires"]) == ("anonymous", "", None)
        assert (found["transport"], found["remote"], found["subscriptions"]) == (
            "websocket",
            "127.0.0.1",
            1,
        )
        done = notifier("connections", "--url", service.url)
        head, row = done.stdout.splitlines()
        assert head.split()[:4] == ["connection", "who", "from", "transport"]
        assert row.split()[:2] == [found["id"], "anonymous"]
        done = notifier("disconnect", found["id"], "--url", service.url)
        assert (done.returncode, done.stdout) == (0, "✓ 1 ended\n")
        assert listener.ended() != 0, "it does not come back"
    assert "code 40403" in notifier("disconnect", found["id"], "--url", service.url).stderr
    for whose, told in (("--user", "user 42"), ("--key", "the key 42")):
        done = notifier("disconnect", whose, "42", "--url", service.url)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"error: no connection is that of {told}\n"
    for wrong in (
        [],
        [""],
        ["--user", ""],
        ["--key", ""],
        ["x", "--user", "42"],
        ["--user", "42", "--key", "ci"],
    ):
        assert notifier("disconnect", *wrong, "--url", service.url).returncode == 2


def test_token_is_revoked(notifier: Run, service: Service) -> None:
    for number, until in enumerate(("2100-01-01T00:00:00Z", "4102444800")):
        done = notifier("revoke", f"t{number}", "--until", until, "--url", service.url)
        assert (done.returncode, done.stdout) == (0, "✓ revoked; 0 connections ended\n")
    done = notifier("revoke", "t2", "--url", service.url)
    assert (done.returncode, done.stdout) == (0, "✓ revoked; 0 connections ended\n")
    done = notifier("revoke", "t", "--until", "2000-01-01T00:00:00Z", "--url", service.url)
    assert done.returncode == 1 and "code 40003" in done.stderr
    done = notifier("revoke", "t", "--until", "tomorrow", "--url", service.url)
    assert done.returncode == 2


def test_whole_token_is_revoked_until_its_exp(notifier: Run, service: Service) -> None:
    exp, url = int(time.time()) + 3600, ("--url", service.url)
    whole = signed({"sub": "42", "jti": "whole", "exp": exp + 0.5})
    for until, expected in (
        ([], exp + 1),
        (["--until", str(exp + 1)], exp + 1),
        (["--until", "4102444800"], 4102444800),
    ):
        done = notifier("revoke", whole, *until, *url)
        assert (done.returncode, done.stdout) == (0, "✓ revoked; 0 connections ended\n"), done
        listed = service.get("/revocations")["revocations"]
        (told,) = [each for each in listed if each["token_id"] == "whole"]
        assert parse_instant(told["until"]) == 1000 * expected
    done = notifier("revoke", whole, "--until", str(exp), *url)
    assert done.returncode == 2 and "and would be again" in done.stderr
    for claims in ({"sub": "42", "exp": exp}, {"sub": "42", "exp": exp, "jti": 7}):
        done = notifier("revoke", signed(claims), *url)
        assert done.returncode == 2 and "this token has no jti" in done.stderr
    done = notifier("revoke", signed({"jti": "endless", "exp": 1e300}), *url)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "id", ["-k3hJ0q_2bXw9c1M", "-hJ0q_2bXw9c1Mk3", "--3hJ0q_2bXw9c1M", "-user3"]
)
def test_id_that_begins_as_an_option_does_is_an_id(
    notifier: Run, service: Service, id: str
) -> None:
    url = ("--url", service.url)
    for arguments in ([id, *url], [*url, id], [*url, "--", id]):
        done = notifier("disconnect", *arguments)
        assert "code 40403" in done.stderr and repr(id) in done.stderr, done
    done = notifier("revoke", id, "--until", "4102444800", *url)
    assert (done.returncode, done.stdout) == (0, "✓ revoked; 0 connections ended\n"), done
    assert f"user {id}" in notifier("disconnect", "--user", id, *url).stderr
    for wrong in (["--usr", "42"], ["--usr=42"], [id, "-another3"]):
        assert notifier("disconnect", *wrong, *url).returncode == 2


def test_all_of_a_users_tokens_are_revoked(notifier: Run, service: Service) -> None:
    url = ("--url", service.url)
    for more in ((), ("--before", str(int(time.time()) - 86400))):
        done = notifier("revoke", "--user", "42", *more, *url)
        assert (done.returncode, done.stdout) == (0, "✓ revoked; 0 connections ended\n"), done
    done = notifier("revoke", "--user", "42", "--before", "2100-01-01T00:00:00Z", *url)
    assert done.returncode == 1 and "code 40003" in done.stderr
    for wrong in (
        [],
        ["t1", "--user", "42", "--until", "4102444800"],
        ["--user", "42", "--until", "4102444800"],
        ["t1", "--until", "4102444800", "--before", "1"],
    ):
        assert notifier("revoke", *wrong, *url).returncode == 2


@pytest.mark.parametrize(
    "command",
    [
        ["history", "a"],
        ["channels"],
        ["presence", "a"],
        ["nodes"],
        ["connections"],
        ["disconnect", "a"],
        ["revoke", "a", "--until", "4102444800"],
    ],
)
def test_no_server_exits_3(notifier: Run, command: list[str]) -> None:
    done = notifier(*command, "--url", "http://127.0.0.1:1")
    assert done.returncode == 3
    assert "cannot reach http://127.0.0.1:1: Connection refused" in done.stderr
    assert notifier(*command, "--url", "nowhere").returncode == 2
